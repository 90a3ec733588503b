"""A worker killed with SIGKILL between any two stages.

What it promised is there, once, and its findings are the same to the bit.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_sdk.wire import cbor
from hub.app import ingest
from hub.app.ingest import run_worker
from hub.pipeline.checkpoint import save_checkpoint
from hub.pipeline.react import ReactStage
from hub.pipeline.receive import Receiver
from hub.ports.journal.block import Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.telemetry import decode
from hub.ports.journal.writer import JournalWriter
from hub.services.snapshot_file import publish_snapshot
from tests.hub.pipeline.frame_bench import gate_arrays
from tests.hub.pipeline.test_worker import STREAM, Pipe, Worker, pack

PACKS = 12
ROWS = 5
_SPAWN = multiprocessing.get_context("spawn")


def message(number: int) -> bytes:
    """A pack with a value above the limit of 100 in it."""
    first = number * ROWS
    return pack(first, [20.0, 21.0, 150.0 + number, 20.5, 20.0])


# Where the worker dies: class, method, before or after the call. One turn of these packs appends to the journal, syncs
# it, sends the receipt, appends the findings and syncs them.
BOUNDARIES: dict[str, tuple[type[Any], str, bool]] = {
    "before the append": (JournalWriter, "append", False),
    "between append and sync": (JournalWriter, "append", True),
    "between sync and receipt": (JournalWriter, "sync", True),
    "in front of the receipt": (Receiver, "send", False),
    "between receipt and detector": (Receiver, "send", True),
    "between findings and their sync": (ReactStage, "react", False),
    "after the findings": (ReactStage, "react", True),
}


def die(folder: Path, port: int, where: str, calls: int) -> None:
    """Run a worker in this process and kill it at a boundary."""
    owner, name, after = BOUNDARIES[where]
    method = getattr(owner, name)
    count = 0

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(self, *arguments, **named)
        if count == calls and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)
    run_worker(Worker(folder, port).config, threading.Event())


def feed(pipe: Pipe, alive: Callable[[], bool], first: int = 0) -> int:
    """Send the packs from `first` on, each when the one before it is receipted; returns how many rows were."""
    receipted = 0
    if first:
        pipe.send(message(first - 1))  # again: its receipt may not have arrived
    for number in range(first, PACKS):
        mark = STREAM + cbor.encode((number + 1) * ROWS)
        with pipe.heard_more:
            pipe.heard.clear()
        if not alive():
            break
        pipe.send(message(number))
        while alive():
            with pipe.heard_more:
                if pipe.heard_more.wait_for(lambda mark=mark: mark in pipe.heard, timeout=0.05):  # type: ignore[misc]
                    receipted = (number + 1) * ROWS
                    break
    return receipted


def rows(folder: Path) -> list[tuple[int, float]]:
    out: list[tuple[int, float]] = []
    for block in JournalReader(folder / "journal").blocks():
        if block.kind == Kind.TELEMETRY:
            batch = decode(block.payload)
            out += zip(batch.seq.tolist(), batch.value.tolist(), strict=True)
    return out


def found(folder: Path) -> dict[bytes, dict[str, Any]]:
    """Findings by id; those under one id must be the same to the bit."""
    out: dict[bytes, dict[str, Any]] = {}
    for block in JournalReader(folder / "findings").blocks():
        for finding in cbor.decode(bytes(block.payload), max_bytes=1 << 28):
            assert cbor.encode(out.setdefault(finding["id"], finding)) == cbor.encode(finding)
    return out


def said(folder: Path) -> list[dict[str, Any]]:
    """What the findings say, but for their place: a block that says how late it is may stand before them."""
    place = ("id", "offset")
    return [{k: v for k, v in one.items() if k not in place} for one in found(folder).values()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    publish_snapshot(folder / "gate", gate_arrays())
    pipe = Pipe()
    with Worker(folder, pipe.port):
        assert feed(pipe, lambda: True) == PACKS * ROWS
    pipe.listener.close()
    return folder


@pytest.mark.parametrize("where", BOUNDARIES)
def test_a_kill_loses_nothing_and_the_findings_are_the_same(
    where: str, undisturbed: Path, tmp_path: Path
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    pipe = Pipe()
    process = _SPAWN.Process(target=die, args=(tmp_path, pipe.port, where, 8), daemon=True)
    process.start()
    pipe.wait_for(lambda: pipe.connections == 1 or process.exitcode is not None)
    promised = feed(pipe, process.is_alive)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert promised < PACKS * ROWS
    kept = rows(tmp_path)
    assert [seq for seq, _ in kept][:promised] == list(range(promised))
    with Worker(tmp_path, pipe.port):
        assert feed(pipe, lambda: True, len(kept) // ROWS) == PACKS * ROWS
    pipe.listener.close()
    assert rows(tmp_path) == rows(undisturbed)
    assert said(tmp_path) == said(undisturbed)
    assert len(said(tmp_path)) >= PACKS


def test_a_kill_in_the_middle_of_a_checkpoint_leaves_the_older_one(
    undisturbed: Path, tmp_path: Path
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    pipe = Pipe()
    process = _SPAWN.Process(target=_die_saving, args=(tmp_path, pipe.port), daemon=True)
    process.start()
    pipe.wait_for(lambda: pipe.connections == 1)
    feed(pipe, process.is_alive)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "detector").glob("*.checkpoint"))) == 2
    kept = rows(tmp_path)
    with Worker(tmp_path, pipe.port):
        feed(pipe, lambda: True, len(kept) // ROWS)
    pipe.listener.close()
    assert rows(tmp_path) == rows(undisturbed)
    assert said(tmp_path) == said(undisturbed)


def _die_saving(folder: Path, port: int) -> None:
    save, count = save_checkpoint, 0

    def save_or_die(where: Path, offset: int, arrays: dict[str, Any], token: int = 0) -> int:
        nonlocal count
        count += 1
        if count == 3:
            (where / f"{offset:020d}.part").write_bytes(b"half a checkpoint")
            os.kill(os.getpid(), signal.SIGKILL)
        return save(where, offset, arrays)

    setattr(ingest, "save_checkpoint", save_or_die)  # noqa: B010  the module imports it for itself alone
    config = Worker(folder, port).config
    object.__setattr__(config, "checkpoint_s", 0.0)
    run_worker(config, threading.Event())
