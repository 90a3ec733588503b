"""One name for a row on its way from the device to everybody who is told of it.

A row's identity (device, stream, seq) is on the wire anyway, so nobody has to carry another one: whoever has
the row can name it, and all give it the same name. A pack goes by its first row.
"""

import hashlib


def trace_id(device_id: str, stream: bytes, seq: int) -> str:
    """Return the trace id of a row: 32 hexadecimal digits, as W3C Trace Context wants them.

    Args:
        device_id: the device.
        stream: its stream, 8 bytes.
        seq: number of the row in the stream.
    """
    identity = f"homeport/row/{device_id}/{stream.hex()}/{seq}"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
