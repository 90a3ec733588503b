"""The control link while there is no broker."""

from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from device_sdk.wire import topics
from device_sdk.wire.errors import WireError
from device_sdk.wire.messages import Event, Get, Presence, Reply, Reported
from device_sdk.wire.topics import Down
from hub.app import control_link
from hub.app.control_link import ControlLink
from hub.metrics import Metrics
from hub.ports.broker.port import ClientIdentity

DEVICE = "abcdefgh01234567"
NOWHERE = ClientIdentity("hub-control", "127.0.0.1", 1, Path("ca"), Path("cert"), Path("key"))


class Nobody:
    """A handler that must not be called."""

    def _fail(
        self, device_id: str, message: Presence | Event | Reported | Reply | Get, at: int
    ) -> None:
        raise AssertionError(f"{device_id} {message} {at}")

    on_presence = on_event = on_reported = on_reply = on_get = _fail


client = Client(CallbackAPIVersion.VERSION2)


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"homeport_{name}_total", labels) or 0.0


def test_a_push_without_connection_is_refused_and_counted() -> None:
    metrics = Metrics("control")
    link = ControlLink(NOWHERE, Nobody(), metrics, lambda: 1)
    assert not link.publish(DEVICE, Down.NOTICE, b"x")
    assert sample(metrics, "pushes", channel="notice", result="not_connected") == 1


def test_a_push_to_no_device_is_an_error() -> None:
    link = ControlLink(NOWHERE, Nobody(), Metrics("control"), lambda: 1)
    with pytest.raises(WireError, match="device id"):
        link.publish("../etc", Down.NOTICE, b"x")


def test_what_does_not_fit_the_queue_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_link, "QUEUE_FRAMES", 2)
    metrics = Metrics("control")
    link = ControlLink(NOWHERE, Nobody(), metrics, lambda: 1)
    topic = topics.up(topics.ROOT, DEVICE, "get")
    message = MQTTMessage(topic=topic.encode())
    for _ in range(5):
        link._on_message(client, None, message)
    assert sample(metrics, "dropped_frames", reason="control_overflow") == 3


def test_a_topic_that_is_not_text_is_dropped() -> None:
    metrics = Metrics("control")
    link = ControlLink(NOWHERE, Nobody(), metrics, lambda: 1)
    link._on_message(client, None, MQTTMessage(topic=b"hp/1/\xff"))
    assert sample(metrics, "dropped_frames", reason="control_malformed") == 1


def test_missing_tls_files_are_an_error_at_start() -> None:
    link = ControlLink(NOWHERE, Nobody(), Metrics("control"), lambda: 1)
    with pytest.raises(OSError, match="No such file"):
        link.start()
    link.stop()
