"""The payload of a beat: where a worker's time stood, so that two beats tell what passed between them.

1. The hub's time may be set or moved ahead; how long a machine has been up cannot. Between two beats of one
   boot only that counts, whatever processes wrote them.
2. Over a boot the world's time counts, never the hub's.
3. A beat without payload (of an older hub) tells nothing.
"""

import struct
from typing import NamedTuple

from hub.ports.journal.block import Buffer

_LAYOUT = struct.Struct("<16sqq")
BOOT_SIZE = 16
BEAT_SIZE = _LAYOUT.size


class Beat(NamedTuple):
    """The time of a machine.

    Args:
        boot: 16 bytes, others after each boot.
        up_ns: how long it has been up since.
        world_ns: the world's time, ns since 1970 UTC.
    """

    boot: bytes
    up_ns: int
    world_ns: int

    def encode(self) -> bytes:
        """Return the payload."""
        return _LAYOUT.pack(*self)

    def since(self, before: "Beat") -> int:
        """Return how long (ns) after an earlier beat this one was; 0 if that cannot be told."""
        if self.boot == before.boot:
            return max(self.up_ns - before.up_ns, 0)
        return max(self.world_ns - before.world_ns, 0)


def decode_beat(payload: Buffer) -> Beat | None:
    """Return what a beat tells; `None`: nothing."""
    return Beat(*_LAYOUT.unpack(payload)) if len(payload) == BEAT_SIZE else None
