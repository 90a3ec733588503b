"""MQTT 3.1.1 packets as the hub writes them (OASIS MQTT 3.1.1, sections 2.2 and 3.3).

1. QoS 0 only: no packet here carries an identifier but SUBSCRIBE, which must.
2. Bulk receipts are written by a kernel of their own, byte for byte alike.
"""

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

_CLEAN_SESSION = 0x02


def packet(first: int, body: bytes) -> bytes:
    """A control packet: its first byte, the length of its body, its body."""
    size, head = len(body), bytearray([first])
    while True:
        size, digit = divmod(size, 128)
        head.append(digit | (128 if size else 0))
        if not size:
            return bytes(head) + body


def text(value: bytes) -> bytes:
    """A string in a packet: its length and its UTF-8 bytes."""
    return len(value).to_bytes(2, "big") + value


def connect(client_id: str, keepalive_s: int) -> bytes:
    """CONNECT with a clean session."""
    head = text(b"MQTT") + bytes([4, _CLEAN_SESSION]) + keepalive_s.to_bytes(2, "big")
    return packet(0x10, head + text(client_id.encode()))


def subscribe(filters: list[str]) -> bytes:
    """SUBSCRIBE to topic filters at QoS 0."""
    wanted = b"".join(text(name.encode()) + b"\x00" for name in filters)
    return packet(0x82, (1).to_bytes(2, "big") + wanted)


def publish(topic: bytes, payload: bytes) -> bytes:
    """PUBLISH at QoS 0."""
    return packet(0x30, text(topic) + payload)
