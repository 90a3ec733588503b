"""The journal on disk: torn tails, damage, rotation, followers, locks and failing disks."""

import errno
import itertools
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import ConflictError, DiskFullError, StorageError
from hub.ports.journal.block import HEADER_SIZE, block_size, decode_header
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import SEGMENT_HEADER_SIZE, list_segments, prune
from hub.ports.journal.writer import JournalWriter, Rotation

NOW = 1_770_000_000_000_000_000


def payloads(folder: Path, offset: int = 0) -> list[bytes]:
    return [bytes(block.payload) for block in JournalReader(folder, offset).blocks()]


def only_segment(folder: Path) -> Path:
    (segment,) = list_segments(folder)
    return segment.path


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    with JournalWriter.open(tmp_path / "j", now_ns=NOW) as writer:
        offsets = [
            writer.append(1, [b"ab", b"", memoryview(b"cde")], NOW),
            writer.append(2, [], NOW + 1),
            writer.append(3, [b"12345678"], NOW + 2),
        ]
        assert writer.synced == 0
        assert writer.sync() == writer.synced == writer.end
    blocks = list(JournalReader(tmp_path / "j").blocks())
    assert [(b.kind, b.offset, b.received_ns, bytes(b.payload)) for b in blocks] == [
        (1, offsets[0], NOW, b"abcde"),
        (2, offsets[1], NOW + 1, b""),
        (3, offsets[2], NOW + 2, b"12345678"),
    ]
    assert [b.end for b in blocks] == [*offsets[1:], blocks[-1].end]
    assert offsets == [0, block_size(5), block_size(5) + block_size(0)]


def test_files_and_folder_are_private_from_birth(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with JournalWriter.open(tmp_path / "data" / "j", now_ns=NOW):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "data" / "j").stat().st_mode) == 0o700
    for path in (tmp_path / "data" / "j").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_torn_tail_is_cut_at_every_byte_of_the_last_block(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        writer.append(1, [b"first"], NOW)
        last = writer.append(1, [b"the last block"], NOW)
    whole = only_segment(folder).read_bytes()
    start = SEGMENT_HEADER_SIZE + last
    for size in range(start, len(whole)):
        only_segment(folder).write_bytes(whole[:size])
        assert payloads(folder) == [b"first"]  # a reader sees "not yet", before any repair
        with JournalWriter.open(folder, now_ns=NOW) as writer:
            assert writer.end == last
            assert writer.cut == size - start
            assert writer.append(1, [b"again"], NOW) == last
        assert payloads(folder) == [b"first", b"again"]


def test_zeros_and_garbage_behind_the_last_block_are_cut(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        writer.append(1, [b"kept"], NOW)
    whole = only_segment(folder).read_bytes()
    for tail in (bytes(4096), b"HB1" * 50, os.urandom(100)):
        only_segment(folder).write_bytes(whole + tail)
        with JournalWriter.open(folder, now_ns=NOW) as writer:
            assert writer.cut == len(tail)
        assert payloads(folder) == [b"kept"]


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, 8 * (block_size(11)) - 1))
def test_a_flipped_bit_in_synced_data_is_refused_with_file_and_offset(
    tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("bits") / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        writer.append(1, [b"intact"], NOW)
        damaged = writer.append(1, [b"hello world"], NOW)
        writer.sync()
        writer.append(1, [b"proves that the block before was synced"], NOW)
    path = only_segment(folder)
    data = bytearray(path.read_bytes())
    data[SEGMENT_HEADER_SIZE + damaged + bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(StorageError, match=path.name) as caught:
        JournalWriter.open(folder, now_ns=NOW)
    assert caught.value.context == {"file": path.name, "offset": damaged}
    reader = JournalReader(folder)
    with pytest.raises(StorageError, match=str(damaged)):
        list(reader.blocks())
    assert reader.offset == damaged
    assert path.read_bytes() == data  # refused, not repaired
    with pytest.raises(StorageError):  # and the lock was given back: no ConflictError
        JournalWriter.open(folder, now_ns=NOW)


def test_unsynced_blocks_that_a_power_failure_reordered_are_a_torn_tail(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        writer.append(1, [b"synced"], NOW)
        writer.sync()
        lost = writer.append(1, [b"lost by the disk"], NOW)
        writer.append(1, [b"kept by the disk, never promised"], NOW)
    path = only_segment(folder)
    data = bytearray(path.read_bytes())
    hole = SEGMENT_HEADER_SIZE + lost
    data[hole : hole + 40] = bytes(40)
    path.write_bytes(data)
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        assert writer.end == lost
    assert payloads(folder) == [b"synced"]


def test_damage_in_a_sealed_segment_is_refused_by_the_reader(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW, rotation=Rotation(size=1)) as writer:
        for text in (b"one", b"two", b"three"):
            writer.append(1, [text], NOW)
    first = list_segments(folder)[0].path
    data = bytearray(first.read_bytes())
    data[-1] ^= 1  # the very last byte: nothing behind it in this file proves anything
    first.write_bytes(data)
    with pytest.raises(StorageError, match=first.name):
        payloads(folder)
    first.write_bytes(data[:-8])
    with pytest.raises(StorageError, match="restore the missing segment"):
        JournalWriter.open(folder, now_ns=NOW)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW, rotation=Rotation(size=1)) as writer:
        for text in (b"one", b"two", b"three"):
            writer.append(1, [text], NOW)
    list_segments(folder)[1].path.unlink()
    with pytest.raises(StorageError, match="restore the missing segment"):
        JournalWriter.open(folder, now_ns=NOW)


def test_rotation_by_size_keeps_offsets_contiguous(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    size = 3 * block_size(10)
    with JournalWriter.open(folder, now_ns=NOW, rotation=Rotation(size=size)) as writer:
        offsets = [writer.append(1, [b"%010d" % i], NOW) for i in range(10)]
        assert writer.synced == 9 * block_size(10)  # sealing syncs
    assert offsets == [i * block_size(10) for i in range(10)]
    assert [s.first for s in list_segments(folder)] == [0, size, 2 * size, 3 * size]
    for start in range(10):
        assert payloads(folder, offsets[start]) == [b"%010d" % i for i in range(start, 10)]
    reader = JournalReader(folder)
    assert len(list(reader.blocks(until=offsets[4]))) == 4
    assert reader.offset == offsets[4]


def test_an_old_segment_is_sealed_even_without_traffic_but_never_an_empty_one(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "j"
    rotation = Rotation(age_ns=100)
    with JournalWriter.open(folder, now_ns=NOW, rotation=rotation) as writer:
        assert not writer.seal_if_due(NOW + 1000)
        writer.append(1, [b"x"], NOW)
        assert not writer.seal_if_due(NOW + 99)
        assert writer.seal_if_due(NOW + 100)
        assert not writer.seal_if_due(NOW + 1000)
    with JournalWriter.open(folder, now_ns=NOW + 2000, rotation=rotation) as writer:
        assert writer.append(1, [b"y"], NOW + 2000) == block_size(1)
    assert payloads(folder) == [b"x", b"y"]


def test_a_crash_while_a_segment_is_made_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        end = writer.append(1, [b"x"], NOW) + block_size(1)
    (folder / f"{end:020d}.hpj.tmp").write_bytes(b"half a hea")
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        assert writer.end == end
    assert not list(folder.glob("*.tmp"))


def test_a_bad_segment_header_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW):
        pass
    path = only_segment(folder)
    path.write_bytes(b"X" + path.read_bytes()[1:])
    with pytest.raises(StorageError, match="no valid segment header"):
        JournalWriter.open(folder, now_ns=NOW)


def test_a_reader_follows_a_live_writer(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    count = 3000
    done = threading.Event()

    def write() -> None:
        with JournalWriter.open(folder, now_ns=NOW, rotation=Rotation(size=20_000)) as writer:
            for i in range(count):
                writer.append(1, [b"%d:" % i, b"x" * (i % 97)], NOW)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    reader = JournalReader(folder)
    seen: list[bytes] = []
    while len(seen) < count:
        finished = done.is_set()
        seen += [bytes(block.payload) for block in reader.blocks()]
        if finished:
            break
        done.wait(0.001)
    thread.join()
    assert seen == [b"%d:" % i + b"x" * (i % 97) for i in range(count)]
    assert len(list_segments(folder)) > 5


def test_a_reader_waits_for_each_byte_of_a_growing_block(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        writer.append(1, [b"one"], NOW)
        start = SEGMENT_HEADER_SIZE + writer.end
        writer.append(1, [b"two, a little longer"], NOW)
    path = only_segment(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:start])
    reader = JournalReader(folder)
    assert [bytes(b.payload) for b in reader.blocks()] == [b"one"]
    with path.open("ab", buffering=0) as file:
        for byte in whole[start:]:
            assert list(reader.blocks()) == []
            file.write(bytes([byte]))
    assert [bytes(b.payload) for b in reader.blocks()] == [b"two, a little longer"]


def test_a_reader_may_come_before_the_journal(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path / "j")
    assert list(reader.blocks()) == []
    with JournalWriter.open(tmp_path / "j", now_ns=NOW) as writer:
        assert list(reader.blocks()) == []
        writer.append(1, [b"x"], NOW)
        assert len(list(reader.blocks())) == 1


def test_a_reader_says_so_when_its_offset_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with pytest.raises(StorageError, match="ends at offset 0"):
        list(JournalReader(folder, 8).blocks())
    with JournalWriter.open(folder, now_ns=NOW, first_offset=800) as writer:
        assert writer.append(1, [b"x"], NOW) == 800
    with pytest.raises(StorageError, match="was pruned"):
        list(JournalReader(folder, 0).blocks())
    with pytest.raises(StorageError, match="ends at offset"):
        list(JournalReader(folder, 8000).blocks())
    with pytest.raises(StorageError, match="no multiple of 8"):
        JournalWriter.open(tmp_path / "k", now_ns=NOW, first_offset=4)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with (
        JournalWriter.open(folder, now_ns=NOW) as writer,
        pytest.raises(ConflictError, match="stop that process"),
    ):
        JournalWriter.open(folder, now_ns=NOW)
    writer.close()  # twice is harmless
    with JournalWriter.open(folder, now_ns=NOW):
        pass


def test_a_failed_sync_ends_the_writer_for_good(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    calls = itertools.count()

    def fail_third(fd: int) -> None:
        if next(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(fd)

    writer = JournalWriter.open(folder, now_ns=NOW, sync_fd=fail_third)
    writer.append(1, [b"promised"], NOW)
    synced = writer.sync()
    writer.append(1, [b"not promised"], NOW)
    with pytest.raises(StorageError, match="Input/output error"):
        writer.sync()
    tried = next(calls)
    for attempt in (writer.sync, lambda: writer.append(1, [b"x"], NOW)):
        with pytest.raises(StorageError, match="end the process"):
            attempt()
    writer.close()
    assert next(calls) == tried + 1  # nobody tried to sync again
    assert writer.synced == synced
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        assert writer.end >= synced
    assert payloads(folder)[0] == b"promised"


def test_what_a_failed_sync_left_in_memory_is_written_once_more(tmp_path: Path) -> None:
    """A kernel forgets that pages are dirty when a sync fails; the next sync would succeed without writing them."""
    folder = tmp_path / "j"
    writer = JournalWriter.open(folder, now_ns=NOW)
    writer.append(1, [b"on disk"], NOW)
    known = writer.sync()
    writer.append(1, [b"appended at once"], NOW)
    writer.append(1, [b"in the kernel only"], NOW)
    written: list[tuple[int, int]] = []
    pwrite = os.pwrite

    def watch(fd: int, data: bytes, position: int) -> int:
        written.append((position, len(data)))
        return pwrite(fd, data, position)

    before = only_segment(folder).read_bytes()
    os.close(writer._lock_fd)  # as the end of the process does
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", watch)
        JournalWriter.open(folder, now_ns=NOW).close()
    assert written == [(SEGMENT_HEADER_SIZE + known, writer.end - known)]
    assert only_segment(folder).read_bytes() == before


@pytest.fixture
def full_disk() -> Iterator[int]:
    """Let files grow to 4,096 bytes only; the kernel then refuses as on a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_full_disk_appends_nothing_and_the_writer_stays_usable(
    tmp_path: Path, full_disk: int
) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        writer.append(1, [b"fits"], NOW)
        end = writer.end
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (full_disk, hard))
        with pytest.raises(DiskFullError, match="Check free space"):
            writer.append(1, [b"x" * 3000, b"y" * 3000], NOW)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert writer.end == end
        assert only_segment(folder).stat().st_size == SEGMENT_HEADER_SIZE + end
        assert writer.append(1, [b"after"], NOW) == end
    assert payloads(folder) == [b"fits", b"after"]


def test_pruning_removes_whole_segments_below_an_offset_and_never_the_last(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "j"
    with JournalWriter.open(folder, now_ns=NOW, rotation=Rotation(size=1)) as writer:
        offsets = [writer.append(1, [b"%d" % i], NOW) for i in range(5)]
        assert prune(folder, offsets[2] + 1) == [
            folder / f"{offsets[0]:020d}.hpj",
            folder / f"{offsets[1]:020d}.hpj",
        ]
        assert payloads(folder, offsets[2]) == [b"2", b"3", b"4"]
        assert len(prune(folder, 1 << 60)) == 2
        assert payloads(folder, offsets[4]) == [b"4"]
    with JournalWriter.open(folder, now_ns=NOW) as writer:
        assert writer.end == offsets[4] + block_size(1)


def test_a_payload_over_the_limit_is_refused(tmp_path: Path) -> None:
    with JournalWriter.open(tmp_path / "j", now_ns=NOW) as writer:
        part = memoryview(bytes(1 << 26))
        with pytest.raises(StorageError, match="smaller batches"):
            writer.append(1, [part, part, part, part, b"x"], NOW)
        assert writer.end == 0


def test_header_layout_is_what_the_architecture_page_says(tmp_path: Path) -> None:
    with JournalWriter.open(tmp_path / "j", now_ns=NOW) as writer:
        writer.append(1, [b"a"], NOW)
        writer.append(2, [b"bc"], NOW + 5)
    data = only_segment(tmp_path / "j").read_bytes()
    assert data[:8] == b"HPJSEG1\0"
    second = data[SEGMENT_HEADER_SIZE + 40 :]
    assert (second[:3], second[3]) == (b"HB1", 2)
    assert int.from_bytes(second[4:8], "little") == 2
    assert int.from_bytes(second[8:12], "little") == 40  # the block before is not synced
    assert int.from_bytes(second[16:24], "little") == 40
    assert int.from_bytes(second[24:32], "little") == NOW + 5
    assert second[HEADER_SIZE:] == b"bc" + bytes(6)
    header = decode_header(second)
    assert header is not None
    assert (header.kind, header.length, header.offset, header.end) == (2, 2, 40, 80)
