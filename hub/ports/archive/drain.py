"""A file that is read away while it is written, for formats that are sent as they are made."""

import io
from typing import Any


class Drain(io.RawIOBase):
    """Keeps what was written until it is asked for; it cannot be sought."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def write(self, data: Any) -> int:
        """Take some bytes."""
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        """Return how much was written so far."""
        return self._length

    def drained(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
