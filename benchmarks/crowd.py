"""A crowd that sends more than a hub may take: real devices over TLS, at a steady rate, deaf to what they are told.

1. Runs in its own process; a device is one connection with its own certificate, written in bulk.
2. Messages are anonymous flat JSON, each with an instant of its own. What is shed is gone: nothing is sent again, so
   that what is offered stays what it is.
3. Devices that fall behind skip nothing: they send later, and the rate that is reported is the one that was reached.
What must never live here: anything that helps the hub.
"""

import socket
import ssl
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.flood import TIME_WIDTH, json_payload, message
from hub.pipeline import packets

_TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the crowd.

    Attributes:
        device_id: its id.
        folder: where its key and certificate are.
        messages_per_s: how much it sends.
    """

    device_id: str
    folder: Path
    messages_per_s: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who sends, and where to.

    Attributes:
        host, port: of the broker.
        ca_file: trust.
        members: the devices.
        seed: of the values.
        past_s: how far in the past its rows begin; each is a second later than the one before.
    """

    host: str
    port: int
    ca_file: Path
    members: tuple[Member, ...]
    seed: int = 1
    past_s: int = 10 * 86_400


class Sender:
    """One device's connection and its messages of one tick, made before."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        member = crowd.members[number]
        self._rng = np.random.default_rng(crowd.seed + number)
        count = max(1, round(member.messages_per_s * _TICK_S))
        self.pause_s = count / member.messages_per_s
        parts = [
            message(member.device_id, "json", json_payload(self._rng, None)) for _ in range(count)
        ]
        self._data = bytearray(b"".join(parts))
        self._count = count
        ends = np.cumsum([len(part) for part in parts])
        self._places = ends[:, None] - 1 - TIME_WIDTH + np.arange(TIME_WIDTH)
        self._view = np.frombuffer(self._data, np.uint8)
        self._second = int(time.time()) - crowd.past_s
        self.sent = 0
        self._socket = _connect(crowd, member)

    def send(self) -> None:
        """Send the messages of one tick, each a second after the one before."""
        seconds = self._second + np.arange(self._count)
        self._second += self._count
        powers = 10 ** np.arange(TIME_WIDTH - 1, -1, -1)
        self._view[self._places] = seconds[:, None] // powers % 10 + ord("0")
        self._socket.sendall(self._data)
        self.sent += self._count

    def run(self, stop: threading.Event) -> None:
        """Send at a steady rate until told to stop."""
        due = time.monotonic()
        while not stop.is_set():
            self.send()
            due += self.pause_s
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def crowd_process(crowd: Crowd, pipe: Connection) -> None:
    """Connect, say "ready", send from "go" to "end"; to "count" answer with (monotonic seconds, messages sent)."""
    senders = [Sender(crowd, number) for number in range(len(crowd.members))]
    stop = threading.Event()
    threads = [threading.Thread(target=sender.run, args=(stop,)) for sender in senders]
    pipe.send("ready")
    while (word := pipe.recv()) != "end":
        if word == "go":
            for thread in threads:
                thread.start()
        else:
            pipe.send((time.monotonic(), sum(sender.sent for sender in senders)))
    stop.set()
    for thread in threads:
        thread.join()
    for sender in senders:
        sender.close()


def _connect(crowd: Crowd, member: Member) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(crowd.ca_file))
    context.load_cert_chain(member.folder / "certificate.pem", member.folder / "device.key")
    raw = socket.create_connection((crowd.host, crowd.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    secured = context.wrap_socket(raw, server_hostname=crowd.host)
    secured.sendall(packets.connect(member.device_id, 0))
    if secured.recv(4)[3:] != b"\x00":
        raise ConnectionError(f"The broker refused {member.device_id}.")
    return secured
