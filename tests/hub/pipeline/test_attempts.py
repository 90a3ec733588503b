"""Deaths are counted, suspects are tried alone, poison is set aside; the process dies by being dropped."""

from pathlib import Path

from hub.pipeline.attempts import CAREFUL_MESSAGES, DEATHS, Attempts
from hub.pipeline.frames import Frames
from tests.hub.pipeline.frame_bench import Bench, publish, topic_of


def messages(bench: Bench, *payloads: bytes) -> Frames:
    return bench.frames(*(publish(topic_of(1, "t"), payload) for payload in payloads))


def split(attempts: Attempts, frames: Frames) -> list[tuple[list[bytes], int]]:
    return [
        ([part.payload_bytes(i) for i in range(part.count)], deaths)
        for part, deaths in attempts.parts(frames)
    ]


def die_in(folder: Path, frames: Frames) -> None:
    Attempts(folder).begin(frames)


def test_work_that_ends_well_leaves_no_trace(tmp_path: Path, bench: Bench) -> None:
    frames = messages(bench, b"a", b"b")
    for _ in range(5):
        attempts = Attempts(tmp_path)
        attempts.begin(frames)
        attempts.done()
        attempts.close()
    assert not Attempts(tmp_path).careful
    assert [part.count for part, _ in Attempts(tmp_path).parts(frames)] == [2]


def test_a_killer_is_found_among_many_and_set_aside_for_good(tmp_path: Path, bench: Bench) -> None:
    payloads = [b"%03d" % i for i in range(100)]
    killer = b"042"
    frames = messages(bench, *payloads)
    starts = 0
    survivors: list[bytes] = []
    while killer not in survivors:
        starts += 1
        assert starts < 20
        attempts = Attempts(tmp_path)
        survivors = []
        for part, deaths in attempts.parts(frames):
            inside = [part.payload_bytes(i) for i in range(part.count)]
            attempts.begin(part)
            if killer in inside and deaths < DEATHS:
                break
            assert (deaths >= DEATHS) == (inside == [killer])
            attempts.done()
            survivors += inside
    assert survivors == payloads  # in order, none left out
    assert starts == 2 * DEATHS + 2
    calm = Attempts(tmp_path)
    calm.survived()
    assert split(Attempts(tmp_path), messages(bench, b"x", killer, b"yyy")) == [
        ([b"x"], 0),
        ([killer], DEATHS),
        ([b"yyy"], 0),
    ]


def test_a_careful_worker_takes_few_messages_at_once(tmp_path: Path, bench: Bench) -> None:
    frames = messages(bench, *(b"%03d" % i for i in range(3 * CAREFUL_MESSAGES)))
    for _ in range(DEATHS):
        die_in(tmp_path, frames)
    attempts = Attempts(tmp_path)
    assert attempts.careful
    assert [len(part) for part, _ in split(attempts, frames)] == [CAREFUL_MESSAGES] * 3
    attempts.survived()
    assert not Attempts(tmp_path).careful


def test_a_block_is_passed_over_when_it_killed_too_often(tmp_path: Path) -> None:
    for _ in range(DEATHS):
        attempts = Attempts(tmp_path)
        assert attempts.block(4_096)
    attempts = Attempts(tmp_path)
    assert not attempts.block(4_096)
    assert attempts.block(8_192)
    attempts.done()
    assert not Attempts(tmp_path).block(4_096)  # also at the starts after


def test_a_damaged_ledger_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "attempts.json").write_bytes(b'{"deaths": ')
    assert not Attempts(tmp_path).careful
