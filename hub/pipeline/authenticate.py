"""Stage 2, authenticate: from topic to device slot, without a Python string.

1. The broker has bound topics to client certificates; this stage trusts that and checks the rest: form, shard, device.
2. The hash table is verified by full comparison, so no collision can mix two devices.
3. A frame that fails keeps slot 0 and says why; later stages pass it over.
"""

from copy import copy

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hub.pipeline.frames import U8, U32, Frames

_ID = 16  # bytes of a device id
_PRESENCE = np.frombuffer(b"presence", np.uint8)


@njit("u8(u1[:], i8)", cache=True, nogil=True)
def _hash_id(data, at):  # type: ignore[no-untyped-def]
    """FNV-1a over the two 8-byte halves, finished with a multiply-shift (ids are random already)."""
    low = np.uint64(0)
    high = np.uint64(0)
    for i in range(8):
        low |= np.uint64(data[at + i]) << np.uint64(8 * i)
        high |= np.uint64(data[at + 8 + i]) << np.uint64(8 * i)
    h = low * np.uint64(0x9E3779B97F4A7C15)
    h ^= high * np.uint64(0xC2B2AE3D27D4EB4F)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(32))


@njit("void(u1[:, ::1], i8[::1], u4[::1])", cache=True, nogil=True)
def _add_devices(ids, slots, table):  # type: ignore[no-untyped-def]
    mask = np.uint64(table.size - 1)
    flat = ids.reshape(-1)
    for slot in slots:
        at = _hash_id(flat, slot * 16) & mask
        while table[at] != 0:
            at = (at + np.uint64(1)) & mask
        table[at] = slot


@njit(
    "void(u1[::1], i8, i8[::1], i8[::1], u1[::1], u1[:, ::1], u1[:, ::1], u4[::1], u4[::1], u1[::1], u1[::1])",
    cache=True,
    nogil=True,
)
def authenticate_topics(  # type: ignore[no-untyped-def]
    buffer,
    count,
    topic,
    topic_size,
    root,
    ids,
    shards,
    table,
    slot,
    auth,
    channel,
):
    """Resolve `root/ss/dddddddddddddddd/up/channel` for every frame."""
    mask = np.uint64(table.size - 1)
    flat = ids.reshape(-1)
    r = root.size
    for i in range(count):
        slot[i] = 0
        auth[i] = 1
        channel[i] = 0
        at = topic[i]
        size = topic_size[i]
        rest = size - (r + 24)  # root "/" ss "/" id "/up/" = r + 1 + 2 + 1 + 16 + 4
        if rest < 1:
            continue
        same = True
        for k in range(r):
            same &= buffer[at + k] == root[k]
        at += r
        same &= buffer[at] == 47 and buffer[at + 3] == 47 and buffer[at + 20] == 47
        same &= buffer[at + 21] == 117 and buffer[at + 22] == 112 and buffer[at + 23] == 47
        if not same:
            continue
        first = buffer[at + 24]
        if rest == 1 and first == 116:
            channel[i] = 1
        elif rest == 4 and first == 106:
            if buffer[at + 25] == 115 and buffer[at + 26] == 111 and buffer[at + 27] == 110:
                channel[i] = 2
        elif (
            rest == 5
            and first == 115
            and buffer[at + 25] == 101
            and buffer[at + 26] == 110
            and buffer[at + 27] == 109
            and buffer[at + 28] == 108
        ):
            channel[i] = 3
        elif rest == 8:
            same = True
            for k in range(8):
                same &= buffer[at + 24 + k] == _PRESENCE[k]
            if same:
                channel[i] = 4
        if channel[i] == 0:
            continue
        auth[i] = 2
        key = at + 4
        probe = _hash_id(buffer, key) & mask
        found = np.uint32(0)
        while table[probe] != 0:
            candidate = np.int64(table[probe])
            equal = True
            for k in range(16):
                equal &= flat[candidate * 16 + k] == buffer[key + k]
            if equal:
                found = table[probe]
                break
            probe = (probe + np.uint64(1)) & mask
        if found == 0:
            continue
        if shards[found, 0] != buffer[at + 1] or shards[found, 1] != buffer[at + 2]:
            auth[i] = 3
            continue
        slot[i] = found
        auth[i] = 0


class Authenticator:
    """Topic to slot for the devices of one gate snapshot.

    Args:
        device_id: u8[N, 16], row = slot, zeros where unused (row 0 always).
        shard: u8[N, 2], the two hex digits that belong to each device.
        root: topic root, e.g. `hp/1`.
    """

    def __init__(self, device_id: NDArray[np.uint8], shard: NDArray[np.uint8], root: str) -> None:
        self._ids: U8 = np.ascontiguousarray(device_id)
        self._shards: U8 = np.ascontiguousarray(shard)
        self._table: U32 = np.zeros(_table_size(device_id.shape[0]), np.uint32)
        self._root: U8 = np.frombuffer(bytearray(root.encode()), np.uint8)
        self.learn(np.flatnonzero(self._ids[:, 0]))

    def learn(self, slots: NDArray[np.int64]) -> None:
        """Take in devices that came into `device_id` and `shard` since; i64[K], none known yet."""
        _add_devices(self._ids, slots, self._table)

    def moved(
        self,
        device_id: NDArray[np.uint8],
        shard: NDArray[np.uint8],
        slots: NDArray[np.int64],
    ) -> "Authenticator | None":
        """Return one over other arrays that hold the same devices and new ones in `slots`.

        It takes over the hash table, so this one must not be used any more. `None` if the table is
        not of the size that so many slots need.
        """
        if self._table.size != _table_size(device_id.shape[0]):
            return None
        other = copy(self)
        other._ids, other._shards = device_id, shard  # noqa: SLF001  a copy of this one
        other.learn(slots)
        return other

    def authenticate(self, frames: Frames) -> None:
        """Fill `slot`, `auth` and `channel` of every frame."""
        f = frames
        authenticate_topics(
            f.buffer,
            f.count,
            f.topic,
            f.topic_size,
            self._root,
            self._ids,
            self._shards,
            self._table,
            f.slot,
            f.auth,
            f.channel,
        )


def _table_size(slots: int) -> int:
    size = 16
    while size < 2 * slots:
        size *= 2
    return size
