"""Each safeguard is needed, and its absence is noticed: with it the promise is kept, without it the checker says so.

1. A safeguard is taken out by what a test passes in, or puts in a function's place; the product has no such switch.
2. Every scenario runs twice, whole and without the safeguard, on the same seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import device_sdk.spool
from device_sdk.wire.pack import decode_pack
from device_sdk.wire.receipt import Receipt, StreamReceipt
from hub.app.ingest import _Worker
from hub.pipeline.identity import NEW
from hub.ports.journal import segments
from tests.chaos.ledger import Verdict
from tests.chaos.simulation import WINDOW, Disk, Parts, Simulation


class _PowerFailureError(Exception):
    """The lights go out in the middle of a sync."""


@dataclass(frozen=True)
class Found:
    """What became of a scenario."""

    verdict: Verdict
    stuck: int

    @property
    def kept(self) -> bool:
        return self.verdict.kept and not self.stuck


def run(
    folder: Path, scenario: Callable[[Simulation], None], parts: Parts, *, loss: float = 0.0
) -> Found:
    simulation = Simulation(folder, 1, parts, loss)
    simulation.connect()
    scenario(simulation)
    stuck = simulation.heal()
    found = Found(simulation.check(), stuck)
    simulation.end()
    return found


def exchange(simulation: Simulation, rounds: int = 5) -> None:
    """Measure, and let everything arrive both ways."""
    for _ in range(rounds):
        simulation.measure()
        simulation.step()
        for _ in range(3):
            simulation.hub.now += 2_000_000_000
            simulation.deliver_up()
            simulation.deliver_down()


def _deliver_all(simulation: Simulation) -> None:
    while simulation._up:
        simulation.deliver_up()


def test_fsync(tmp_path: Path) -> None:
    def lights_out(simulation: Simulation) -> None:
        exchange(simulation)
        simulation.hub.lose_power(Disk.lose_unsynced)

    whole = run(tmp_path / "whole", lights_out, Parts())
    without = run(tmp_path / "without", lights_out, Parts(sync=lambda disk, fd: None))
    assert whole.kept
    assert whole.verdict.acked > 0
    assert without.verdict.lost > 0


def test_de_duplication(tmp_path: Path) -> None:
    def sent_again(simulation: Simulation) -> None:
        simulation.measure()
        simulation.step()
        simulation._up *= 2
        exchange(simulation)

    def forget(worker: _Worker) -> None:
        streams = worker._streams
        admit = streams.admit

        def take_all(*arguments: object, **options: object) -> object:
            status = admit(*arguments, **options)  # type: ignore[arg-type]
            status[:] = NEW
            return status

        vars(streams)["admit"] = take_all

    assert run(tmp_path / "whole", sent_again, Parts()).kept
    assert run(tmp_path / "without", sent_again, Parts(dress=forget)).verdict.duplicates > 0


def test_receipt_before_delete(tmp_path: Path) -> None:
    """A broker's acknowledgement instead of the hub's receipt, on a network that loses everything for a while."""

    def acknowledge(payload: bytes) -> bytes:
        pack = decode_pack(payload)
        settled = StreamReceipt(pack.stream, pack.first_seq + len(pack.times))
        return Receipt(b"incarn-0", 0, (settled,), WINDOW, 1_000).encode()

    whole = run(tmp_path / "whole", exchange, Parts(), loss=1.0)
    without = run(tmp_path / "without", exchange, Parts(answer=acknowledge), loss=1.0)
    assert whole.kept
    assert whole.verdict.acked > 0
    assert without.verdict.lost > 0


def test_checksum_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(simulation: Simulation) -> None:
        exchange(simulation)
        disk = simulation.hub.disk

        def fail(fd: int) -> None:
            raise _PowerFailureError

        vars(disk)["sync"] = fail
        simulation.measure()
        simulation.step()
        with pytest.raises(_PowerFailureError):
            _deliver_all(simulation)
        del vars(disk)["sync"]
        simulation.hub.lose_power(Disk.spoil_unsynced)

    assert run(tmp_path / "whole", torn, Parts()).kept
    monkeypatch.setattr(segments, "is_intact", lambda _: True)
    without = run(tmp_path / "without", torn, Parts()).verdict
    assert without.phantoms + without.corrupt > 0


def test_hash_of_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rot(simulation: Simulation) -> None:
        simulation.disconnect()
        simulation.measure()
        spool = simulation.engine.spool
        key, data = spool._db.execute("SELECT id, data FROM pack").fetchone()
        rotten = bytearray(data)
        rotten[-4] ^= 0x10  # in the last value
        spool._db.execute("UPDATE pack SET data = ? WHERE id = ?", (bytes(rotten), key))
        spool.commit()
        # The witness reads what goes out; it must not stumble over the rotten value.
        vars(simulation.ledger)["sent"] = lambda *_: None
        simulation.connect()
        exchange(simulation)

    assert run(tmp_path / "whole", rot, Parts()).kept
    monkeypatch.setattr(device_sdk.spool, "pack_hash", lambda _: b"always the same.")
    without = run(tmp_path / "without", rot, Parts()).verdict
    assert without.phantoms + without.corrupt > 0


def test_incarnation(tmp_path: Path) -> None:
    """A hub that goes back to a backup while its broker stays up, and does not say so, waits for rows for ever."""

    def goes_back(simulation: Simulation) -> None:
        exchange(simulation)
        simulation.back_up_hub()
        exchange(simulation)
        simulation.restore_hub()
        while simulation.engine.pending < 2 * WINDOW:
            simulation.measure()

    whole = run(tmp_path / "whole", goes_back, Parts())
    without = run(tmp_path / "without", goes_back, Parts(renew=False))
    assert whole.kept
    assert without.stuck > 0
