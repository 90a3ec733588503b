"""A fleet that floods: many devices' messages over a few plain MQTT connections, as fast as the broker takes them.

1. Runs in its own process; says when it began and when it had handed over the last byte (monotonic seconds).
2. Connections subscribe to their devices' receipts and read them, as devices would.
3. Messages are made before or beside the measurement from templates of fixed width, so that sending costs little.
What must never live here: anything that helps the hub.
"""

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import Pack, encode_pack
from device_sdk.wire.topics import ROOT, shard_of
from hub.pipeline import packets

METRICS = ("temp_c", "flow_c", "power_w", "vib_mm", "speed_hz")
START = 1_790_000_000_000_000_000  # ns; the fleet's first instant
_VARIANTS = 16
_SEQ_WIDTH = 8
_TIME = b',"t":'
TIME_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Flood:
    """What to send.

    Attributes:
        port: of the broker on 127.0.0.1.
        devices: device ids.
        connections: over which the devices are spread.
        kind: "json" (flat JSON of four values with `t`, `s` and `q`), "anonymous" (without them) or "pack"
            (50 rows of five metrics).
        rounds: messages of each device.
        run: number that makes the streams of this flood its own.
        seed: of the values.
    """

    port: int
    devices: tuple[str, ...]
    connections: int
    kind: str
    rounds: int
    run: int
    seed: int = 1

    @property
    def messages(self) -> int:
        """How many messages it is altogether."""
        return len(self.devices) * self.rounds


def stream_of(run: int, device: int) -> bytes:
    """The stream of a device in a run."""
    return (run * 1_000_003 + device).to_bytes(8, "big")


def message(device: str, channel: str, payload: bytes) -> bytes:
    """A PUBLISH of a device."""
    topic = f"{ROOT}/{shard_of(device)}/{device}/up/{channel}"
    return packets.publish(topic.encode(), payload)


def json_payload(rng: np.random.Generator, stream: bytes | None) -> bytes:
    """One row of four values and its time; time and seq are left blank."""
    t, f, p, v = rng.normal(0, 1, 4)
    values = b'"temp_c":%.2f,"flow_c":%.2f,"power_w":%.1f,"vib_mm":%.3f' % (
        20 + t,
        35 + f,
        900 + 20 * p,
        2 + v / 4,
    )
    identity = b""
    if stream is not None:
        identity = b',"s":"' + stream.hex().encode() + b'","q":' + b" " * _SEQ_WIDTH
    return b"{" + values + identity + _TIME + b" " * TIME_WIDTH + b"}"


def json_chunks(flood: Flood, devices: Sequence[int]) -> Iterator[bytearray]:
    """One round of all devices a chunk, the seq written into place."""
    rng = np.random.default_rng(flood.seed + devices[0])
    variants = []
    for _ in range(_VARIANTS):
        parts = [
            message(
                flood.devices[d],
                "json",
                json_payload(rng, stream_of(flood.run, d) if flood.kind == "json" else None),
            )
            for d in devices
        ]
        data = bytearray(b"".join(parts))
        ends = np.cumsum([len(p) for p in parts])
        variants.append((data, np.frombuffer(data, np.uint8), ends))
    columns = np.arange(_SEQ_WIDTH)
    for seq in range(flood.rounds):
        data, view, ends = variants[seq % _VARIANTS]
        # Each row has an instant of its own: detection passes over repeated ones.
        time_at = ends - 1 - TIME_WIDTH
        seconds = np.frombuffer(b"%d" % (START // 1_000_000_000 + seq), np.uint8)
        view[time_at[:, None] + np.arange(TIME_WIDTH)] = seconds
        if flood.kind == "json":
            digits = np.frombuffer(b"%*d" % (_SEQ_WIDTH, seq), np.uint8)
            view[(time_at - len(_TIME) - _SEQ_WIDTH)[:, None] + columns] = digits
        yield data


def pack_chunks(flood: Flood, devices: Sequence[int], rows: int = 50) -> list[bytes]:
    """Packs of all devices, one round a chunk."""
    rng = np.random.default_rng(flood.seed + devices[0])
    chunks = []
    for k in range(flood.rounds):
        parts = []
        for d in devices:
            times = [START + (k * rows + i) * 1_000_000_000 for i in range(rows)]
            values = np.round(rng.normal(40, 3, (len(METRICS), rows)), 3)
            metrics = {name: values[m].tolist() for m, name in enumerate(METRICS)}
            pack = Pack(
                stream_of(flood.run, d),
                k * rows,
                1,
                b"bootboot",
                ClockState.SYNCED,
                False,
                times,
                metrics,
            )
            parts.append(message(flood.devices[d], "t", encode_pack(pack)))
        chunks.append(b"".join(parts))
    return chunks


def connect(flood: Flood, number: int, devices: Sequence[int]) -> socket.socket:
    """A connection that hears the receipts of its devices."""
    sock = socket.create_connection(("127.0.0.1", flood.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(packets.connect(f"flood-{flood.run}-{number}", 0))
    names = [flood.devices[d] for d in devices]
    sock.sendall(
        packets.subscribe([f"{ROOT}/{shard_of(name)}/{name}/down/receipt" for name in names])
    )
    wanted = 4 + len(packets.packet(0x90, b"\x00\x01" + b"\x00" * len(devices)))
    got = 0
    while got < wanted:
        data = sock.recv(wanted - got)
        if not data:
            raise ConnectionError("The broker closed a connection of the flood.")
        got += len(data)
    return sock


def flood_process(flood: Flood, pipe: Connection) -> None:
    """Make the messages, say "ready", wait for "go", send, and report times and receipt bytes heard."""
    count = len(flood.devices)
    groups = [list(range(c, count, flood.connections)) for c in range(flood.connections)]
    sockets = [connect(flood, c, group) for c, group in enumerate(groups)]
    chunks = [chunks_of(flood, group) for group in groups]
    ended = threading.Event()
    heard = [0] * len(sockets)

    def send(c: int) -> None:
        for data in chunks[c]:
            sockets[c].sendall(data)

    def hear(c: int) -> None:
        heard[c] = count_bytes(sockets[c], ended)

    listeners = [threading.Thread(target=hear, args=(c,)) for c in range(len(sockets))]
    senders = [threading.Thread(target=send, args=(c,)) for c in range(len(sockets))]
    pipe.send("ready")
    pipe.recv()
    began = time.monotonic()
    for thread in [*listeners, *senders]:
        thread.start()
    for sender in senders:
        sender.join()
    pipe.send((began, time.monotonic()))
    pipe.recv()  # stay and hear receipts until told to end
    ended.set()
    for listener in listeners:
        listener.join()
    pipe.send(sum(heard))


def chunks_of(flood: Flood, devices: Sequence[int]) -> Iterator[bytes | bytearray]:
    """All messages of some devices, one round a chunk; packs are made before the first is asked for."""
    if flood.kind == "pack":
        return iter(pack_chunks(flood, devices))
    return json_chunks(flood, devices)


def count_bytes(sock: socket.socket, ended: threading.Event) -> int:
    """Read and count what comes until told to end."""
    heard = 0
    while not ended.is_set():
        # No timeout on the socket itself: it would cut short a send that the broker holds back.
        if not select.select([sock], [], [], 0.2)[0]:
            continue
        data = sock.recv(1 << 16)
        if not data:
            break
        heard += len(data)
    return heard
