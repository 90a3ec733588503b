"""A whole hub and a whole device in one thread: the real SDK engine and spool, the real ingest worker, its journal and
store on real files, and between them a network, a disk and a clock that are made up.

1. Everything that happens is drawn from one seed, so a schedule that breaks a promise breaks it again.
2. Power loss takes what was not synced, in part, in any order; killing a process takes nothing that was written.
3. A safeguard is taken out by what is passed in (`Parts`), never by a switch in the product.
"""

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from device_sdk.engine import Clocks, Engine, Settings
from device_sdk.link import Listener
from device_sdk.spool import Spool
from device_sdk.trust import Trust
from device_sdk.wire.topics import ROOT
from hub.app.ingest import IngestConfig, _Worker
from hub.pipeline.attempts import Attempts
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Frames
from hub.pipeline.receive import LinkAddress, scan_frames
from hub.ports.journal.segments import SEGMENT_HEADER_SIZE
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.port import ACCEPTED
from tests.chaos.ledger import Ledger, Verdict
from tests.hub.pipeline.frame_bench import DEVICES, NOW, gate_arrays, publish, topic_of

SLOT = 1
WINDOW = 300
_SECOND = 1_000_000_000
_MOST_FRAMES = 4_096


@dataclass(frozen=True)
class Parts:
    """What a simulated hub and device are made of; tests replace one to take a safeguard out.

    Attributes:
        sync: makes the journal's bytes durable, given the disk and a descriptor.
        dress: changes a worker before it works.
        answer: what the network itself tells a device that publishes a pack: a receipt, or None.
        renew: whether the hub is another incarnation after a restore.
    """

    sync: Callable[["Disk", int], None] = lambda disk, fd: disk.sync(fd)
    dress: Callable[[_Worker], None] = lambda _: None
    answer: Callable[[bytes], bytes | None] = lambda _: None
    renew: bool = True


class Disk:
    """Knows how much of each journal file was synced.

    Args:
        folder: of the hub.
        chance: decides what survives.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._synced: dict[int, int] = {}

    def sync(self, fd: int) -> None:
        """Take all bytes of an open file as safe."""
        state = os.fstat(fd)
        self._synced[state.st_ino] = state.st_size

    def lose_power(self) -> None:
        """Keep what was synced, and of the rest a part: cut anywhere, with a hole anywhere."""
        for path, safe, data in self._unsynced():
            if self._chance.random() < 0.5:
                del data[self._chance.randint(safe, len(data)) :]
            if len(data) > safe and self._chance.random() < 0.7:
                hole = self._chance.randrange(safe, len(data))
                size = min(self._chance.randint(1, 512), len(data) - hole)
                data[hole : hole + size] = bytes(size)
            _rewrite(path, data)

    def lose_unsynced(self) -> None:
        """Keep what was synced and nothing else."""
        for path, safe, data in self._unsynced():
            _rewrite(path, data[:safe])

    def spoil_unsynced(self) -> None:
        """Keep everything, but the last bytes that were not synced are zeros."""
        for path, safe, data in self._unsynced():
            size = min(64, len(data) - safe)
            data[-size:] = bytes(size)
            _rewrite(path, data)

    def _unsynced(self) -> Iterator[tuple[Path, int, bytearray]]:
        """Yield files that were not synced to their end: path, bytes that were, all bytes."""
        for path in self._folder.rglob("*.hpj"):
            state = path.stat()
            safe = max(self._synced.get(state.st_ino, 0), SEGMENT_HEADER_SIZE)
            if state.st_size > safe:
                yield path, safe, bytearray(path.read_bytes())


def _rewrite(path: Path, data: bytes | bytearray) -> None:
    with path.open("r+b") as file:  # the same inode: it is the same file
        file.truncate(0)
        file.write(data)


class _Wire:
    """Stands where the worker's connection stands: frames in, packets out."""

    def __init__(self) -> None:
        self.out = bytearray()

    def send(self, data: bytes | bytearray | memoryview) -> None:
        self.out += data

    def lag_s(self, now: float) -> float:
        return 0.0

    def close(self) -> None: ...


def _frames(packets: bytes) -> Frames:
    frames = Frames(np.frombuffer(bytearray(packets) or bytearray(1), np.uint8), _MOST_FRAMES)
    frames.count, position, broken, *_ = scan_frames(
        frames.buffer, 0, len(packets), frames.capacity, frames.topic, frames.topic_size, frames.payload,
        frames.payload_size,
    )  # fmt: skip
    assert (position, broken) == (len(packets), 0)
    return frames


def _payloads(packets: bytes) -> list[bytes]:
    frames = _frames(packets)
    return [frames.payload_bytes(i) for i in range(frames.count)]


class SimulatedHub:
    """The ingest worker without threads, broker and clock.

    Args:
        folder: of its files.
        parts: what it is made of.
        chance: decides what a power loss takes.
    """

    def __init__(self, folder: Path, parts: Parts, chance: random.Random) -> None:
        self.folder = folder
        self.disk = Disk(folder, chance)
        self.now = NOW
        self._parts = parts
        self._chance = chance
        self._incarnation = b"incarn-0"
        self._open = ExitStack()
        self._journals: list[JournalWriter] = []
        self._worker: _Worker
        self._wire = _Wire()
        self.start()

    def start(self) -> None:
        """Start the worker: open its journals, replay, be ready."""
        folder = self.folder
        config = IngestConfig(
            worker=0,
            address=LinkAddress("127.0.0.1", 0, "hub-ingest-0"),
            incarnation=self._incarnation,
            gate=folder / "gate",
            journal=folder / "journal",
            findings=folder / "findings",
            dead_letters=folder / "letters",
            checkpoints=folder / "detector",
            progress=folder / "progress",
            metrics=folder / "metrics",
            window=WINDOW,
            cadence_ms=1_000,
            clock=lambda: self.now,
        )

        def sync(fd: int) -> None:
            self._parts.sync(self.disk, fd)

        self._open = ExitStack()
        self._journals = [
            self._open.enter_context(JournalWriter.open(path, now_ns=self.now, sync_fd=sync))
            for path in (config.journal, config.findings, config.dead_letters)
        ]
        attempts = self._open.enter_context(contextlib.closing(Attempts(config.checkpoints)))
        directory = Directory.build(1, gate_arrays(), ROOT)
        journal, findings, letters = self._journals
        self._worker = _Worker(config, journal, findings, letters, directory, attempts)
        self._parts.dress(self._worker)
        self._wire = _Wire()
        vars(self._worker._pipeline)["_receiver"] = self._wire
        self._worker._streams.tell_all()

    def end(self) -> None:
        """End the worker without a word: nothing more is written or synced."""
        for journal in self._journals:
            journal._dead = "it was killed"
        self._open.close()

    def turn(self, messages: list[bytes]) -> list[bytes]:
        """Take a micro-batch; returns what goes down to the device, payloads of receipts."""
        self.now += 50_000_000
        for part, deaths in self._worker._attempts.parts(_frames(b"".join(messages))):
            self._worker._turn(part, deaths)
        packets, self._wire.out = bytes(self._wire.out), bytearray()
        return _payloads(packets)

    def checkpoint(self) -> None:
        """Save a checkpoint."""
        self._worker.save_checkpoint()

    def kill(self) -> None:
        """`kill -9` and start again."""
        self.end()
        self.start()

    def lose_power(self, how: Callable[[Disk], None] = Disk.lose_power) -> None:
        """Lose power and start again; `how` tells what the disk keeps."""
        self.end()
        how(self.disk)
        self.start()

    def back_up(self, copy: Path) -> None:
        """Copy the folder while the worker is off."""
        self.end()
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder, copy)
        self.start()

    def restore(self, copy: Path) -> None:
        """Go back to a copy, as another incarnation."""
        self.end()
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)
        if self._parts.renew:
            self._incarnation = self._chance.randbytes(8)
        self.start()

    def returned(self) -> tuple[list[tuple[int, float]], list[float]]:
        """Ask the store for all rows: by name, and what accompanies them."""
        store = EmbeddedStore(self.folder / "store", {"0": self.folder / "journal"})
        ends = (-(1 << 63), (1 << 63) - 1)
        named = store.range(SLOT, 0, *ends, visible=ACCEPTED, limit=1 << 20)
        second = store.range(SLOT, 2, *ends, visible=ACCEPTED, limit=1 << 20)
        return list(
            zip(named.time.tolist(), named.value.tolist(), strict=True)
        ), second.value.tolist()


@dataclass
class Simulation:
    """A device, its hub, and what is between them. Its methods are what can happen.

    Args:
        folder: for everything.
        seed: of everything drawn.
        parts: what hub and network are made of.
        loss: probability that a message vanishes.
    """

    folder: Path
    seed: int
    parts: Parts = field(default_factory=Parts)
    loss: float = 0.2

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  seeded, so that failures repeat
        self.ledger = Ledger()
        self.now = 1_000.0
        self.rows = 0
        self.online = False
        self._home = self.folder / "device"
        self._twin: tuple[Path, Engine] | None = None
        self._up: list[tuple[str, bytes]] = []
        self._down: list[bytes] = []
        hub = self.folder / "hub"
        hub.mkdir(parents=True)
        self._home.mkdir()
        self.hub = SimulatedHub(hub, self.parts, self.chance)
        self.switch_on()

    # The device's link.

    def start(self, listener: Listener) -> None: ...

    def reload(self) -> None: ...

    def close(self) -> None: ...

    def set_network(self, *, available: bool) -> None: ...

    def publish(self, channel: str, payload: bytes) -> bool:
        if not self.online:
            return False
        if channel == "t":
            self.ledger.sent(payload, "temp_c")
            answer = self.parts.answer(payload)
            if answer is not None:
                self._down.append(answer)
        if channel in {"t", "presence"}:
            self._up += [(channel, payload)] * self._copies()
        return True

    # What happens.

    def switch_on(self) -> None:
        """Open the device on what its folder holds."""
        home = self._home
        clocks = Clocks(
            wall_ns=lambda: NOW + int(self.now * _SECOND),
            monotonic=lambda: self.now,
            octets=self.chance.randbytes,
            jitter=self.chance.random,
            pause=lambda _: None,
        )
        spool = Spool(home / "spool.db", new_stream=lambda: self.chance.randbytes(8))
        trust = Trust(home / "state.json", DEVICES[SLOT], b"k" * 32, {})
        self.engine = Engine(spool, trust, self, clocks, Settings("1"), lambda *_: False)

    def switch_off(self) -> None:
        """Close the device in order."""
        self.disconnect()
        self.engine.sync()
        self.engine.spool.close()

    def restart_device(self) -> None:
        """Switch the device off and on."""
        self.switch_off()
        self.switch_on()

    def measure(self) -> None:
        """Measure some rows and put them on the device's disk."""
        for _ in range(self.chance.randint(1, 9)):
            self.rows += 1
            self.now += 0.001
            value, at = 20.0 + self.rows * 1e-6, NOW + int(self.now * _SECOND)
            self.ledger.measured(value, at, at, self.now)
            self.engine.measure({"temp_c": value, "power_w": 2 * value}, at)
        self.engine.sync()

    def step(self) -> None:
        """Let time pass at the device."""
        self.now += self.chance.choice((0.1, 0.5, 3.0, 20.0))
        self.engine.step()

    def connect(self) -> None:
        """Connect the device."""
        if not self.online:
            self.online = True
            self.engine.on_connected()

    def disconnect(self) -> None:
        """Break the connection; what is in flight down is lost, what is in flight up may still arrive."""
        if self.online:
            self.online = False
            self._down.clear()
            self.engine.on_disconnected()

    def wipe_broker(self) -> None:
        """Lose all that is in flight."""
        self.disconnect()
        self._up.clear()

    def deliver_up(self) -> None:
        """Let the hub take some of what is in flight, in any order."""
        self.chance.shuffle(self._up)
        count = self.chance.randint(0, len(self._up))
        taken, self._up = self._up[:count], self._up[count:]
        packets = [publish(topic_of(SLOT, channel), payload) for channel, payload in taken]
        for receipt in self.hub.turn(packets):
            if self.online:
                self._down += [receipt] * min(1, self._copies())

    def deliver_down(self) -> None:
        """Let the device hear what is in flight, in order."""
        heard, self._down = self._down, []
        for receipt in heard:
            self.ledger.told(receipt, self.now)
            self.engine.on_message("receipt", receipt)

    def back_up_device(self) -> None:
        """Copy the device's folder."""
        self.switch_off()
        shutil.rmtree(self.folder / "device-copy", ignore_errors=True)
        shutil.copytree(self._home, self.folder / "device-copy")
        self._device_copied = self.now
        self.now += 0.001
        self.switch_on()

    def restore_device(self) -> None:
        """Put the device's folder back to the copy; what is in flight up may still arrive."""
        if not (self.folder / "device-copy").exists():
            return
        self.switch_off()
        shutil.rmtree(self._home)
        shutil.copytree(self.folder / "device-copy", self._home)
        self.ledger.forgive_held(self._device_copied + 0.0005)
        self.now += 0.001
        self.switch_on()

    def change_twins(self) -> None:
        """Let a twin, made of a copy of the device's folder, take the connection; both stay switched on."""
        self.disconnect()
        home, engine = self._home, self.engine
        if self._twin is None:
            self.switch_off()
            shutil.copytree(home, self.folder / "twin")
            self.switch_on()
            engine, self._home = self.engine, self.folder / "twin"
            self.switch_on()
        else:
            self._home, self.engine = self._twin
        self._twin = home, engine

    def back_up_hub(self) -> None:
        """Copy the hub's folder."""
        self.hub.back_up(self.folder / "hub-copy")
        self._hub_copied = self.now
        self.now += 0.001

    def restore_hub(self) -> None:
        """Put the hub's folder back to the copy; the device stays connected."""
        if not (self.folder / "hub-copy").exists():
            return
        self._up.clear()
        self._down.clear()
        self.hub.restore(self.folder / "hub-copy")
        self.ledger.forgive_stored(self._hub_copied + 0.0005)
        self.now += 0.001

    def heal(self) -> int:
        """Let all faults end and time pass; returns the rows that still have no receipt."""
        self.loss, self.parts = 0.0, replace(self.parts, answer=lambda _: None)
        stuck = self._settle()
        if self._twin is not None:
            self.change_twins()
            stuck += self._settle()
        return stuck

    def _settle(self) -> int:
        self.connect()
        for _ in range(400):
            self.step()
            self.deliver_up()
            self.deliver_up()
            self.hub.now += _SECOND
            self.deliver_up()
            self.deliver_down()
            if self.engine.pending == 0 and not self._up:
                break
        return self.engine.pending

    def check(self) -> Verdict:
        """Compare what was promised with what the store returns."""
        return self.ledger.check(*self.hub.returned())

    def end(self) -> None:
        """Close everything."""
        with contextlib.suppress(Exception):
            self.engine.spool.close()
        if self._twin is not None:
            with contextlib.suppress(Exception):
                self._twin[1].spool.close()
        self.hub.end()

    def _copies(self) -> int:
        """How often a message arrives: lost, once, or twice."""
        if self.chance.random() < self.loss:
            return 0
        return 2 if self.chance.random() < self.loss / 2 else 1


HAPPENINGS: dict[str, int] = {
    "measure": 8,
    "step": 6,
    "deliver_up": 8,
    "deliver_down": 6,
    "connect": 4,
    "disconnect": 1,
    "wipe_broker": 1,
    "restart_device": 1,
}
HUB_FAULTS: dict[str, int] = {"checkpoint": 2, "kill": 2, "lose_power": 2}


def play(simulation: Simulation, happenings: dict[str, int], count: int) -> None:
    """Let so many things happen, drawn by weight; names are methods of the simulation or of its hub."""
    names, weights = list(happenings), list(happenings.values())
    for name in simulation.chance.choices(names, weights, k=count):
        deed: Any = getattr(simulation, name, None) or getattr(simulation.hub, name)
        deed()
