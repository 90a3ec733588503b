"""Stage 1, receive: drain what the broker delivered and find the messages in it.

1. One thread owns the socket: it reads in bulk, and writes receipts and its own PINGREQ. Nobody shares it.
2. A kernel finds frames; no Python object is made for a message.
3. The subscription is QoS 0: the broker promises nothing here, receipts do.
4. Kernels are compiled before the subscription starts, because a slow subscriber is dropped.
"""

import contextlib
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numba import njit

from hub.errors import StorageError
from hub.pipeline import packets
from hub.pipeline.frames import Frames

_CONNACK, _PUBLISH, _SUBACK = 2, 3, 9
_PING_EVERY_S = 1.0
_SMALL_BATCH = 64 << 10  # bytes below which waiting a little for more pays


class LinkError(StorageError):
    """The connection to the broker could not be made or broke; the worker connects again."""

    code = "broker-link"
    title = "The broker cannot be reached"


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """Where the broker listens and how the worker proves who it is.

    Attributes:
        host, port: of the MQTT listener. others: further ones, tried in turn when it does not answer.
        client_id: MQTT client id; equals the certificate's CN.
        trust, certificate, key: PEM files; all absent for a plain-text broker (benchmarks only).
    """

    host: str
    port: int
    client_id: str
    trust: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    others: tuple[tuple[str, int], ...] = ()

    def each(self) -> Iterator["LinkAddress"]:
        """Yield this address, then the others, each by itself."""
        for host, port in ((self.host, self.port), *self.others):
            yield replace(self, host=host, port=port, others=())


@njit(
    "Tuple((i8, i8, i8, i8))(u1[::1], i8, i8, i8, i8[::1], i8[::1], i8[::1], i8[::1])",
    cache=True,
    nogil=True,
)
def scan_frames(buffer, start, end, limit, topic, topic_size, payload, payload_size):  # type: ignore[no-untyped-def]
    """Find MQTT PUBLISH frames (MQTT 3.1.1, section 2.2 and 3.3) in `buffer[start:end]`.

    Returns:
        Messages found, position behind the last whole frame, 0 or the first byte of a frame that breaks the protocol,
        and answers to pings (PINGRESP) passed over, as are SUBACKs.
    """
    n = 0
    pongs = np.int64(0)
    at = np.int64(start)
    while n < limit and at < end:
        first = buffer[at]
        size = np.int64(0)
        shift = 0
        pos = at + 1
        whole = False
        while pos < end and shift <= 21:
            byte = np.int64(buffer[pos])
            pos += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                whole = True
                break
        if not whole:
            if shift > 21:
                return n, at, np.int64(first) | 256, pongs
            break
        stop = pos + size
        if stop > end:
            break
        kind = first >> 4
        if kind == 3:
            if size < 2:
                return n, at, np.int64(first) | 256, pongs
            length = (np.int64(buffer[pos]) << 8) | np.int64(buffer[pos + 1])
            body = pos + 2 + length
            if (first & 6) != 0:
                body += 2  # packet identifier; a QoS 0 subscription never gets one
            if body > stop:
                return n, at, np.int64(first) | 256, pongs
            topic[n] = pos + 2
            topic_size[n] = length
            payload[n] = body
            payload_size[n] = stop - body
            n += 1
        elif kind == 13:
            pongs += 1
        elif kind != 9:
            return n, at, np.int64(first) | 256, pongs
        at = stop
    return n, at, np.int64(0), pongs


class Receiver:
    """A raw MQTT 3.1.1 subscriber that hands over whole micro-batches.

    Args:
        address: the broker and the worker's identity.
        filters: topic filters to subscribe to, QoS 0.
        capacity: bytes of the receive buffer; must exceed the broker's largest message.
        messages: messages in a micro-batch, at most.
        keepalive_s: MQTT keep-alive.
        may_speak: asked before anything is sent; what must wait for it stays queued.
    """

    def __init__(
        self,
        address: LinkAddress,
        filters: Sequence[str],
        *,
        capacity: int = 8 << 20,
        messages: int = 32_768,
        keepalive_s: int = 30,
        may_speak: Callable[[], bool] = lambda: True,
    ) -> None:
        self._address = address
        self._filters = list(filters)
        self._may_speak = may_speak
        self._keepalive_s = keepalive_s
        self._memory = bytearray(capacity)
        self._view = memoryview(self._memory)
        self._used = 0  # bytes in the buffer
        self._taken = 0  # bytes of them that earlier batches consumed
        self.frames = Frames(np.frombuffer(self._memory, np.uint8), messages)
        self._socket: socket.socket | None = None
        self._out = bytearray()
        self._last_sent = 0.0
        self._last_heard = 0.0
        self._pings = 0  # without an answer yet

    def connect(self, timeout_s: float = 10.0) -> None:
        """Connect, subscribe and wait for both acknowledgements.

        Args:
            timeout_s: how long an address has for each of its answers; half of it where there are others.

        Raises:
            LinkError: the broker refused, or did not answer in time, at any of its addresses.
        """
        failed = []
        share_s = timeout_s / 2 if self._address.others else timeout_s
        for address in self._address.each():
            self.close()
            try:
                self._connect(address, share_s)
            except LinkError as error:
                failed.append(error.detail)
            else:
                return
        self.close()
        raise LinkError(" ".join(failed))

    def _connect(self, a: LinkAddress, timeout_s: float) -> None:
        try:
            raw = socket.create_connection((a.host, a.port), timeout_s)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = _secured(raw, a)
            self._introduce(self._socket, a)
            self._socket.setblocking(False)
        except OSError as error:
            raise LinkError(
                f"No connection to the broker at {a.host}:{a.port}: {error}."
            ) from error

    def _introduce(self, sock: socket.socket, a: LinkAddress) -> None:
        """Say who connects and what it wants to hear."""
        sock.sendall(packets.connect(a.client_id, self._keepalive_s))
        if _await(sock, _CONNACK)[1:2] != b"\x00":
            raise LinkError(
                f"The broker at {a.host}:{a.port} refused {a.client_id}. Is its certificate one of this hub's?"
            )
        if not self._filters:
            return
        sock.sendall(packets.subscribe(self._filters))
        if 0x80 in _await(sock, _SUBACK)[2:]:
            raise LinkError(
                f"The broker refused a subscription of {a.client_id}: {self._filters}. Check its permissions."
            )

    @property
    def connected(self) -> bool:
        """Whether there is a live subscription."""
        return self._socket is not None

    def close(self) -> None:
        """Drop the connection and whatever was half received; receipts not yet sent are sent again later."""
        self._used = self._taken = 0
        self._out.clear()
        self._last_sent = self._last_heard = 0.0
        self._pings = 0
        if self._socket is not None:
            with contextlib.suppress(OSError, ValueError):  # the other side may have gone first
                self._socket.send(packets.DISCONNECT)
            self._socket.close()
            self._socket = None

    def receive(self, now: float, wait_s: float, linger_s: float) -> Frames:
        """Wait for data, drain the socket, and find the messages.

        Args:
            now: monotonic seconds, for the keep-alive.
            wait_s: how long to wait when nothing is there.
            linger_s: after the first bytes, how long to let a small batch gather.

        Returns:
            The shared `Frames`, `count` of 0 if nothing came.

        Raises:
            LinkError: the connection broke or the broker broke the protocol.
        """
        frames = self.frames
        frames.count = 0
        self._compact()
        sock = self._socket
        if sock is None:
            raise LinkError("The worker is not connected to its broker.")
        self._keep_alive(now)
        self._flush()
        if self._used == 0 or not self._scan():
            if self._ready(sock, wait_s):
                self._last_heard = now
                got = self._drain(sock)
                if got < _SMALL_BATCH and linger_s > 0:
                    # Sleep it out: to be woken by each of many small segments costs broker and worker more than
                    # the messages do.
                    select.select([], [], [], linger_s)
                    self._drain(sock)
            self._scan()
        return frames

    def lag_s(self, now: float) -> float:
        """How far this end is behind the broker, at least; 0 if that is not known to be more than nothing.

        A broker answers a ping behind all that it had to deliver before, so an answer that is late means that
        deliveries wait.

        Args:
            now: monotonic seconds.
        """
        return now - self._last_sent if self._pings else 0.0

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Queue ready-made MQTT packets and send what the socket takes now.

        A connection that broke is reported by the next `receive`, never here: a turn must run to its end, or
        state and journal would part.
        """
        self._out += data
        with contextlib.suppress(LinkError):
            self._flush()

    def _ready(self, sock: socket.socket, wait_s: float) -> bool:
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        writers = [sock] if self._out else []
        readable, writable, _ = select.select([sock], writers, [], wait_s)
        if writable:
            self._flush()
        return bool(readable)

    def _drain(self, sock: socket.socket) -> int:
        """Read until the socket has no more or the buffer is full; returns the bytes read."""
        total = 0
        room = len(self._memory)
        while self._used < room:
            try:
                got = sock.recv_into(self._view[self._used :])
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError as error:
                raise LinkError(f"The connection to the broker broke: {error}.") from error
            if got == 0:
                raise LinkError(
                    "The broker closed the connection (restart, or a subscriber that was too slow)."
                )
            self._used += got
            total += got
        return total

    def _scan(self) -> int:
        f = self.frames
        count, position, broken, pongs = scan_frames(
            f.buffer,
            self._taken,
            self._used,
            f.capacity,
            f.topic,
            f.topic_size,
            f.payload,
            f.payload_size,
        )
        if broken:
            raise LinkError(
                f"The broker sent a frame that MQTT 3.1.1 does not allow (first byte {broken & 255:#x})."
            )
        if count == 0 and position == self._taken == 0 and self._used == len(self._memory):
            raise LinkError(f"A message exceeds the receive buffer of {len(self._memory)} bytes.")
        self._pings = max(0, self._pings - int(pongs))
        f.count = int(count)
        self._taken = int(position)
        return f.count

    def _compact(self) -> None:
        """Make room behind what no batch has consumed yet. The frames of the last batch end here."""
        if self._taken == self._used:
            self._used = self._taken = 0
        elif self._used > len(self._memory) // 2 and self._taken:
            rest = self._used - self._taken
            self._view[:rest] = bytes(self._view[self._taken : self._used])
            self._used, self._taken = rest, 0

    def _flush(self) -> None:
        if not self._out or self._socket is None or not self._may_speak():
            return
        try:
            while self._out:
                sent = self._socket.send(self._out)
                del self._out[:sent]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            raise LinkError(f"The connection to the broker broke: {error}.") from error

    def _keep_alive(self, now: float) -> None:
        if now - self._last_sent < _PING_EVERY_S:
            return
        self._last_heard = self._last_heard or now
        if now - self._last_heard > 2 * self._keepalive_s:
            raise LinkError(f"The broker has been silent for {now - self._last_heard:.0f} s.")
        if not self._pings or now - self._last_sent >= self._keepalive_s / 2:
            self._last_sent = now
            self._pings += 1
            self._out += packets.PINGREQ


def supersede(address: LinkAddress, timeout_s: float = 10.0) -> None:
    """End whatever connection a broker has of a client id (MQTT 3.1.1, section 3.1.4, rule 2).

    When this returns, the broker takes nothing more from connections that were made before.

    Raises:
        LinkError: the broker refused, or did not answer in time.
    """
    link = Receiver(address, (), capacity=1024, messages=1)
    link.connect(timeout_s)
    link.close()


def _await(sock: socket.socket, kind: int) -> bytes:
    """The body of the next packet of a type, while connecting.

    A broker may deliver before it acknowledges the subscription; such messages are dropped: no receipt, so
    the device sends them again.
    """
    while True:
        first, body = _read_packet(sock)
        if first >> 4 == kind:
            return body
        if first >> 4 != _PUBLISH:
            raise LinkError(
                f"The broker answered with packet type {first >> 4} where {kind} was due."
            )


def _read_packet(sock: socket.socket) -> tuple[int, bytes]:
    first = _exactly(sock, 1)[0]
    size = shift = 0
    while True:
        byte = _exactly(sock, 1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first, _exactly(sock, size)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise LinkError("The broker closed the connection while the worker was connecting.")
        data += chunk
    return data


def _secured(raw: socket.socket, address: LinkAddress) -> socket.socket:
    if address.trust is None or address.certificate is None:
        return raw
    context = ssl.create_default_context(cafile=str(address.trust))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(address.certificate, address.key)
    return context.wrap_socket(raw, server_hostname=address.host)
