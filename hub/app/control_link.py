"""The hub's end of the control channels: presence, event, reported, reply and get, and pushes down.

1. The network thread only queues frames. A worker thread decodes them and calls the handler, one
   after the other, so that a slow database never delays the broker's pings.
2. The queue is bounded. What does not fit is dropped and counted: a device repeats `get` and
   `presence` when it connects again, and `reported` with each change.
3. Malformed frames and frames under another device's shard are dropped and counted. Nothing that
   a device sends and nothing that the handler raises ends a thread.
4. The broker remembers nothing for the hub: it subscribes anew after each connect.

Telemetry never comes this way, and nothing is decided here.
"""

import itertools
import logging
import queue
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_sdk.wire import topics
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.messages import Event, Get, Presence, Reply, Reported
from device_sdk.wire.topics import Down, Up
from hub.metrics import Metrics
from hub.ports.broker.port import ClientIdentity

CHANNELS = (Up.PRESENCE, Up.EVENT, Up.REPORTED, Up.REPLY, Up.GET)
QUEUE_FRAMES = 10_000
KEEPALIVE_S = 15
_RECONNECT_S = (1, 15)
_IDLE_S = 0.25

_log = logging.getLogger("homeport.control")


class ControlHandler(Protocol):
    """What is done with the messages of devices. Called from one thread, one at a time.

    `device_id` is the topic's, which the broker has bound to the client's certificate; `at` is
    the time of receipt, ns UTC.
    """

    def on_presence(self, device_id: str, message: Presence, at: int) -> None:
        """A device came, or went."""

    def on_event(self, device_id: str, message: Event, at: int) -> None:
        """Something happened on a device."""

    def on_reported(self, device_id: str, message: Reported, at: int) -> None:
        """A device says what it has applied."""

    def on_reply(self, device_id: str, message: Reply, at: int) -> None:
        """A device answers a command."""

    def on_get(self, device_id: str, message: Get, at: int) -> None:
        """A device asks for something, such as its state."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message as it came from the broker, and when (ns UTC)."""

    topic: str
    payload: bytes
    at: int


class Inbox:
    """Decodes frames and hands them to the handler.

    Args:
        handler: takes the messages.
        metrics: frames that are dropped are counted here.
        root: topic root.
    """

    def __init__(self, handler: ControlHandler, metrics: Metrics, root: str = topics.ROOT) -> None:
        self._handler = handler
        self._metrics = metrics
        self._root = root
        self._dropped: Counter[str] = Counter()
        for reason in ("forged", "malformed", "overflow", "failed"):
            metrics.dropped_frames.labels(f"control_{reason}")
        self._lock = threading.Lock()

    def deal(self, frame: Frame) -> None:
        """Handle one frame; never raises for what a frame holds or a handler does."""
        try:
            call = self._read(frame)
        except WireError as error:
            reason = "forged" if error.code is RejectCode.REFUSED else "malformed"
            self.drop(reason, frame.topic, str(error))
            return
        try:
            call()
        except Exception:  # noqa: BLE001  one message failed; the next may not
            _log.exception("a control message failed", extra={"topic": frame.topic})
            self._count("failed")

    def drop(self, reason: str, topic: str, detail: str) -> None:
        """Count a frame that is dropped.

        The log gets the first of each kind and then ever fewer of them (the 2nd, 4th, 8th, ...),
        so that no device can fill the disk with warnings.
        """
        dropped = self._count(reason)
        if dropped & (dropped - 1) == 0:
            facts = {"reason": reason, "topic": topic[:128], "detail": detail, "dropped": dropped}
            _log.warning("control message dropped: %s", reason, extra=facts)

    def _count(self, reason: str) -> int:
        self._metrics.dropped_frames.labels(f"control_{reason}").inc()
        with self._lock:  # both threads drop
            self._dropped[reason] += 1
            return self._dropped[reason]

    def _read(self, frame: Frame) -> Callable[[], None]:
        """Decode a frame to the call of the handler that it stands for."""
        topic = topics.parse(frame.topic, self._root)
        device, data, at, handler = topic.device, frame.payload, frame.at, self._handler
        if topic.direction != "up":
            raise WireError("topic does not lead to the hub")
        match topic.channel:
            case Up.PRESENCE:
                return partial(handler.on_presence, device, Presence.decode(data), at)
            case Up.EVENT:
                return partial(handler.on_event, device, Event.decode(data), at)
            case Up.REPORTED:
                return partial(handler.on_reported, device, Reported.decode(data), at)
            case Up.REPLY:
                return partial(handler.on_reply, device, Reply.decode(data), at)
            case Up.GET:
                return partial(handler.on_get, device, Get.decode(data), at)
            case _:
                raise WireError("topic names no control channel")


class ControlLink:
    """The connection of the process `control` to the broker.

    Args:
        identity: broker address, TLS files and client id.
        handler: takes the messages of devices.
        metrics: dropped frames and pushes are counted here.
        clock: the present time, ns UTC.
        root: topic root.
    """

    def __init__(
        self,
        identity: ClientIdentity,
        handler: ControlHandler,
        metrics: Metrics,
        clock: Callable[[], int],
        *,
        root: str = topics.ROOT,
    ) -> None:
        self._identity = identity
        self._addresses = itertools.cycle([(identity.host, identity.port), *identity.others])
        self._metrics = metrics
        self._clock = clock
        self._root = root
        for channel in Down:
            if channel is not Down.RECEIPT:  # the workers' own
                for result in ("sent", "not_connected"):
                    metrics.pushes.labels(channel.value, result)
        self._inbox = Inbox(handler, metrics, root)
        self._queue: queue.Queue[Frame] = queue.Queue(QUEUE_FRAMES)
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name="control-worker", daemon=True)
        self._client = self._new_client()

    @property
    def connected(self) -> bool:
        """Whether the link is connected and subscribed."""
        return self._ready.is_set()

    def start(self) -> None:
        """Begin to connect and go on trying; returns at once.

        Raises:
            OSError: a TLS file cannot be read.
            ssl.SSLError: a TLS file is damaged.
        """
        identity = self._identity
        context = ssl.create_default_context(cafile=str(identity.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(identity.certificate_file), str(identity.key_file))
        self._client.tls_set_context(context)
        self._aim()
        self._worker.start()
        self._client.loop_start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the link is connected and subscribed; say whether it is."""
        return self._ready.wait(timeout_s)

    def stop(self) -> None:
        """Disconnect, handle what is queued and end both threads."""
        self._client.disconnect()
        self._client.loop_stop()
        self._ready.clear()
        self._stopping.set()
        if self._worker.is_alive():
            self._worker.join()

    def publish(self, device_id: str, channel: Down, payload: bytes) -> bool:
        """Send a message to a device. Any thread may call it.

        Args:
            device_id: the device.
            channel: where to.
            payload: the encoded message.

        Returns:
            Whether the broker's connection took it. A device that is not connected does not get
            it; it asks for its state when it comes.

        Raises:
            WireError: `device_id` is none.
        """
        topic = topics.down(self._root, device_id, channel)
        sent = False
        if self.connected:
            sent = self._client.publish(topic, payload, qos=0).rc == MQTTErrorCode.MQTT_ERR_SUCCESS
        self._metrics.pushes.labels(channel.value, "sent" if sent else "not_connected").inc()
        return sent

    def _aim(self) -> None:
        """Have the next attempt to connect go to the next address of the broker."""
        self._client.connect_async(*next(self._addresses), KEEPALIVE_S)

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._identity.name,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        client.reconnect_delay_set(*_RECONNECT_S)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self,
        client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            _log.warning("the broker refused the control link: %s", reason)
            return
        client.subscribe([(f"{self._root}/+/+/up/{channel}", 0) for channel in CHANNELS])

    def _on_connect_fail(self, _client: Client, _userdata: Any) -> None:
        _log.warning("the control link cannot reach the broker; it tries again")
        self._aim()

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [
            channel.value
            for channel, reason in zip(CHANNELS, reasons, strict=False)
            if reason.is_failure
        ]
        if refused:
            # Half a link would lose messages silently, so it never counts as connected.
            _log.error("the broker refused subscriptions of the control link: %s", refused)
            return
        self._ready.set()
        _log.info("control link connected")

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        was_ready = self._ready.is_set()
        self._ready.clear()
        if not self._stopping.is_set():
            _log.warning("control link lost: %s", reason)
            if not was_ready:  # the node was there and did not let it in
                self._aim()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        try:
            frame = Frame(message.topic, bytes(message.payload), self._clock())
        except UnicodeDecodeError:
            self._inbox.drop("malformed", "", "topic is not UTF-8")
            return
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            self._inbox.drop("overflow", frame.topic, f"{QUEUE_FRAMES} messages are waiting")

    def _work(self) -> None:
        while True:
            try:
                frame = self._queue.get(timeout=_IDLE_S)
            except queue.Empty:
                if self._stopping.is_set():
                    return
                continue
            self._inbox.deal(frame)
