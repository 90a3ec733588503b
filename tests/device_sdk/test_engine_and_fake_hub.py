"""The device without threads, against a hub that keeps its promises over a link that does not."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_sdk.enrol import HubKeys
from device_sdk.errors import EnrolmentError, SpoolFullError
from device_sdk.wire import cose
from device_sdk.wire.codes import ClockState, RejectCode, ReplyStatus, Severity
from device_sdk.wire.keys import sign_statement
from device_sdk.wire.messages import Command, Event, Get, Notice, Presence, Reply, Reported
from device_sdk.wire.pack import pack_hash
from device_sdk.wire.receipt import Receipt, StreamReceipt
from device_sdk.wire.state import SigningKey
from tests.device_sdk.device_bench import START, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_rows_arrive_once_and_leave_the_spool_with_their_receipt(bench: Bench) -> None:
    bench.connect()
    bench.measure(1.0, 2.0, 3.0)
    assert bench.engine.pending == 3
    bench.settle()
    assert bench.hub.values() == [1.0, 2.0, 3.0]
    assert bench.engine.pending == 0
    assert bench.hub.repeats == 0


def test_without_a_receipt_nothing_is_forgotten(bench: Bench) -> None:
    bench.connect()
    bench.measure(1.0)
    for _ in range(5):
        bench.step()
    assert bench.hub.values() == [1.0]
    assert bench.engine.pending == 1


def test_birth_and_get_are_sent_on_every_connect(bench: Bench) -> None:
    for _ in range(2):
        bench.connect()
        birth = Presence.decode(bench.hub.last("presence")).birth
        assert birth is not None
        assert birth.stream == bench.engine.spool.stream
        assert birth.capabilities == ("identify",)
        assert Get.decode(bench.hub.last("get")) == Get(("state",), 0)
        bench.disconnect()
        bench.hub.heard.clear()


def test_rows_measured_offline_go_out_on_connecting_and_after_a_restart(bench: Bench) -> None:
    bench.measure(1.0, 2.0)
    bench.engine.sync()
    bench.restart()
    bench.measure(3.0)
    bench.connect()
    bench.settle()
    assert bench.hub.values() == [1.0, 2.0, 3.0]
    assert sorted(seq for _, seq in bench.hub.rows) == [0, 0, 1]


def test_a_lost_pack_is_sent_again_after_five_cadences_without_a_receipt(bench: Bench) -> None:
    bench.connect()
    bench.hub.lose = lambda: True
    bench.measure(1.0)
    bench.step()
    bench.hub.lose = lambda: False
    for _ in range(9):
        bench.step()
    assert bench.hub.values() == []
    for _ in range(8):
        bench.step()
    assert bench.hub.values() == [1.0]


def test_a_gap_in_a_receipt_is_filled_at_once_and_only_with_what_is_missing(bench: Bench) -> None:
    bench.connect()
    for value in range(5):
        bench.hub.lose = (lambda: True) if value == 2 else (lambda: False)
        bench.measure(float(value))
        bench.step()
    bench.hub.lose = lambda: False
    bench.deliver(bench.hub.receipt())
    assert bench.hub.values() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert bench.hub.repeats == 0


def test_no_more_than_the_window_is_without_receipt(bench: Bench) -> None:
    bench.hub.window = 2_500
    bench.connect()
    bench.deliver(bench.hub.receipt())
    rows = [(START + i, {"temp_c": float(i)}) for i in range(10_000)]
    assert bench.engine.record(rows, historical=True) == 10_000
    bench.step()
    assert len(bench.hub.rows) == 2_000
    bench.settle()
    assert bench.hub.values() == [float(i) for i in range(10_000)]
    assert bench.hub.repeats == 0
    assert all(pack.historical for pack in bench.hub.packs)


def test_a_pack_larger_than_the_window_still_goes(bench: Bench) -> None:
    bench.hub.window = 10
    bench.connect()
    bench.deliver(bench.hub.receipt())
    bench.engine.record([(START + i, {"temp_c": 1.0}) for i in range(2_500)], historical=True)
    bench.settle()
    assert len(bench.hub.rows) == 2_500


def test_reconnecting_resends_what_has_no_receipt(bench: Bench) -> None:
    bench.connect()
    bench.hub.lose = lambda: True
    bench.measure(1.0)
    bench.step()
    bench.disconnect()
    bench.hub.lose = lambda: False
    bench.connect()
    assert bench.hub.values() == [1.0]


def test_retry_after_pauses_and_then_sends_again(bench: Bench) -> None:
    bench.connect()
    bench.deliver(bench.hub.receipt(retry_after_ms=3000))
    bench.measure(1.0)
    for _ in range(5):
        bench.step()
    assert bench.hub.values() == []
    bench.disconnect()
    bench.connect()  # another connection is no reason to hurry
    bench.step()
    assert bench.hub.values() == []
    bench.settle()
    assert bench.hub.values() == [1.0]


def test_rejected_rows_are_settled_and_counted(bench: Bench) -> None:
    bench.connect()
    bench.hub.refuse = {1: RejectCode.UNKNOWN_METRIC}
    bench.measure(1.0, 2.0, 3.0)
    bench.settle()
    assert bench.hub.values() == [1.0, 3.0]
    assert bench.engine.pending == 0
    assert bench.engine.counters().rejected == {RejectCode.UNKNOWN_METRIC: 1}


def test_a_new_incarnation_gets_all_that_is_still_held(bench: Bench) -> None:
    bench.connect()
    bench.deliver(bench.hub.receipt())
    bench.measure(1.0)
    bench.step()
    bench.hub.rows.clear()
    bench.hub.incarnation = b"hub-two."
    bench.deliver(bench.hub.receipt())
    assert bench.hub.values() == [1.0]
    bench.settle()
    assert bench.engine.pending == 0


def test_a_restored_hub_that_lost_settled_rows_does_not_stop_the_device(bench: Bench) -> None:
    bench.hub.window = 1_500
    bench.connect()
    bench.engine.record([(START + i, {"temp_c": float(i)}) for i in range(5_000)], historical=True)
    bench.settle()
    stream = bench.engine.spool.stream
    bench.hub.rows = {key: row for key, row in bench.hub.rows.items() if key[1] < 1_000}
    bench.hub.incarnation = b"hub-two."
    for value in (1e6, 2e6):
        bench.measure(value)
        bench.settle()
        assert value in bench.hub.values()
        assert bench.engine.pending == 0
    assert bench.engine.spool.stream == stream
    assert bench.hub.lost == {(stream, seq) for seq in range(1_000, 5_000)}


def test_a_rolled_back_spool_begins_a_new_stream_and_loses_nothing(bench: Bench) -> None:
    bench.engine.sync()
    bench.engine.spool.close()
    backup = (bench.folder / "spool.db").read_bytes()
    bench.open()
    bench.connect()
    bench.measure(1.0, 2.0, 3.0)
    bench.settle()
    stream = bench.engine.spool.stream
    bench.disconnect()
    bench.engine.spool.close()
    (bench.folder / "restored.db").write_bytes(backup)
    bench.open("restored.db")
    assert bench.engine.spool.stream != stream
    bench.measure(4.0)
    bench.engine.sync()
    bench.hub.online = True
    bench.engine.connected = True
    bench.deliver(bench.hub.receipt())
    bench.engine.on_connected()
    bench.settle()
    assert bench.hub.values() == [1.0, 2.0, 3.0, 4.0]
    assert bench.hub.conflicts == []


def test_a_stream_that_somebody_else_writes_to_is_left_with_all_that_is_held(bench: Bench) -> None:
    bench.connect()
    bench.hub.lose = lambda: True
    bench.measure(1.0, 2.0)
    bench.step()
    bench.hub.lose = lambda: False
    stream = bench.engine.spool.stream
    told = Receipt(b"incarn-0", START, (StreamReceipt(stream, 3),), 1_000, 1_000)
    bench.deliver(told)
    bench.settle()
    assert bench.engine.spool.stream != stream
    assert bench.hub.values() == [1.0, 2.0]
    assert bench.engine.counters().streams_left == 1


def test_a_stream_to_be_abandoned_is_left_with_what_is_unsettled(bench: Bench) -> None:
    bench.connect()
    bench.hub.lose = lambda: True
    bench.measure(1.0, 2.0)
    bench.step()
    stream = bench.engine.spool.stream
    bench.hub.lose = lambda: False
    bench.deliver(bench.hub.receipt(abandon=(stream,)))
    bench.settle()
    assert bench.engine.spool.stream != stream
    assert bench.hub.values() == [1.0, 2.0]
    assert {s for s, _ in bench.hub.rows} == {bench.engine.spool.stream}


def test_rows_in_conflict_on_an_abandoned_stream_travel_under_the_new_one(bench: Bench) -> None:
    bench.connect()
    stream = bench.engine.spool.stream
    bench.hub.refuse = {0: RejectCode.CONFLICT}
    bench.measure(1.0, 2.0)
    bench.step()
    bench.hub.refuse = {}
    bench.deliver(bench.hub.receipt(abandon=(stream,)))
    bench.settle()
    assert bench.hub.values() == [1.0, 2.0]
    assert bench.engine.pending == 0


def test_the_oldest_are_dropped_when_full_and_said_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=60_000, drop=True)
    bench.hub.window = 2_000
    for block in range(20):
        rows = [(START + i, {"temp_c": float(block * 1000 + i) + 0.1}) for i in range(1_000)]
        bench.engine.record(rows, historical=True)
    dropped = bench.engine.counters().rows_dropped
    assert dropped > 0
    assert bench.engine.spool.bytes <= 60_000 + 13_000
    bench.connect()
    bench.settle()
    assert bench.engine.pending == 0
    assert len(bench.hub.rows) == 20_000 - dropped
    assert bench.hub.repeats == 0
    lost = [Event.decode(p) for c, p in bench.hub.heard if c == "event"]
    assert {event.name for event in lost} == {"rows_lost"}
    told = [(e.arguments["start"], e.arguments["end"]) for e in lost]
    assert sum(end - start for start, end in told) == dropped
    assert {seq for _, seq in bench.hub.lost} == set(range(dropped))
    assert bench.engine.counters().streams_left == 0


def test_a_full_spool_refuses_and_takes_again_after_receipts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=20_000)
    rows = [(START + i, {"temp_c": float(i) + 0.1}) for i in range(1_000)]
    bench.engine.record(rows, historical=True)
    bench.engine.record(rows, historical=True)
    with pytest.raises(SpoolFullError, match="without receipt") as caught:
        bench.engine.record(rows, historical=True)
    assert caught.value.recorded == 0
    with pytest.raises(SpoolFullError):
        bench.measure(1.0)
    bench.connect()
    bench.settle()
    bench.measure(5.0)
    bench.settle()
    assert 5.0 in bench.hub.values()


def test_a_pack_is_sealed_when_owner_clock_or_history_changes(bench: Bench) -> None:
    bench.engine.clock_state = ClockState.UNSET
    bench.measure(0.0)
    bench.engine.clock_state = ClockState.SYNCED
    bench.connect()
    bench.measure(1.0)
    bench.engine.on_message("state", bench.state(1, epoch=7))
    bench.measure(2.0)
    bench.engine.clock_state = ClockState.UNSET  # by now it has heard what time it is
    bench.measure(3.0)
    bench.settle()
    seen = [(pack.owner_epoch, pack.clock) for pack in bench.hub.packs]
    assert seen == [
        (0, ClockState.UNSET),
        (0, ClockState.SYNCED),
        (7, ClockState.SYNCED),
        (7, ClockState.FREE_RUNNING),
    ]


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({}, None),
        ({"Temp": 1.0}, None),
        ({"t": 1.0}, None),
        ({"temp_c": float("nan")}, None),
        ({"temp_c": float("inf")}, None),
        ({"temp_c": "warm"}, None),
        ({"temp_c": None}, None),
        ({"temp_c": 10**400}, None),
        ({"temp_c": 1.0}, 1 << 63),
    ],
)
def test_what_the_wire_cannot_carry_is_refused_at_once(
    bench: Bench, values: dict[str, float], at: int | None
) -> None:
    with pytest.raises(ValueError, match=r"metric|value|time"):
        bench.engine.measure(values, at)
    assert bench.engine.pending == 0


def test_rows_with_different_metrics_share_a_pack(bench: Bench) -> None:
    bench.connect()
    bench.engine.measure({"temp_c": 1.0}, 5)
    bench.engine.measure({"power_w": 2.0, "temp_c": 3.0}, 6)
    bench.engine.measure({"power_w": 4}, 7)
    bench.settle()
    assert len(bench.hub.packs) == 1
    stored = [bench.hub.rows[bench.engine.spool.stream, seq] for seq in range(3)]
    assert stored == [
        (5, {"temp_c": 1.0}),
        (6, {"power_w": 2.0, "temp_c": 3.0}),
        (7, {"power_w": 4.0}),
    ]


def test_many_metrics_are_cut_into_packs_that_fit(bench: Bench) -> None:
    bench.connect()
    wide = {f"metric_{i}": i + 0.1 for i in range(1_000)}
    bench.engine.record([(START + i, wide) for i in range(100)], historical=True)
    bench.settle()
    assert len(bench.hub.rows) == 100
    assert len(bench.hub.packs) > 1


def test_a_configuration_is_applied_once_and_reported(bench: Bench) -> None:
    applied: list[Mapping[str, object]] = []

    def apply(configuration: Mapping[str, object]) -> dict[str, str]:
        applied.append(dict(configuration))
        return {"mode": "unknown mode"} if configuration.get("mode") == "x" else {}

    bench.engine.control.set_configuration_handler(apply)
    bench.connect()
    bench.engine.on_message("state", bench.state(1, interval=5))
    bench.engine.on_message("state", bench.state(2, interval=5))
    assert applied == [{"interval": 5}]
    assert Reported.decode(bench.hub.last("reported")) == Reported(2, {"interval": 5}, 2, {})
    bench.engine.on_message("state", bench.state(3, interval=6, mode="x"))
    reported = Reported.decode(bench.hub.last("reported"))
    assert reported == Reported(3, {"interval": 6}, 3, {"mode": "unknown mode"})


def test_a_command_is_done_once_and_its_reply_repeated(bench: Bench) -> None:
    done: list[object] = []

    def identify(arguments: Mapping[str, object]) -> dict[str, int]:
        done.append(arguments)
        return {"ok": 1}

    bench.engine.control.commands["identify"] = identify
    bench.connect()
    command = Command(b"c" * 16, "identify", {"seconds": 3}, START * 2).encode()
    bench.engine.on_message("command", command)
    bench.engine.on_message("command", command)
    assert done == [{"seconds": 3}]
    replies = [Reply.decode(p) for channel, p in bench.hub.heard if channel == "reply"]
    assert replies == [Reply(b"c" * 16, ReplyStatus.DONE, {"ok": 1})] * 2


def test_a_command_is_not_done_again_after_a_restart(bench: Bench) -> None:
    bench.connect()
    command = Command(b"c" * 16, "identify", {}, START * 2).encode()
    bench.engine.control.commands["identify"] = lambda _: None
    bench.engine.on_message("command", command)
    bench.restart()
    bench.connect()
    bench.engine.control.commands["identify"] = lambda _: pytest.fail("done twice")
    bench.hub.heard.clear()
    bench.engine.on_message("command", command)
    assert "reply" not in {channel for channel, _ in bench.hub.heard}


def test_unknown_late_and_failing_commands_are_answered(bench: Bench) -> None:
    def fail(_: Mapping[str, object]) -> None:
        raise RuntimeError("stuck valve")

    bench.engine.control.commands["identify"] = fail
    bench.connect()
    bench.engine.on_message("command", Command(b"1" * 16, "dance", {}, START * 2).encode())
    bench.engine.on_message("command", Command(b"2" * 16, "identify", {}, START).encode())
    bench.engine.on_message("command", Command(b"3" * 16, "identify", {}, START * 2).encode())
    replies = [Reply.decode(p) for channel, p in bench.hub.heard if channel == "reply"]
    assert [(r.status, r.message) for r in replies] == [
        (ReplyStatus.REFUSED, "unknown command"),
        (ReplyStatus.REFUSED, "expired"),
        (ReplyStatus.FAILED, "RuntimeError: stuck valve"),
    ]


def test_a_notice_is_handed_on_once(bench: Bench) -> None:
    seen: list[Notice] = []
    bench.engine.control.notice_handler = seen.append
    notice = Notice(b"n" * 16, "alert.opened", {"metric": "temp_c"}, Severity.WARNING, START)
    bench.engine.on_message("notice", notice.encode())
    bench.engine.on_message("notice", notice.encode())
    assert seen == [notice]


def test_garbage_from_the_hub_is_counted_and_changes_nothing(bench: Bench) -> None:
    bench.connect()
    for channel in ("receipt", "state", "command", "notice"):
        bench.engine.on_message(channel, b"\xff\x00garbage")
    assert bench.engine.counters().messages_refused == 4
    bench.engine.on_message("receipt-of-the-future", b"")
    bench.measure(1.0)
    bench.settle()
    assert bench.hub.values() == [1.0]


def test_a_moved_broker_makes_the_link_connect_anew(bench: Bench) -> None:
    bench.engine.on_message("state", bench.state(1))
    bench.engine.on_message("state", bench.state(2))
    assert bench.hub.reloads == 0
    assert bench.engine.trust.decide("boost", 0).allowed


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10**6), script=st.lists(st.sampled_from("mmmrcdxsg"), max_size=40))
def test_whatever_happens_each_synced_row_is_stored_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, script: list[str]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("device"), seed)
    chance = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
    bench.hub.lose = lambda: chance.random() < 0.4
    bench.hub.window = 50
    value = 0.0
    for act in script:
        if act == "m":
            bench.measure(*(value + i for i in range(7)))
            value += 7
        elif act == "s":
            bench.step()
        elif act == "r" and bench.hub.online:
            bench.deliver(bench.hub.receipt())
        elif act == "c" and not bench.hub.online:
            bench.connect()
        elif act == "d" and bench.hub.online:
            bench.disconnect()
        elif act == "g":
            bench.step(20.0)
        elif act == "x":
            bench.engine.sync()
            bench.restart()
    bench.hub.lose = lambda: False
    bench.disconnect()
    bench.connect()
    bench.settle(200)
    assert bench.hub.values() == [float(i) for i in range(int(value))]
    assert bench.engine.pending == 0
    assert bench.hub.conflicts == []
    bench.engine.spool.close()


def test_the_same_rows_make_the_same_bytes_also_after_a_restart(bench: Bench) -> None:
    bench.connect()
    bench.measure(1.0)
    bench.step()
    bench.disconnect()
    bench.restart()
    bench.connect()
    hashes = [pack_hash(data) for data in bench.hub.raw]
    assert len(hashes) == 2
    assert len(set(hashes)) == 1


def test_a_state_by_an_unknown_key_makes_the_device_ask_how_it_came_about(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    former, bench.signer = bench.signer, Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    public = bench.signer.public_key()
    announced = (SigningKey(cose.key_id(public), public.public_bytes_raw()),)
    answers: list[HubKeys | None] = [
        HubKeys((), ()),
        None,
        HubKeys(announced, (sign_statement(former, public, START),)),
    ]
    asked: list[float] = []

    def hub_keys() -> HubKeys:
        asked.append(bench.time.now)
        if (answer := answers[len(asked) - 1]) is None:
            raise EnrolmentError("not reached")
        return answer

    bench.engine.upkeep._hub_keys = hub_keys
    bench.connect()
    bench.engine.on_message("state", bench.state(1))
    assert bench.engine.trust.state_version == 0
    bench.engine.on_message("state", bench.state(1))
    bench.hub.heard.clear()
    for _ in range(400):
        bench.step(1.0)
    assert len(asked) == 3
    assert asked[0] - 1000 <= 31
    assert asked[2] - asked[1] > asked[1] - asked[0] >= 60
    assert [channel for channel, _ in bench.hub.heard] == ["get"]
    bench.engine.on_message("state", bench.state(1))
    assert bench.engine.trust.state_version == 1
    assert bench.engine.counters().messages_refused == 2
