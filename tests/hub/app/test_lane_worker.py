"""Two workers and a real broker: whoever wakes up too late is neither heard by devices nor read by anybody.

A worker is stopped at the worst places, as a process is by SIGSTOP: nothing of it goes on, its beats included. With a
clock that stands still it even believes on waking that its lease is good, as on a machine that was suspended.
The clocks are the test's, so that nothing depends on how busy the machine is.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table

from benchmarks import brokers
from device_sdk.wire import topics
from device_sdk.wire.receipt import Receipt
from hub.app.ingest import IngestConfig
from hub.app.lane_worker import LaneWorker
from hub.errors import HubError
from hub.pipeline import packets
from hub.pipeline.journal import JournalStage
from hub.pipeline.receive import LinkAddress
from hub.pipeline.run import Pipeline
from hub.ports.database.engine import open_engine, write_session
from hub.ports.database.lane_tables import IngestLane
from hub.ports.journal.segments import check_contiguous, list_segments
from hub.services.lane_leases import LaneLeases, Lease, deal
from hub.services.snapshot_file import publish_snapshot
from tests.hub.pipeline.frame_bench import DEVICES, gate_arrays
from tests.hub.pipeline.test_worker import pack, stored

TERM_S = 1.0
PATIENCE_S = 60.0
SLOT, LANE, OTHER = 1, 0, 1  # its shard is in lane 0

pytestmark = pytest.mark.hub


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Wire:
    """A device's connection; `promised` is the highest watermark that it was told."""

    def __init__(self, port: int) -> None:
        self.promised = 0
        self.socket = socket.create_connection(("127.0.0.1", port))
        receipts = topics.down(topics.ROOT, DEVICES[SLOT], "receipt")
        self.socket.sendall(packets.connect("device", 0) + packets.subscribe([receipts]))
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self) -> None:
        data = bytearray()
        while more := self.socket.recv(65_536):
            data += more
            while len(data) >= 2 and len(data) >= (size := 2 + data[1] + (data[1] > 127)):
                if data[0] >> 4 == 3:  # all packets here are shorter than 128 bytes
                    topic = 4 + int.from_bytes(data[2:4], "big")
                    entries = Receipt.decode(bytes(data[topic:size])).streams
                    self.promised = max(self.promised, *(entry.watermark for entry in entries))
                del data[:size]

    def say(self, first: int, count: int) -> None:
        self.socket.sendall(pack(first, [20.0] * count, slot=SLOT))

    def deliver(self, first: int, count: int) -> None:
        """Send rows again and again until they are receipted, as a device does."""
        deadline = time.monotonic() + PATIENCE_S
        while self.promised < first + count:
            assert time.monotonic() < deadline
            self.say(first, count)
            for _ in range(50):
                if self.promised >= first + count:
                    break
                time.sleep(0.01)


class Sleeper:
    """Puts a worker to sleep at a place, and wakes it up; its leases sleep with it."""

    def __init__(self, leases: LaneLeases) -> None:
        self.leases = leases
        self.armed = threading.Event()
        self.asleep = threading.Event()
        self.awake = threading.Event()
        self.awake.set()

    def sleep(self) -> None:
        if self.armed.is_set():
            self.armed.clear()
            self.awake.clear()
            self.asleep.set()
            assert self.awake.wait(PATIENCE_S)

    def look(self) -> list[Lease]:
        self.awake.wait()
        return self.leases.look()

    def take(self, seen: Lease, holder: str, above: int = 0) -> int | None:
        self.awake.wait()
        return self.leases.take(seen, holder, above)

    def beat(self, held: dict[int, int]) -> frozenset[int]:
        self.awake.wait()
        return self.leases.beat(held)

    def release(self, held: dict[int, int]) -> None:
        self.awake.wait()
        self.leases.release(held)

    def ask(self, lanes: list[int], who: str) -> None:
        self.awake.wait()
        self.leases.ask(lanes, who)


class Running:
    """A worker in a thread."""

    def __init__(self, worker: LaneWorker) -> None:
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, args=(worker,), daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE_S)

    def run(self, worker: LaneWorker) -> None:
        try:
            worker.run(self.stop, self.ready.set)
        except HubError as error:
            self.error = error

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert self.error is None


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    table = IngestLane.__table__
    assert isinstance(table, Table)
    with write_session(made) as session:
        table.create(session.connection())
        deal(session, 2)
    yield made
    made.dispose()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with brokers.nats(tmp_path / "nats") as number:
        yield number


def config(folder: Path, port: int, lane: int) -> IngestConfig:
    own = folder / str(lane)
    return IngestConfig(
        worker=lane,
        address=LinkAddress("127.0.0.1", port, f"hub-ingest-{lane}"),
        incarnation=b"incarnat",
        gate=folder / "gate",
        journal=own / "journal",
        findings=own / "findings",
        dead_letters=own / "letters",
        checkpoints=own / "detector",
        progress=own / "ingest.progress",
        metrics=folder / "metrics",
        cadence_ms=1,
        checkpoint_s=0.1,
        lanes=2,
    )


PLACES: dict[str, tuple[type, str]] = {
    "before it journals": (JournalStage, "write"),
    "before it tells the device": (Pipeline, "_receipt"),
}


@pytest.mark.parametrize("clock", ["true", "standing still"])
@pytest.mark.parametrize("place", PLACES)
def test_who_sleeps_past_the_lease_is_not_heard_and_not_read(
    place: str,
    clock: str,
    tmp_path: Path,
    port: int,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    leases = LaneLeases(engine)
    sleeper = Sleeper(leases)
    owner, method = PLACES[place]
    before = getattr(owner, method)

    def slowly(self: Any, *arguments: Any, **named: Any) -> Any:
        journal = self._telemetry if owner is JournalStage else self._journal._telemetry
        if journal._segment.token == 1 and threading.current_thread().name == f"lane {LANE}":
            sleeper.sleep()
        return before(self, *arguments, **named)

    monkeypatch.setattr(owner, method, slowly)
    configs = partial(config, tmp_path, port)
    true_s = 0.0
    late = LaneWorker(
        "late",
        frozenset({LANE}),
        sleeper,
        TERM_S,
        configs,
        clock=lambda: true_s if clock == "true" else 0.0,
    )
    first = Running(late)
    successor = LaneWorker(
        "other", frozenset({OTHER}), leases, TERM_S, configs, clock=lambda: true_s
    )
    other = Running(successor)
    wire = Wire(port)
    wire.deliver(0, 2)

    sleeper.armed.set()
    wire.say(2, 1)
    assert sleeper.asleep.wait(PATIENCE_S)

    def taken() -> bool:
        nonlocal true_s
        true_s += TERM_S / 100  # no faster than the world's time, as `until` looks every 10 ms
        return LANE in successor._lanes and successor._lanes[LANE].ready.is_set()

    until(taken)
    assert leases.look()[LANE].token == 2
    journalled = place != "before it journals"
    # The successor tells on connecting how far the stream is settled; that is all that is promised.
    until(lambda: wire.promised == (3 if journalled else 2))

    sleeper.awake.set()
    # It notices, asks for its lane and gets it back.
    until(lambda: leases.look()[LANE].token == 3)
    assert wire.promised == (3 if journalled else 2)
    wire.deliver(2, 1)
    wire.deliver(3, 4)
    first.end()
    other.end()
    assert sorted(stored(tmp_path / str(LANE))) == list(range(7))
    segments = list_segments(tmp_path / str(LANE) / "journal")
    check_contiguous(segments)
    assert [segment.token for segment in segments] == sorted({s.token for s in segments})
    assert {lease.holder for lease in leases.look()} == {""}
    wire.socket.close()
