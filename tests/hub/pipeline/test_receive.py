"""Frames out of a byte stream, and a receiver against a broker of sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.pipeline.frames import Frames
from hub.pipeline.receive import LinkAddress, LinkError, Receiver, scan_frames


def publish(topic: bytes, payload: bytes, qos: int = 0) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (b"\x00\x01" if qos else b"") + payload
    size, head = len(body), bytearray([0x30 | qos << 1])
    while True:
        size, digit = divmod(size, 128)
        head.append(digit | (128 if size else 0))
        if not size:
            return bytes(head) + body


def scan(data: bytes, limit: int = 100) -> tuple[list[tuple[bytes, bytes]], int, int]:
    f = Frames(np.frombuffer(bytearray(data or b"\0"), np.uint8), limit)
    count, position, broken, _ = scan_frames(
        f.buffer, 0, len(data), limit, f.topic, f.topic_size, f.payload, f.payload_size
    )
    found = []
    for i in range(count):
        topic = data[f.topic[i] : f.topic[i] + f.topic_size[i]]
        found.append((topic, data[f.payload[i] : f.payload[i] + f.payload_size[i]]))
    return found, position, broken


messages = st.lists(
    st.tuples(st.binary(max_size=40), st.binary(max_size=300), st.sampled_from([0, 1])), max_size=8
)


@given(messages, st.integers(0, 3000))
def test_finds_every_whole_message_and_stops_before_a_cut_one(
    sent: list[tuple[bytes, bytes, int]], cut: int
) -> None:
    packets = [publish(topic, payload, qos) for topic, payload, qos in sent]
    data = b"".join(packets)[:cut]
    whole, size = [], 0
    for (topic, payload, _), packet in zip(sent, packets, strict=True):
        if size + len(packet) > len(data):
            break
        whole.append((topic, payload))
        size += len(packet)
    assert scan(data) == (whole, size, 0)


def test_passes_over_acknowledgements_and_ping_answers() -> None:
    data = b"\xd0\x00" + publish(b"t", b"x") + b"\x90\x03\x00\x01\x00" + publish(b"t", b"y")
    assert scan(data) == ([(b"t", b"x"), (b"t", b"y")], len(data), 0)


def test_stops_at_the_limit_of_a_batch() -> None:
    one = publish(b"t", b"x")
    assert scan(one * 5, limit=3) == ([(b"t", b"x")] * 3, 3 * len(one), 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x10\x00",  # CONNECT: nothing a broker sends
        b"\x30\x01\x00",  # shorter than a topic length
        b"\x30\x03\x00\x05a",  # topic longer than the packet
        b"\x30\xff\xff\xff\xff\x01",  # remaining length of five bytes
    ],
)
def test_reports_a_frame_that_breaks_the_protocol(data: bytes) -> None:
    found, position, broken = scan(data)
    assert (found, position) == ([], 0)
    assert broken != 0


@given(st.binary(max_size=200))
def test_garbage_never_reads_outside_its_bounds(data: bytes) -> None:
    found, position, _ = scan(data)
    assert 0 <= position <= len(data)
    assert sum(len(t) + len(p) for t, p in found) <= position


class Broker:
    """A listening socket that speaks the four packets a subscriber needs."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connection: socket.socket | None = None
        self.accepted = threading.Event()
        self.greeting = b"\x20\x02\x00\x00"
        self.acknowledgement = b"\x90\x03\x00\x01\x00"
        self.received = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the test is over
            while True:
                self.connection, _ = self.listener.accept()
                self.received += self.connection.recv(4096)
                self.connection.sendall(self.greeting)
                self.received += self.connection.recv(4096)
                self.connection.sendall(self.acknowledgement)
                self.accepted.set()

    def address(self) -> LinkAddress:
        return LinkAddress("127.0.0.1", self.port, "hub-ingest-0")


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.listener.close()
    if broker.connection is not None:
        broker.connection.close()


def collect(receiver: Receiver, wanted: int) -> list[bytes]:
    got: list[bytes] = []
    for turn in range(200):
        frames = receiver.receive(float(turn) / 1000, 0.05, 0.0)
        got += [frames.payload_bytes(i) for i in range(frames.count)]
        if len(got) >= wanted:
            return got
    return got


def test_messages_split_anywhere_arrive_whole_and_in_order(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+"], capacity=4096, messages=7)
    receiver.connect()
    assert broker.accepted.wait(120)
    assert broker.connection is not None
    payloads = [bytes([i]) * (i * 13 % 900) for i in range(60)]
    data = b"".join(publish(b"a/b", payload) for payload in payloads)

    def send() -> None:
        for start in range(0, len(data), 97):
            assert broker.connection is not None
            broker.connection.sendall(data[start : start + 97])

    sender = threading.Thread(target=send)
    sender.start()
    assert collect(receiver, len(payloads)) == payloads
    sender.join()
    receiver.close()


def test_subscribes_at_qos_0_with_a_clean_session_under_its_own_name(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+", "b/#"])
    receiver.connect()
    assert broker.accepted.wait(120)
    assert broker.received.startswith(b"\x10\x18\x00\x04MQTT\x04\x02\x00\x1e\x00\x0chub-ingest-0")
    assert broker.received.endswith(b"\x00\x03a/+\x00\x00\x03b/#\x00")
    receiver.close()


def test_what_was_delivered_before_the_acknowledgement_is_dropped(broker: Broker) -> None:
    broker.acknowledgement = (
        publish(b"a/b", b"early" * 100) + b"\x90\x03\x00\x01\x00" + publish(b"a/b", b"late")
    )
    receiver = Receiver(broker.address(), ["a/+"])
    receiver.connect()
    assert collect(receiver, 1) == [b"late"]
    receiver.close()


def test_a_refused_connection_says_who_was_refused(broker: Broker) -> None:
    broker.greeting = b"\x20\x02\x00\x05"
    with pytest.raises(LinkError, match="refused hub-ingest-0"):
        Receiver(broker.address(), ["a/+"]).connect()


def test_a_refused_subscription_is_an_error(broker: Broker) -> None:
    broker.acknowledgement = b"\x90\x03\x00\x01\x80"
    with pytest.raises(LinkError, match="refused a subscription"):
        Receiver(broker.address(), ["a/+"]).connect()


def test_no_broker_is_a_link_error_that_names_the_place() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LinkError, match=f"127.0.0.1:{port}"):
        Receiver(LinkAddress("127.0.0.1", port, "x"), ["a"]).connect()


def test_another_address_of_the_broker_is_tried_when_the_first_does_not_answer(
    broker: Broker,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = listener.getsockname()[1]
    address = LinkAddress("127.0.0.1", gone, "x", others=(("127.0.0.1", broker.port),))
    receiver = Receiver(address, ["a/+"])
    receiver.connect()
    assert receiver.connected
    receiver.close()
    both = LinkAddress("127.0.0.1", gone, "x", others=(("127.0.0.1", gone),))
    with pytest.raises(LinkError, match=f"{gone}.*{gone}"):
        Receiver(both, ["a/+"]).connect()
    assert not receiver.connected


def test_a_closed_connection_is_a_link_error(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+"])
    receiver.connect()
    assert broker.accepted.wait(120)
    assert broker.connection is not None
    broker.connection.close()
    with pytest.raises(LinkError):
        collect(receiver, 1)


def test_sending_on_a_broken_connection_is_told_by_the_next_receive(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+"])
    receiver.connect()
    assert broker.accepted.wait(120)
    assert broker.connection is not None
    broker.connection.close()
    for _ in range(50):
        receiver.send(bytes(100_000))
    with pytest.raises(LinkError):
        collect(receiver, 1)


def test_pings_a_quiet_broker_and_gives_up_on_a_dead_one(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+"], keepalive_s=30)
    receiver.connect()
    assert broker.accepted.wait(120)
    receiver.receive(100.0, 0.0, 0.0)
    assert broker.connection is not None
    assert broker.connection.recv(2) == b"\xc0\x00"
    receiver.receive(120.0, 0.0, 0.0)
    with pytest.raises(LinkError, match="silent"):
        receiver.receive(200.0, 0.0, 0.0)


def test_a_message_larger_than_the_buffer_is_a_link_error(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+"], capacity=1024)
    receiver.connect()
    assert broker.accepted.wait(120)
    assert broker.connection is not None
    broker.connection.sendall(publish(b"a/b", bytes(2000)))
    with pytest.raises(LinkError, match="exceeds the receive buffer"):
        collect(receiver, 1)


def test_a_ping_without_an_answer_tells_how_far_behind_it_is(broker: Broker) -> None:
    receiver = Receiver(broker.address(), ["a/+"])
    receiver.connect()
    assert broker.connection is not None
    receiver.receive(100.0, 0.0, 0.0)
    assert broker.connection.recv(2) == b"\xc0\x00"
    assert receiver.lag_s(100.5) == 0.5
    broker.connection.sendall(publish(b"a/b", b"x"))
    assert receiver.receive(103.0, 5.0, 0.0).count == 1
    assert (
        receiver.lag_s(103.0) == 3.0
    )  # the answer waits behind deliveries: no other ping till then
    broker.connection.sendall(b"\xd0\x00")
    receiver.receive(103.5, 5.0, 0.0)
    assert receiver.lag_s(104.0) == 0.0
    receiver.receive(104.5, 0.0, 0.0)
    assert broker.connection.recv(2) == b"\xc0\x00"
    receiver.close()
    assert receiver.lag_s(200.0) == 0.0
