"""A writer that lost its place, and does not know it, changes nothing that anybody reads."""

from pathlib import Path

import numpy as np
import pytest

from hub.errors import ConflictError
from hub.pipeline.checkpoint import load_checkpoint, save_checkpoint
from hub.ports.journal.reader import JournalReader, OvertakenError
from hub.ports.journal.segments import check_contiguous, list_segments
from hub.ports.journal.writer import JournalWriter, Rotation

_LARGE, _SMALL = Rotation(), Rotation(size=256)


def _open(folder: Path, token: int | None, rotation: Rotation = _LARGE) -> JournalWriter:
    return JournalWriter.open(folder, now_ns=1, token=token, rotation=rotation)


def _put(writer: JournalWriter, *texts: str) -> None:
    for text in texts:
        writer.append(1, [text.encode()], 1)
    writer.sync()


def _texts(folder: Path, offset: int = 0) -> list[str]:
    return [bytes(block.payload).decode() for block in JournalReader(folder, offset).blocks()]


def test_what_a_deposed_writer_appends_does_not_exist(tmp_path: Path) -> None:
    old = _open(tmp_path, 1)
    _put(old, "a", "b")
    new = _open(tmp_path, 2)
    _put(old, "ghost")
    _put(new, "c")
    _put(old, "another ghost", "and one more")
    _put(new, "d")
    assert _texts(tmp_path) == ["a", "b", "c", "d"]
    check_contiguous(list_segments(tmp_path))


def test_a_deposed_writer_may_seal_and_go_on_in_void_segments(tmp_path: Path) -> None:
    old = _open(tmp_path, 1, _SMALL)
    _put(old, "a", "b")
    new = _open(tmp_path, 2, _SMALL)
    _put(old, *("ghost" * 10 for _ in range(20)))
    _put(new, *(f"{n:03}" for n in range(30)))
    _put(old, *("ghost" * 10 for _ in range(20)))
    assert _texts(tmp_path) == ["a", "b", *(f"{n:03}" for n in range(30))]
    old.close()
    new.close()
    third = _open(tmp_path, 3)
    _put(third, "end")
    assert _texts(tmp_path) == ["a", "b", *(f"{n:03}" for n in range(30)), "end"]
    # What does not count was deleted on the way.
    assert set(tmp_path.glob("*.hpj")) == {s.path for s in list_segments(tmp_path)}


def test_a_successor_begins_where_a_torn_block_of_a_live_writer_stands(tmp_path: Path) -> None:
    old = _open(tmp_path, 1)
    _put(old, "a")
    whole = old.end
    _put(old, "torn")
    (segment,) = list_segments(tmp_path)
    torn = segment.path.read_bytes()[:-8]
    segment.path.write_bytes(torn)  # as if the writer were stopped in the middle
    new = _open(tmp_path, 2)
    assert new.end == whole
    assert segment.path.read_bytes() == torn  # a live writer may still append behind that
    _put(new, "b")
    assert _texts(tmp_path) == ["a", "b"]


def test_an_empty_segment_is_taken_over(tmp_path: Path) -> None:
    old = _open(tmp_path, 1)
    new = _open(tmp_path, 2)
    _put(old, "ghost")
    _put(new, "a")
    assert _texts(tmp_path) == ["a"]
    assert [segment.token for segment in list_segments(tmp_path)] == [2]


def test_a_lower_token_does_not_open_and_the_same_one_goes_on(tmp_path: Path) -> None:
    _put(_open(tmp_path, 5), "a")
    with pytest.raises(ConflictError, match="token 4 to 5"):
        _open(tmp_path, 4)
    _put(_open(tmp_path, 5), "b")
    assert _texts(tmp_path) == ["a", "b"]
    assert len(list_segments(tmp_path)) == 1


def test_a_writer_without_token_goes_on_and_locks(tmp_path: Path) -> None:
    leased = _open(tmp_path, 3)
    _put(leased, "a")
    leased.close()
    alone = _open(tmp_path, None, _SMALL)
    with pytest.raises(ConflictError, match="open for writing elsewhere"):
        _open(tmp_path, None)
    _put(alone, *(f"{n:03}" for n in range(20)))
    assert _texts(tmp_path) == ["a", *(f"{n:03}" for n in range(20))]
    assert {segment.token for segment in list_segments(tmp_path)} == {3}


def test_who_read_ahead_of_the_end_is_told(tmp_path: Path) -> None:
    old = _open(tmp_path, 1)
    _put(old, "a")
    reader = JournalReader(tmp_path)
    assert len(list(reader.blocks())) == 1
    new = _open(tmp_path, 2)
    _put(new, "b")
    assert len(list(reader.blocks())) == 1  # it had not read beyond
    behind = JournalReader(tmp_path, new.end)
    assert list(behind.blocks()) == []

    third = tmp_path / "third"
    ahead = _open(third, 1)
    _put(ahead, "a")
    taken = ahead.end
    _put(ahead, "ghost")
    reader = JournalReader(third)
    assert len(list(reader.blocks())) == 2
    ghost = list_segments(third)[0].path
    ghost.write_bytes(ghost.read_bytes()[: 64 + taken])
    _put(_open(third, 2), "b")
    ghost.write_bytes(ghost.read_bytes() + bytes(64))
    with pytest.raises(OvertakenError):
        list(reader.blocks())


def test_a_checkpoint_beyond_the_place_of_taking_over_does_not_count(tmp_path: Path) -> None:
    journal, states = tmp_path / "journal", tmp_path / "states"
    old = _open(journal, 1)
    _put(old, "a")
    save_checkpoint(states, old.synced, {"x": np.array([1])}, 1)
    taken = old.synced
    new = _open(journal, 2)
    _put(old, "ghost", "ghost")
    save_checkpoint(states, old.synced, {"x": np.array([666])}, 1)
    loaded = load_checkpoint(states, list_segments(journal))
    assert loaded is not None
    assert (loaded[0], loaded[1]["x"].tolist()) == (taken, [1])
    _put(new, "b")
    save_checkpoint(states, new.synced, {"x": np.array([2])}, 2)
    save_checkpoint(states, old.synced + 8, {"x": np.array([667])}, 1)
    loaded = load_checkpoint(states, list_segments(journal))
    assert loaded is not None
    assert (loaded[0], loaded[1]["x"].tolist()) == (new.synced, [2])
