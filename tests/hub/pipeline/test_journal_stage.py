"""What is kept, what is dropped, and what a restart remembers; on real journals."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sdk.wire import cbor
from device_sdk.wire.codes import ClockState, RejectCode
from device_sdk.wire.pack import Pack, encode_pack
from device_sdk.wire.topics import ROOT
from hub.errors import StorageError
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Rows
from hub.pipeline.identity import StreamTable, StreamView
from hub.pipeline.journal import MAX_DEAD_LETTERS, JournalStage, replay
from hub.pipeline.outcome import Conflict, Stored
from hub.ports.journal.block import Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.telemetry import decode
from hub.ports.journal.writer import JournalWriter
from tests.hub.pipeline.frame_bench import METRICS, NOW, Bench, gate_arrays, publish, topic_of

STREAM = 0x0102030405060708
BENCH = Bench(Directory.build(1, gate_arrays(), ROOT))


def pack(
    first: int, values: list[float], *, name: str = "temp_c", lost: tuple[tuple[int, int], ...] = ()
) -> bytes:
    times = [NOW + (first + i) * 10**9 for i in range(len(values))]
    data = encode_pack(
        Pack(
            STREAM.to_bytes(8, "big"),
            first,
            1,
            b"bootboot",
            ClockState.SYNCED,
            False,
            times,
            {name: values},
            lost,
        )
    )
    return publish(topic_of(1, "t"), data)


class Desk:
    """A journal stage over real files."""

    def __init__(self, folder: Path, window: int = 1000) -> None:
        self.folder = folder
        self.journal = JournalWriter.open(folder / "journal", now_ns=NOW)
        self.letters = JournalWriter.open(folder / "letters", now_ns=NOW)
        self.streams = StreamTable(window)
        self.stage = JournalStage(self.journal, self.letters, self.streams)
        self.rows = Rows(64, 256)

    def write(self, *messages: bytes) -> Stored:
        frames = BENCH.frames(*messages)
        rejections, lost = BENCH.directory.decoder.decode(frames, self.rows, NOW)
        return self.stage.write(frames, self.rows, rejections, lost, NOW)

    def stored(self) -> list[tuple[int, float]]:
        out: list[tuple[int, float]] = []
        for block in JournalReader(self.folder / "journal").blocks():
            if block.kind == Kind.TELEMETRY:
                batch = decode(block.payload)
                assert batch.count.tolist() == [1] * batch.rows
                out += zip(batch.seq.tolist(), batch.value.tolist(), strict=True)
        return out

    def buried(self) -> list[dict[str, object]]:
        return [
            letter
            for block in JournalReader(self.folder / "letters").blocks()
            for letter in cbor.decode(bytes(block.payload), max_bytes=1 << 28)
        ]

    def close(self) -> None:
        self.journal.close()
        self.letters.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_rows_are_stored_once_whatever_is_sent_again(desk: Desk) -> None:
    first = desk.write(pack(0, [1.0, 2.0, 3.0]))
    again = desk.write(pack(0, [1.0, 2.0, 3.0]), pack(2, [3.0, 4.0]))
    assert (first.offset, first.duplicates) == (0, 0)
    assert (again.batch.rows, again.duplicates) == (1, 4)
    assert desk.stored() == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]


def test_a_batch_of_duplicates_alone_leaves_no_block(desk: Desk) -> None:
    desk.write(pack(0, [1.0]))
    end = desk.journal.end
    stored = desk.write(pack(0, [1.0]))
    assert (stored.offset, stored.duplicates, desk.journal.end) == (-1, 1, end)


def test_rows_beyond_the_window_are_neither_stored_nor_settled(tmp_path: Path) -> None:
    desk = Desk(tmp_path, window=10)
    stored = desk.write(pack(8, [1.0, 2.0, 3.0]))
    assert (stored.batch.rows, stored.beyond) == (2, 1)
    assert desk.streams.view(1, STREAM) == StreamView(0, ((8, 10),))
    desk.close()


def test_what_is_written_is_synced_before_the_stage_returns(tmp_path: Path) -> None:
    synced: list[int] = []
    desk = Desk(tmp_path)
    desk.journal.close()
    desk.journal = JournalWriter.open(tmp_path / "other", now_ns=NOW, sync_fd=synced.append)
    desk.stage = JournalStage(desk.journal, desk.letters, desk.streams)
    before = len(synced)
    stored = desk.write(pack(0, [1.0]))
    assert len(synced) > before
    assert stored.synced == desk.journal.end
    desk.close()


def test_a_disk_that_refuses_ends_the_stage(tmp_path: Path) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    desk = Desk(tmp_path)
    desk.journal.close()
    desk.journal = JournalWriter.open(tmp_path / "other", now_ns=NOW)
    desk.journal._sync_fd = refuse
    desk.stage = JournalStage(desk.journal, desk.letters, desk.streams)
    with pytest.raises(StorageError):
        desk.write(pack(0, [1.0]))
    with pytest.raises(StorageError):
        desk.write(pack(1, [1.0]))
    desk.letters.close()


def test_rejected_rows_are_dead_letters_and_settled(desk: Desk) -> None:
    stored = desk.write(pack(0, [1.0, float("nan"), 3.0]), pack(3, [1.0, 2.0], name="unheard_of"))
    entry = desk.streams.find(1, STREAM)
    assert stored.rejected == [
        (entry, 1, 2, RejectCode.NOT_FINITE),
        (entry, 3, 5, RejectCode.UNKNOWN_METRIC),
    ]
    assert desk.streams.view(1, STREAM) == StreamView(5, ())
    letters = desk.buried()
    assert [(x["slot"], x["code"], x["time"]) for x in letters] == [(1, 4, NOW), (1, 5, NOW)]
    assert letters[0]["topic"] == topic_of(1, "t")
    assert desk.stored() == [(0, 1.0), (2, 3.0)]


def test_a_message_is_one_dead_letter_however_many_of_its_rows_are_bad(desk: Desk) -> None:
    desk.write(pack(0, [1.0, float("nan"), 3.0, float("inf"), 5.0]))
    assert [letter["code"] for letter in desk.buried()] == [4]
    assert desk.streams.view(1, STREAM) == StreamView(5, ())


def test_garbage_is_a_dead_letter_without_a_settlement(desk: Desk) -> None:
    stored = desk.write(publish(topic_of(1, "t"), b"\xff\xff"), publish("x/y", b"forged"))
    assert stored.rejected == []
    assert [(x["slot"], x["bytes"]) for x in desk.buried()] == [(0, b"forged"), (1, b"\xff\xff")]
    assert len({bytes(str(x["id"]), "utf-8") for x in desk.buried()}) == 2
    assert desk.journal.end == 0


def test_a_flood_of_garbage_keeps_a_bounded_number_of_dead_letters(desk: Desk) -> None:
    stored = desk.write(
        *[publish(topic_of(1, "t"), b"%d" % i) for i in range(MAX_DEAD_LETTERS + 50)]
    )
    assert stored.dead_letters == len(desk.buried()) == MAX_DEAD_LETTERS


def test_lost_rows_let_the_watermark_pass(desk: Desk) -> None:
    desk.write(pack(0, [1.0]))
    desk.write(pack(100, [2.0], lost=((1, 100),)))
    assert desk.streams.view(1, STREAM) == StreamView(101, ())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 40), st.integers(1, 6), st.sampled_from([*METRICS[:2], "unheard_of"])
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=8,
    )
)
def test_a_restart_remembers_exactly_what_was_settled(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int, str]]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    for batch in batches:
        desk.write(
            *(
                pack(first, [float(first + i) for i in range(n)], name=name)
                for first, n, name in batch
            )
        )
    seen = desk.stored()
    assert len(seen) == len({seq for seq, _ in seen})
    fresh = StreamTable(1000)
    for block in JournalReader(desk.folder / "journal").blocks():
        rows = decode(bytearray(block.payload)) if block.kind == Kind.TELEMETRY else None
        replay(fresh, block, rows)
    assert fresh.view(1, STREAM) == desk.streams.view(1, STREAM)
    desk.close()


def test_the_compacted_batch_keeps_each_rows_own_samples(desk: Desk) -> None:
    def wide(first: int, rows: int) -> bytes:
        times = [NOW + (first + i) * 10**9 for i in range(rows)]
        metrics: dict[str, list[float | None]] = {
            "temp_c": [100.0 * (first + i) for i in range(rows)],
            "flow_c": [100.0 * (first + i) + 1 if (first + i) % 2 else None for i in range(rows)],
        }
        data = Pack(
            STREAM.to_bytes(8, "big"),
            first,
            1,
            b"bootboot",
            ClockState.SYNCED,
            False,
            times,
            metrics,
        )
        return publish(topic_of(1, "t"), encode_pack(data))

    desk.write(wide(0, 4))
    stored = desk.write(wide(2, 6))
    batch = stored.batch
    assert batch.seq.tolist() == [4, 5, 6, 7]
    assert batch.count.tolist() == [1, 2, 1, 2]
    assert batch.value.tolist() == [400.0, 500.0, 501.0, 600.0, 700.0, 701.0]
    assert batch.metric.tolist() == [0, 0, 1, 0, 0, 1]
    assert np.all(batch.slot == 1)


def test_other_bytes_under_a_known_identity_are_rejected_and_kept_as_a_dead_letter(
    desk: Desk,
) -> None:
    desk.write(pack(0, [1.0, 2.0, 3.0]))
    clone = pack(1, [2.0, 30.0, 40.0])
    stored = desk.write(clone, pack(0, [1.0]))
    entry = desk.streams.find(1, STREAM)
    assert stored.rejected == [(entry, 2, 3, RejectCode.CONFLICT)]
    assert stored.conflicts == [Conflict(1, STREAM, 2, 3, 1)]
    assert (stored.batch.seq.tolist(), stored.duplicates) == ([3], 2)
    (letter,) = desk.buried()
    assert (letter["code"], letter["slot"]) == (RejectCode.CONFLICT, 1)
    assert bytes(str(letter["detail"]), "utf-8").startswith(b"rows 2 to 2 of stream 0102")
    assert desk.stored() == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 40.0)]


def test_a_conflict_within_one_batch_is_seen(desk: Desk) -> None:
    stored = desk.write(pack(0, [1.0, 2.0]), pack(0, [1.0, 9.0, 8.0]))
    assert stored.conflicts == [Conflict(1, STREAM, 1, 2, 1)]
    assert desk.stored() == [(0, 1.0), (1, 2.0), (2, 8.0)]


def test_forgotten_rows_beside_a_conflict_are_not_told_as_stored(desk: Desk) -> None:
    desk.write(pack(0, [1.0, 2.0, 3.0]))
    desk.streams._known[:] = 0
    again = desk.write(pack(0, [7.0, 8.0, 9.0]))  # nothing is known: it may be the same
    assert (again.conflicts, again.duplicates) == ([], 3)
    desk.write(pack(3, [4.0]))
    mixed = desk.write(pack(2, [9.0, 10.0]))
    assert mixed.conflicts == [Conflict(1, STREAM, 2, 4, 2)]


def test_a_conflict_leaves_no_settlement_behind(desk: Desk) -> None:
    desk.write(pack(0, [1.0]))
    end = desk.journal.end
    desk.write(pack(0, [2.0]))
    assert desk.journal.end == end
