"""The worker as a whole, on real files and a broker of sockets: stop, start, and what it remembers."""

import contextlib
import errno
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from analytics.detector import Detector
from device_sdk.wire import cbor
from device_sdk.wire.codes import ClockState
from device_sdk.wire.messages import Birth, Presence
from device_sdk.wire.pack import Pack, encode_pack
from device_sdk.wire.trace import trace_id
from hub.app.ingest import IngestConfig, run_worker
from hub.app.tally import STAGES
from hub.app.tracing import TURN, span_id
from hub.errors import StorageError
from hub.pipeline.checkpoint import load_checkpoint, save_checkpoint
from hub.pipeline.decode import Decoder
from hub.pipeline.detect import DetectStage
from hub.pipeline.frames import Frames, Rows
from hub.pipeline.outcome import FoundIn, Lost, Rejection
from hub.pipeline.receive import LinkAddress
from hub.pipeline.store import read_progress
from hub.ports.journal import writer as writer_module
from hub.ports.journal.block import Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.telemetry import TelemetryBatch, decode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.port import Visibility
from hub.services.alert_kinds import IDENTITY_CONFLICT, OLDER_COPY
from hub.services.replays import Replay, replays_in
from hub.services.snapshot_file import publish_snapshot
from tests.hub.collector.span_list import Spans
from tests.hub.pipeline.frame_bench import DEVICES, NOW, gate_arrays, publish, topic_of

STREAM = b"streamid"


class Pipe:
    """A broker with one subscriber: what is put in comes out, what the subscriber publishes is kept."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = bytearray()
        self.heard_more = threading.Condition()
        self.connection: socket.socket | None = None
        self.connections = 0
        self.closed = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the test is over
            while True:
                connection, _ = self.listener.accept()
                connection.recv(4096)
                connection.sendall(b"\x20\x02\x00\x00")
                connection.recv(4096)
                self.connection = connection
                self.connections += 1
                connection.sendall(b"\x90\x05\x00\x01\x00\x00\x00")
                threading.Thread(target=self.hear, args=(connection,), daemon=True).start()

    def hear(self, connection: socket.socket) -> None:
        while True:
            try:
                data = connection.recv(65536)
            except OSError:
                return
            if not data or data.endswith(b"\xe0\x00"):
                self.closed.set()
                return
            with self.heard_more:
                self.heard += data
                self.heard_more.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.heard_more:
            assert self.heard_more.wait_for(condition, timeout=20)

    def send(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 20 s")


class Worker:
    """A worker in a thread; `error` is what it ended with, if not by being told to."""

    error: BaseException | None = None

    def __init__(self, folder: Path, port: int) -> None:
        ticks = itertools.count(NOW, 10_000_000)
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.config = IngestConfig(
            worker=0,
            address=LinkAddress("127.0.0.1", port, "hub-ingest-0"),
            incarnation=b"incarnat",
            gate=folder / "gate",
            journal=folder / "journal",
            findings=folder / "findings",
            dead_letters=folder / "letters",
            checkpoints=folder / "detector",
            progress=folder / "progress",
            metrics=folder / "metrics",
            cadence_ms=1,
            clock=lambda: next(ticks),
        )
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            run_worker(self.config, self.stop, self.ready.set)
        except (StorageError, RuntimeError) as error:
            self.error = error

    def __enter__(self) -> Self:
        self.thread.start()
        assert self.ready.wait(120)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(120)
        assert not self.thread.is_alive()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.listener.close()


def pack(first: int, values: list[float], *, slot: int = 1) -> bytes:
    times = [NOW - 10**12 + (first + i) * 10**9 for i in range(len(values))]
    data = Pack(STREAM, first, 1, b"bootboot", ClockState.SYNCED, False, times, {"temp_c": values})
    return publish(topic_of(slot, "t"), encode_pack(data))


def stored(folder: Path) -> list[int]:
    return [
        seq
        for block in JournalReader(folder / "journal").blocks()
        if block.kind == Kind.TELEMETRY
        for seq in decode(block.payload).seq.tolist()
    ]


def findings(folder: Path) -> list[bytes]:
    return [
        finding["id"]
        for block in JournalReader(folder / "findings").blocks()
        for finding in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
    ]


def test_a_message_is_journalled_and_receipted(tmp_path: Path, pipe: Pipe) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0, 2.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    assert stored(tmp_path) == [0, 1]
    assert b"/down/receipt" in pipe.heard
    assert read_progress(tmp_path / "progress").synced > 0


def test_a_restarted_worker_knows_what_it_stored_and_finds_nothing_twice(
    tmp_path: Path, pipe: Pipe
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [20.0, 200.0]))  # 200 is above the limit of 100
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    first = findings(tmp_path)
    assert len(first) == 1
    for path in (tmp_path / "detector").glob("*.checkpoint"):
        path.unlink()  # as after a crash before the first checkpoint
    pipe.heard.clear()
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [20.0, 200.0, 21.0]))
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
    assert stored(tmp_path) == [0, 1, 2]
    assert set(findings(tmp_path)) == set(first)


def test_a_broken_connection_is_made_again_and_streams_are_told_where_they_stand(
    tmp_path: Path, pipe: Pipe
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
        pipe.heard.clear()
        assert pipe.connection is not None
        pipe.connection.shutdown(socket.SHUT_RDWR)
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
        assert pipe.connections == 2
        pipe.send(pack(1, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    assert stored(tmp_path) == [0, 1]


def test_rows_with_findings_are_traced_and_of_others_a_few(tmp_path: Path, pipe: Pipe) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    collector = Spans()
    worker = Worker(tmp_path, pipe.port)
    worker.config = replace(worker.config, collector=collector, traces_per_s=1e-9)
    with worker:
        for first, value in enumerate((20.0, 21.0, 200.0)):  # 200 is above the limit of 100
            pipe.send(pack(first, [value]))
            receipt = STREAM + bytes([first + 1])
            pipe.wait_for(lambda: receipt in pipe.heard)  # noqa: B023  called at once
    device = DEVICES[1]
    sampled, found = trace_id(device, STREAM, 0), trace_id(device, STREAM, 2)
    spans = collector.spans
    assert {span.trace for span in spans} == {sampled, found}  # of the others one in 31 years
    stages = [f"{TURN} {stage}" for stage in STAGES]
    for trace in (sampled, found):
        whole, *parts = [span for span in spans if span.trace == trace]
        assert (whole.name, whole.id, whole.parent) == (TURN, span_id(trace, TURN), "")
        assert [part.name for part in parts] == stages
        assert {part.parent for part in parts} == {whole.id}
        assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
        assert whole.facts["homeport.device"] == device
        assert whole.facts["homeport.stream"] == STREAM.hex()
        assert whole.facts.get("homeport.findings") == ("out_of_limits" if trace == found else None)


def test_a_new_gate_snapshot_is_taken_without_a_restart(tmp_path: Path, pipe: Pipe) -> None:
    arrays = gate_arrays()
    arrays["span_verdict"] = arrays["span_verdict"].copy()
    arrays["span_verdict"][1] = 3
    publish_snapshot(tmp_path / "gate", arrays)
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0]))
        publish_snapshot(tmp_path / "gate", gate_arrays())
        for _ in range(200):
            pipe.send(pack(0, [1.0]))
            with pipe.heard_more:
                if pipe.heard_more.wait_for(lambda: STREAM + b"\x01" in pipe.heard, timeout=0.1):
                    break
    assert stored(tmp_path) == [0]


def test_the_newest_whole_checkpoint_wins(tmp_path: Path) -> None:
    for offset in (8, 16, 24):
        save_checkpoint(tmp_path, offset, {"x": np.arange(offset)})
    assert len(list(tmp_path.glob("*.checkpoint"))) == 2
    newest = max(tmp_path.glob("*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:100])
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded[0], loaded[1]["x"].size) == (16, 16)
    assert load_checkpoint(tmp_path / "none") is None


def test_a_checkpoint_of_another_detector_version_is_passed_over(
    tmp_path: Path, pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
    loaded = load_checkpoint(tmp_path / "detector")
    assert loaded is not None
    offset, arrays = loaded
    arrays["detector"] = np.frombuffer(b"of another version", np.uint8)
    save_checkpoint(tmp_path / "detector", offset, arrays)
    pipe.heard.clear()
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0, 2.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    assert stored(tmp_path) == [0, 1]
    assert "Detection starts afresh" in caplog.text


def test_rows_from_the_future_teach_the_detector_nothing(tmp_path: Path, pipe: Pipe) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    century = 3_153_600_000_000_000_000
    data = Pack(
        STREAM, 0, 1, b"bootboot", ClockState.SYNCED, True, [NOW + century], {"temp_c": [1.0]}
    )
    with Worker(tmp_path, pipe.port):
        pipe.send(publish(topic_of(1, "t"), encode_pack(data)))
        pipe.send(pack(1, [500.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    loaded = load_checkpoint(tmp_path / "detector")
    assert loaded is not None
    detector = Detector.load(loaded[1]["detector"].tobytes())
    assert int(detector._records["time"][: len(detector)].max()) < NOW


def test_a_disk_error_leaves_nothing_that_would_receipt_what_is_not_stored(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    broken = threading.Event()

    def sync(descriptor: int) -> None:
        if broken.is_set():
            raise OSError(5, "Input/output error")
        os.fsync(descriptor)

    opened = JournalWriter.open
    monkeypatch.setattr(
        "hub.app.ingest.JournalWriter.open",
        lambda folder, **how: opened(folder, sync_fd=sync, **how),
    )
    worker = Worker(tmp_path, pipe.port)
    with worker:
        pipe.send(pack(0, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
        broken.set()
        pipe.send(pack(1, [2.0, 3.0]))
        worker.thread.join(120)
    assert isinstance(worker.error, StorageError)
    assert STREAM + b"\x03" not in pipe.heard
    # The block that was not synced is lost, as a power failure would lose it.
    (segment,) = (tmp_path / "journal").glob("*.hpj")
    blocks = list(JournalReader(tmp_path / "journal").blocks())
    os.truncate(segment, segment.stat().st_size - (blocks[-1].end - blocks[-1].offset))
    broken.clear()
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(1, [2.0, 3.0]))
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
    assert stored(tmp_path) == [0, 1, 2]


def test_a_full_disk_is_waited_for_without_receipts_and_without_a_restart(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    full = threading.Event()
    written = writer_module._write_all

    def write(descriptor: int, buffers: list[bytes], size: int) -> None:
        if full.is_set():
            os.write(descriptor, bytes(buffers[0])[: size // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        written(descriptor, buffers, size)  # type: ignore[arg-type]

    monkeypatch.setattr(writer_module, "_write_all", write)
    with Worker(tmp_path, pipe.port) as worker:
        pipe.send(pack(0, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
        full.set()
        pipe.heard.clear()
        pipe.send(pack(1, [2.0, 3.0]))
        wait_until(lambda: read_progress(tmp_path / "progress").paused == 1)
        full.clear()
        wait_until(lambda: pipe.connections == 2)
        # What was settled in memory when the write failed must not be receipted now.
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
        assert STREAM + b"\x03" not in pipe.heard
        pipe.send(pack(1, [2.0, 3.0]))
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
        assert read_progress(tmp_path / "progress").paused == 0
    assert worker.error is None
    assert stored(tmp_path) == [0, 1, 2]


def test_telemetry_leaves_the_reserve_free_and_comes_back_by_itself(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    free = [10_000_000]
    monkeypatch.setattr("hub.app.ingest.free_bytes", lambda _folder: free[0])
    worker = Worker(tmp_path, pipe.port)
    worker.config = replace(worker.config, reserve_bytes=1_000_000)
    with worker:
        pipe.send(pack(0, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)
        free[0] = 999_999
        wait_until(lambda: read_progress(tmp_path / "progress").paused == 1)
        assert pipe.closed.wait(120)  # unsubscribed: the broker does not pile up what nobody reads
        free[0] = 1_100_000  # not enough to come back
        assert pipe.connections == 1
        free[0] = 1_300_000
        wait_until(lambda: pipe.connections == 2)
        pipe.send(pack(1, [2.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
        assert read_progress(tmp_path / "progress").paused == 0
    assert worker.error is None


def test_of_the_reserve_no_more_than_one_turn_is_taken_before_the_disk_is_looked_at(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    monkeypatch.setattr("hub.app.ingest._LOOK_S", 1e9)  # only what was written makes it look

    def used() -> int:
        return sum(file.stat().st_size for file in (tmp_path / "letters").glob("*.hpj"))

    monkeypatch.setattr("hub.app.ingest.free_bytes", lambda _folder: 1_008_192 - used())
    worker = Worker(tmp_path, pipe.port)
    worker.config = replace(worker.config, reserve_bytes=1_000_000)
    frame = b"{" + b"x" * 999
    with worker:
        for _ in range(40):
            if pipe.closed.wait(0.02):
                break
            with contextlib.suppress(OSError):  # it hangs up as soon as it looks
                pipe.send(publish(topic_of(1, "json"), frame))
        wait_until(lambda: read_progress(tmp_path / "progress").paused == 1)
    assert worker.error is None
    assert 8_192 <= used() <= 8_192 + 40 * 1_300


def test_a_worker_that_starts_on_a_full_disk_says_ready_and_waits(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    free = [0]
    monkeypatch.setattr("hub.app.ingest.free_bytes", lambda _folder: free[0])
    worker = Worker(tmp_path, pipe.port)
    worker.config = replace(worker.config, reserve_bytes=1_000_000)
    with worker:
        wait_until(lambda: read_progress(tmp_path / "progress").paused == 1)
        assert pipe.connections == 0
        free[0] = 2_000_000
        wait_until(lambda: pipe.connections == 1)


def test_a_message_that_kills_the_worker_cannot_loop(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    decode_batch = Decoder.decode

    def decode_or_die(
        self: Decoder, frames: Frames, rows: Rows, received: int
    ) -> tuple[list[Rejection], list[Lost]]:
        if any(frames.payload_bytes(i) == poison for i in range(frames.count)):
            raise RuntimeError("as dead as by a signal")
        return decode_batch(self, frames, rows, received)

    monkeypatch.setattr(Decoder, "decode", decode_or_die)
    message = pack(1, [2.0, 3.0])
    poison = message[-(len(message) - 2 - 2 - len(topic_of(1, "t"))) :]
    deaths = 0
    while True:
        pipe.heard.clear()
        with Worker(tmp_path, pipe.port) as worker:
            pipe.send(pack(0, [1.0]) + message)
            wait_until(lambda: worker.error is not None or STREAM + b"\x03" in pipe.heard)
        if worker.error is None:
            break
        deaths += 1
        assert deaths < 10
    assert deaths == 5
    letters = [
        letter
        for block in JournalReader(tmp_path / "letters").blocks()
        for letter in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
    ]
    assert [(x["detail"], x["bytes"]) for x in letters] == [("crashed the worker 2 times", poison)]
    assert stored(tmp_path) == [0]


def test_a_journalled_block_that_kills_the_detector_is_passed_over(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    detect = DetectStage.detect

    def detect_or_die(self: DetectStage, batch: TelemetryBatch, received: int) -> FoundIn:
        if 66.0 in batch.value:
            raise RuntimeError("as dead as by a signal")
        return detect(self, batch, received)

    monkeypatch.setattr(DetectStage, "detect", detect_or_die)
    worker = Worker(tmp_path, pipe.port)
    with worker:
        pipe.send(pack(0, [66.0]))
        wait_until(lambda: worker.error is not None)
    for _ in range(2):  # replaying it kills, too
        worker = Worker(tmp_path, pipe.port)
        worker.thread.start()
        worker.thread.join(120)
        assert isinstance(worker.error, RuntimeError)
    pipe.heard.clear()
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [66.0, 200.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    assert stored(tmp_path) == [0, 1]
    assert len(findings(tmp_path)) == 1  # detection goes on behind it


def test_a_clone_raises_one_finding_and_is_told_to_leave_the_stream(
    tmp_path: Path, pipe: Pipe
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0, 2.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    for path in (tmp_path / "detector").glob("*.checkpoint"):
        assert load_checkpoint(path.parent) is not None
    pipe.heard.clear()
    with Worker(tmp_path, pipe.port):  # restarted from its checkpoint: it still knows the rows
        for _ in range(2):
            pipe.heard.clear()
            pipe.send(pack(1, [20.0, 30.0]))
            pipe.wait_for(lambda: b"\x07\x81\x48" + STREAM in pipe.heard)  # key 7: abandon
    (one, again) = [
        finding
        for block in JournalReader(tmp_path / "findings").blocks()
        for finding in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
    ]
    assert one["id"] == again["id"]
    assert (one["kind"], one["slot"], one["observed"]) == (IDENTITY_CONFLICT, 1, 1.0)
    assert stored(tmp_path) == [0, 1, 2]


def birth(sent: int | None) -> bytes:
    said = Birth(STREAM, b"boot.boo", "1.0", "test", (), 0, 0, ClockState.SYNCED, NOW, sent)
    return publish(topic_of(1, "presence"), Presence(said).encode())


def test_a_device_that_knows_less_than_the_hub_raises_one_finding_however_long_ago_that_was(
    tmp_path: Path, pipe: Pipe
) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(birth(0) + pack(0, [1.0, 2.0]))  # settled by what follows the birth itself
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    later = Worker(tmp_path, pipe.port)
    hours = itertools.count(NOW + 10**13, 10_000_000)
    later.config = replace(later.config, clock=lambda: next(hours))
    with later:
        for said in (2, 7, None, 1, 1):  # only 1 is less than what is settled
            pipe.heard.clear()
            pipe.send(birth(said))
            pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    (one, again) = [
        finding
        for block in JournalReader(tmp_path / "findings").blocks()
        for finding in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
    ]
    assert one["id"] == again["id"]
    assert (one["kind"], one["slot"], one["observed"]) == (OLDER_COPY, 1, 1.0)


def hand_back(folder: Path, payload: bytes, stream: int | None, *rows: tuple[int, int]) -> Path:
    letter = Replay(topic_of(1, "t"), payload, NOW, stream, rows)
    letter.put(folder / "letters" / "replay", "0-0")
    (path,) = replays_in(folder / "letters" / "replay")
    return path


def letters(folder: Path) -> list[dict[str, Any]]:
    return [
        letter
        for block in JournalReader(folder / "letters").blocks()
        for letter in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
    ]


def test_a_replayed_dead_letter_is_stored_once_under_its_own_identity(
    tmp_path: Path, pipe: Pipe
) -> None:
    arrays = gate_arrays()
    arrays["metric_name"] = arrays["metric_name"].copy()
    arrays["metric_name"][0, :6] = np.frombuffer(b"temp_f", np.uint8)
    publish_snapshot(tmp_path / "gate", arrays)
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0, 2.0]))
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    (letter,) = letters(tmp_path)
    assert (letter["stream"], letter["rows"]) == (STREAM, [[0, 2]])
    assert stored(tmp_path) == []
    publish_snapshot(tmp_path / "gate", gate_arrays())  # the model has the metric now
    stream = int.from_bytes(STREAM, "big")
    for _ in range(2):  # the second time as if the worker had died before it removed the file
        with Worker(tmp_path, pipe.port):
            path = hand_back(tmp_path, letter["bytes"], stream, (0, 2))
            wait_until(lambda path=path: not path.exists())  # type: ignore[misc]
        for checkpoint in (tmp_path / "detector").glob("*.checkpoint"):
            checkpoint.unlink()
    assert stored(tmp_path) == [0, 1]
    assert len(letters(tmp_path)) == 1


def test_a_replay_takes_only_the_rows_that_were_rejected(tmp_path: Path, pipe: Pipe) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        pipe.send(pack(0, [1.0, float("nan"), 3.0]))
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
        (letter,) = letters(tmp_path)
        assert letter["rows"] == [[1, 2]]
        path = hand_back(tmp_path, letter["bytes"], int.from_bytes(STREAM, "big"), (1, 2))
        wait_until(lambda: not path.exists())
    assert stored(tmp_path) == [0, 2]
    assert len(letters(tmp_path)) == 2  # rejected again


def test_a_replay_that_is_no_dead_letter_is_passed_over(tmp_path: Path, pipe: Pipe) -> None:
    publish_snapshot(tmp_path / "gate", gate_arrays())
    with Worker(tmp_path, pipe.port):
        path = hand_back(tmp_path, b"x", None)
        path.write_bytes(b"garbage")
        wait_until(lambda: not path.exists())
        pipe.send(pack(0, [1.0]))
        pipe.wait_for(lambda: STREAM + b"\x01" in pipe.heard)


def test_a_lapsed_devices_rows_are_kept_and_wake_nobody_then_or_when_shown(
    tmp_path: Path, pipe: Pipe
) -> None:
    """Slot 4 lapsed. What it sends is kept; after the renewal a query shows all of it, and no alert comes of it."""
    publish_snapshot(tmp_path / "gate", gate_arrays())
    store = EmbeddedStore(tmp_path / "store", {"0": tmp_path / "journal"})
    data = pack(0, [20.0, 150.0, 21.0], slot=4)
    with Worker(tmp_path, pipe.port):
        pipe.send(data)
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
        hidden = store.range(4, 0, 0, 2**62, visible=Visibility(), limit=10)
        assert hidden.value.size == 0
        arrays = gate_arrays()
        arrays["span_verdict"] = np.where(arrays["span_verdict"] == 1, 0, arrays["span_verdict"])
        publish_snapshot(tmp_path / "gate", arrays)
        pipe.heard.clear()
        pipe.send(pack(3, [22.0, 151.0], slot=4))
        pipe.wait_for(lambda: STREAM + b"\x05" in pipe.heard)
    shown = store.range(4, 0, 0, 2**62, visible=Visibility(reasons=frozenset({1})), limit=10)
    assert shown.value.tolist() == [20.0, 150.0, 21.0, 22.0, 151.0]
    limits = [
        (finding["observed"], finding["historical"])
        for block in JournalReader(tmp_path / "findings").blocks()
        for finding in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
    ]
    assert limits == [(150.0, True), (151.0, False)]
