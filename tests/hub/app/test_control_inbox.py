"""Control messages: decoded, handed on, or dropped and counted."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sdk.wire import topics
from device_sdk.wire.cbor import MAX_CONTROL_BYTES
from device_sdk.wire.codes import ReplyStatus
from device_sdk.wire.messages import Event, Get, Presence, Reply, Reported
from hub.app.control_link import Frame, Inbox
from hub.metrics import Metrics

DEVICE = "abcdefgh01234567"
OTHER = "zzzzzzzz01234567"
AT = 1_790_000_000_000_000_000

Message = Presence | Event | Reported | Reply | Get


class Recorder:
    """Keeps what it is handed; fails on events called `fail`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Message, int]] = []

    def on_presence(self, device_id: str, message: Presence, at: int) -> None:
        self.got.append((device_id, message, at))

    def on_event(self, device_id: str, message: Event, at: int) -> None:
        if message.name == "fail":
            raise RuntimeError("the handler failed")
        self.got.append((device_id, message, at))

    def on_reported(self, device_id: str, message: Reported, at: int) -> None:
        self.got.append((device_id, message, at))

    def on_reply(self, device_id: str, message: Reply, at: int) -> None:
        self.got.append((device_id, message, at))

    def on_get(self, device_id: str, message: Get, at: int) -> None:
        self.got.append((device_id, message, at))


class Desk:
    def __init__(self) -> None:
        self.recorder = Recorder()
        self.metrics = Metrics("control")
        self.inbox = Inbox(self.recorder, self.metrics)

    def deal(self, topic: str, payload: bytes) -> None:
        self.inbox.deal(Frame(topic, payload, AT))

    def dropped(self, reason: str) -> float:
        labels = {"reason": f"control_{reason}"}
        value = self.metrics.registry.get_sample_value("homeport_dropped_frames_total", labels)
        return value or 0.0


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("presence", Presence()),
        ("event", Event(b"e" * 16, 5, "door_opened", {"by": "hand"})),
        ("reported", Reported(3, {"mode": "eco"}, 2)),
        ("reply", Reply(b"c" * 16, ReplyStatus.DONE, {"ok": True})),
        ("get", Get(("state",), 7)),
    ],
)
def test_a_message_reaches_its_handler(desk: Desk, channel: str, message: Message) -> None:
    desk.deal(topics.up(topics.ROOT, DEVICE, channel), message.encode())
    assert desk.recorder.got == [(DEVICE, message, AT)]


def test_a_wrong_shard_is_forged(desk: Desk) -> None:
    topic = f"{topics.ROOT}/{topics.shard_of(OTHER)}/{DEVICE}/up/presence"
    assert topics.shard_of(OTHER) != topics.shard_of(DEVICE)
    desk.deal(topic, Presence().encode())
    assert desk.recorder.got == []
    assert desk.dropped("forged") == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"\xa1\x00",
        Presence().encode()[:-1],
        Presence().encode() + b"\x00",
        b"\x00" * (MAX_CONTROL_BYTES + 1),
    ],
)
def test_a_malformed_payload_is_dropped_and_counted(desk: Desk, payload: bytes) -> None:
    desk.deal(topics.up(topics.ROOT, DEVICE, "presence"), payload)
    assert desk.recorder.got == []
    assert desk.dropped("malformed") == 1


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "hp/1",
        "hp/2/00/abcdefgh01234567/up/get",
        topics.up(topics.ROOT, DEVICE, "t"),
        topics.down(topics.ROOT, DEVICE, "notice"),
        topics.up(topics.ROOT, DEVICE, "get") + "/more",
    ],
)
def test_other_topics_are_dropped(desk: Desk, topic: str) -> None:
    desk.deal(topic, Get(("state",), 0).encode())
    assert desk.recorder.got == []
    assert desk.dropped("malformed") == 1


def test_a_failing_handler_is_counted_and_the_next_message_is_handled(desk: Desk) -> None:
    topic = topics.up(topics.ROOT, DEVICE, "event")
    desk.deal(topic, Event(b"1" * 16, 1, "fail").encode())
    desk.deal(topic, Event(b"2" * 16, 1, "fine").encode())
    assert [message for _, message, _ in desk.recorder.got] == [Event(b"2" * 16, 1, "fine")]
    assert desk.dropped("failed") == 1


def test_a_flood_of_garbage_leaves_few_lines(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "homeport.control"):
        for _ in range(1_000):
            desk.deal(topics.up(topics.ROOT, DEVICE, "get"), b"\xff")
    assert desk.dropped("malformed") == 1_000
    assert len(caplog.records) == 10


@given(topic=st.text(max_size=80), payload=st.binary(max_size=200))
def test_nothing_ends_the_inbox(topic: str, payload: bytes) -> None:
    desk = Desk()
    desk.deal(topic, payload)
    for channel in ("presence", "event", "reported", "reply", "get"):
        desk.deal(topics.up(topics.ROOT, DEVICE, channel), payload)
