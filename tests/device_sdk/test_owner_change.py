"""What happens on a device when its owner changes."""

from pathlib import Path

import pytest

from device_sdk.wire.codes import ReplyStatus, Severity
from device_sdk.wire.messages import Command, Notice, Reply, Reported
from tests.device_sdk.device_bench import START, Bench

LATER = START * 2


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.engine.on_message("state", bench.state(1, epoch=1, target_c=21))
    return bench


def give(bench: Bench, key: bytes, epoch: int | None) -> Reply | None:
    """Send a command of an owner epoch; return the answer."""
    bench.engine.control.commands["identify"] = lambda _: {"done": True}
    bench.hub.heard.clear()
    command = Command(key * 16, "identify", {}, LATER, epoch)
    bench.engine.on_message("command", command.encode())
    said = [payload for channel, payload in bench.hub.heard if channel == "reply"]
    return Reply.decode(said[0]) if said else None


def test_a_new_owner_is_told_of_before_the_configuration_of_the_former_one_is_dropped(
    bench: Bench,
) -> None:
    heard: list[object] = []
    control = bench.engine.control
    control.set_owner_handler(heard.append)
    control.set_configuration_handler(lambda settings: heard.append(dict(settings)))
    bench.connect()
    bench.engine.on_message("state", bench.state(2, epoch=2))
    assert heard == [1, {"target_c": 21}, 2, {}]
    assert Reported.decode(bench.hub.last("reported")).configuration == {}
    bench.engine.on_message("state", bench.state(3, epoch=2))
    assert heard == [1, {"target_c": 21}, 2, {}]
    # The same settings again are settings of the next owner: they are applied anew.
    bench.engine.on_message("state", bench.state(4, epoch=3))
    assert heard[4:] == [3, {}]


def test_rows_of_the_former_owner_are_sealed_and_sent_under_the_old_epoch(bench: Bench) -> None:
    bench.measure(1.0, 2.0)
    bench.engine.on_message("state", bench.state(2, epoch=2))
    assert bench.engine.spool.rows == 2
    bench.measure(3.0)
    bench.restart()
    bench.connect()
    bench.settle()
    epochs = {row: pack.owner_epoch for pack in bench.hub.packs for row in pack.metrics["temp_c"]}
    assert epochs == {1.0: 1, 2.0: 1}
    bench.measure(4.0)
    bench.settle()
    assert bench.hub.packs[-1].owner_epoch == 2


def test_a_change_that_nobody_listened_to_is_told_after_the_restart(bench: Bench) -> None:
    bench.engine.control.set_owner_handler(lambda _: None)
    bench.restart()
    bench.engine.on_message("state", bench.state(2, epoch=2))
    bench.restart()
    heard: list[int] = []
    bench.engine.control.set_owner_handler(heard.append)
    assert heard == [2]
    bench.restart()
    bench.engine.control.set_owner_handler(heard.append)
    assert heard == [2]


def test_a_handler_that_fails_is_called_again(bench: Bench) -> None:
    calls: list[int] = []

    def forget(epoch: int) -> None:
        calls.append(epoch)
        if len(calls) == 1:
            raise OSError("disk full")

    bench.engine.control.set_owner_handler(forget)
    assert bench.engine.trust.owner_epoch == 1
    bench.engine.on_message("state", bench.state(2, epoch=1, a=1))
    bench.engine.on_message("state", bench.state(3, epoch=1, a=2))
    assert calls == [1, 1]


def test_a_command_of_the_former_owner_is_refused(bench: Bench) -> None:
    bench.connect()
    bench.engine.on_message("state", bench.state(2, epoch=2))
    former = give(bench, b"a", 1)
    assert former is not None
    assert (former.status, former.message) == (ReplyStatus.REFUSED, "other owner")
    nobody = give(bench, b"b", 0)
    assert nobody is not None
    assert nobody.status is ReplyStatus.REFUSED
    for key, epoch in ((b"c", 2), (b"d", None)):
        present = give(bench, key, epoch)
        assert present is not None
        assert present.status is ReplyStatus.DONE


def test_a_command_that_overtakes_the_state_of_its_owner_waits_for_it(bench: Bench) -> None:
    bench.connect()
    assert give(bench, b"a", 2) is None
    assert [channel for channel, _ in bench.hub.heard] == ["get"]
    bench.engine.on_message("state", bench.state(2, epoch=2))
    reply = Reply.decode(bench.hub.last("reply"))
    assert (reply.id, reply.status) == (b"a" * 16, ReplyStatus.DONE)
    bench.hub.heard.clear()
    bench.engine.on_message("state", bench.state(3, epoch=2))
    assert "reply" not in [channel for channel, _ in bench.hub.heard]


def test_notices_are_for_the_owner_they_were_written_to(bench: Bench) -> None:
    seen: list[str] = []
    bench.connect()
    bench.engine.control.notice_handler = lambda notice: seen.append(notice.code)
    for code, epoch in (("old", 0), ("now", 1), ("next", 2), ("any", None)):
        notice = Notice(code.encode().ljust(16), code, {}, Severity.INFO, START, epoch)
        bench.engine.on_message("notice", notice.encode())
    assert seen == ["now", "any"]
    bench.engine.on_message("state", bench.state(2, epoch=2))
    assert seen == ["now", "any", "next"]
