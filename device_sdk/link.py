"""The connection to the hub: a small port, and MQTT over TLS as its one real form.

1. TLS 1.2 or later with the device's certificate; the trust bundle decides whom to talk to; names
   are checked.
2. Connecting and reconnecting never ends and never raises: delays double up to a minute, with
   jitter, and the addresses known are tried in turn.
3. One thread owns the socket. Publishing from elsewhere queues the message and wakes that thread.
4. Nothing of the protocol above MQTT lives here.
"""

import logging
import select
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from device_sdk.wire import topics
from device_sdk.wire.messages import Presence

KEEPALIVE_S = 60
CONNECT_S = 10.0
"""Limit for the TCP and TLS handshakes, and again for the broker's answers."""
LONGEST_WAIT_S = 60.0
_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears of the connection; called on the link's thread, must return at once."""

    def connected(self) -> None:
        """Subscriptions stand; publishing works from now on."""

    def disconnected(self) -> None:
        """The connection is gone."""

    def refused(self) -> None:
        """A broker was there and would not have us, or was not one to be trusted."""

    def received(self, channel: str, payload: bytes) -> None:
        """A message came down."""


class Link(Protocol):
    """The connection as the device uses it."""

    def start(self, listener: Listener) -> None:
        """Begin connecting, and go on until `close`."""

    def publish(self, channel: str, payload: bytes) -> bool:
        """Queue a message; False when there is no connection. Never blocks."""

    def reload(self) -> None:
        """Connect anew because certificate or addresses have changed."""

    def set_network(self, *, available: bool) -> None:
        """Stop trying while there is no network, and connect at once when it is back."""

    def close(self) -> None:
        """Say the last word if possible and end."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a hub. `trust` is a PEM bundle."""

    host: str
    port: int
    root: str
    trust: str


class MqttLink:
    """MQTT 3.1.1 with paho.

    Args:
        device_id: MQTT client id.
        certificate: PEM file of the device's certificate.
        key: PEM file of the private key.
        routes: the ways known at the moment, the best first; asked before each attempt.
        monotonic: seconds, for deadlines.
        jitter: random numbers from 0 to 1.
        keepalive_s: silence after which the broker is asked for a sign of life, and after which
            again the connection counts as dead.
    """

    def __init__(
        self,
        device_id: str,
        *,
        certificate: Path,
        key: Path,
        routes: Callable[[], Sequence[Route]],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        self._device_id = device_id
        self._keepalive_s = keepalive_s
        self._certificate = certificate
        self._key = key
        self._routes = routes
        self._monotonic = monotonic
        self._jitter = jitter
        self._closing = threading.Event()
        self._again = threading.Event()
        self._available = threading.Event()
        self._available.set()
        self._thread: threading.Thread | None = None
        self._listener: Listener | None = None
        self._client: mqtt.Client | None = None
        self._root = topics.ROOT
        self._ready = False
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)

    def start(self, listener: Listener) -> None:
        """Begin connecting on a thread of its own."""
        self._listener = listener
        name = f"homeport-link-{self._device_id}"
        self._thread = threading.Thread(target=self._run, args=(listener,), name=name, daemon=True)
        self._thread.start()

    def publish(self, channel: str, payload: bytes) -> bool:
        """Queue a message for the link's thread; False when there is no connection."""
        client = self._client
        if client is None or not self._ready:
            return False
        topic = topics.up(self._root, self._device_id, channel)
        queued = client.publish(topic, payload, qos=0).rc == MQTTErrorCode.MQTT_ERR_SUCCESS
        self._wake()
        return queued

    def reload(self) -> None:
        """Drop the connection and connect anew at once."""
        self._again.set()
        self._wake()

    def set_network(self, *, available: bool) -> None:
        """Stop trying while there is no network, and connect at once when it is back.

        A connection that stands is cut without a goodbye, as by a network that goes away.
        """
        if available:
            self._available.set()
        else:
            self._available.clear()
        self._again.set()
        self._wake()

    def close(self) -> None:
        """End the thread; a connected device says goodbye first."""
        if self._ready:
            self.publish(topics.Up.PRESENCE, Presence().encode())
        self._closing.set()
        self._available.set()
        self._again.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(CONNECT_S * 2)
        self._waker.close()
        self._wakee.close()

    def _run(self, listener: Listener) -> None:
        failures = 0
        while not self._closing.is_set():
            self._available.wait()
            self._again.clear()
            if self._closing.is_set():  # `close` sets it before what was just cleared
                return
            routes = self._routes()
            route = routes[failures % len(routes)]
            refused = False
            try:
                self._session(route, listener)
                refused = not self._again.is_set()
            except (OSError, ValueError) as error:
                refused = isinstance(error, ssl.SSLError)
                _log.info("No connection to %s:%s: %s", route.host, route.port, error)
            if self._ready:
                self._ready = False
                failures = 0
                listener.disconnected()
            else:
                failures += 1
                if refused:
                    listener.refused()
            wait = min(LONGEST_WAIT_S, 2.0 ** min(failures, 10)) * (0.25 + 0.75 * self._jitter())
            if not self._closing.is_set():
                self._again.wait(wait)

    def _session(self, route: Route, listener: Listener) -> None:
        """Connect once and serve the connection until it ends."""
        client = self._make_client(route, listener)
        try:
            client.connect(route.host, route.port, self._keepalive_s)
            self._root, self._client = route.root, client
            self._serve(client)
        finally:
            self._client = None
            client.disconnect()
            client.loop_write()

    def _make_client(self, route: Route, listener: Listener) -> mqtt.Client:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=route.trust)
        context.load_cert_chain(self._certificate, self._key)
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._device_id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.tls_set_context(context)
        prefix = f"{route.root}/{topics.shard_of(self._device_id)}/{self._device_id}"
        client.will_set(f"{prefix}/up/{topics.Up.PRESENCE}", Presence().encode(), qos=0)
        down = [(f"{prefix}/down/{channel}", 0) for channel in topics.Down]

        def on_connect(client: mqtt.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
            if reason.is_failure:
                _log.info("The broker refused the connection: %s", reason)
            else:
                client.subscribe(down)

        def on_subscribe(client: mqtt.Client, _: Any, __: int, answer: list[Any], ___: Any) -> None:
            if any(reason.is_failure for reason in answer):
                _log.warning("The broker refused a subscription of %s.", self._device_id)
                client.disconnect()
                return
            self._ready = True
            listener.connected()

        def on_message(_: Any, __: Any, message: mqtt.MQTTMessage) -> None:
            if message.topic.startswith(f"{prefix}/down/"):
                listener.received(message.topic.rpartition("/")[2], bytes(message.payload))

        client.on_connect = on_connect
        client.on_subscribe = on_subscribe
        client.on_message = on_message
        # With any callback here paho leaves writing to us: TLS sockets are not for two threads.
        client.on_socket_register_write = lambda *_: None
        return client

    def _serve(self, client: mqtt.Client) -> None:
        patience = self._monotonic() + CONNECT_S
        poller = select.poll()
        poller.register(self._wakee, select.POLLIN)
        connection = client.socket()
        if connection is None:
            return
        poller.register(connection, select.POLLIN)
        while client.socket() is not None:
            if self._again.is_set():
                if self._available.is_set():
                    client.loop_write()
                elif isinstance(connection, socket.socket):  # not one of paho's websockets
                    connection.shutdown(socket.SHUT_RDWR)
                return
            if not self._ready and self._monotonic() >= patience:
                raise TimeoutError("the broker does not answer")
            writing = select.POLLOUT if client.want_write() else 0
            poller.modify(connection, select.POLLIN | writing)
            for descriptor, _ in poller.poll(250 * self._keepalive_s if self._ready else 1000):
                if descriptor == self._wakee.fileno():
                    self._wakee.recv(4096)
            if not self._pass(client):
                return

    def _pass(self, client: mqtt.Client) -> bool:
        """Write and read what there is; False when the connection is gone."""
        if client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        while True:
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
            connection = client.socket()
            if not isinstance(connection, ssl.SSLSocket) or not connection.pending():
                break
        return client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except (BlockingIOError, OSError):
            # Full: the thread will wake anyway. Closed: nobody is left to wake.
            return
