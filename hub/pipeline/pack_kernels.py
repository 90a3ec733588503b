"""The kernels for packs: CBOR heads, typed arrays, presence maps, to rows in columns.

1. They decode only what is plainly right; for anything else they return -1 or False and the reference decoder decides.
2. Nothing is read outside the payload: every position is checked against its end before it is used.
Sources: RFC 8949 (CBOR), RFC 8746 (typed arrays), docs/wire.md (pack).
"""

import numpy as np
from numba import njit

from hub.pipeline.metric_table import find_metric, name_equals

MAX_METRICS = 64
_MAX_PACK = 262_144
_MAX_ROWS = 8192
_I64_SAFE = 9.2e18


@njit("Tuple((i8, i8, i8))(u1[::1], i8, i8)", cache=True, nogil=True)
def _cbor_head(data, at, end):  # type: ignore[no-untyped-def]
    """Head of a CBOR item: (major type, argument, position behind it); position -1 for what is not plain."""
    if at >= end:
        return np.int64(0), np.int64(0), np.int64(-1)
    first = np.int64(data[at])
    major = first >> 5
    small = first & 31
    if small < 24:
        return major, small, at + 1
    if small > 27:
        return major, np.int64(0), np.int64(-1)
    size = np.int64(1) << (small - 24)
    if at + 1 + size > end:
        return major, np.int64(0), np.int64(-1)
    argument = np.int64(0)
    for i in range(size):
        argument = (argument << 8) | np.int64(data[at + 1 + i])
    if argument < 0:
        return major, np.int64(0), np.int64(-1)
    return major, argument, at + 1 + size


@njit("u8(u1[::1], u8)", cache=True, nogil=True)
def _load_8(data, at):  # type: ignore[no-untyped-def]
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(data[at + np.uint64(i)]) << np.uint64(8 * i)
    return word


@njit("u4(u1[::1], u8)", cache=True, nogil=True)
def _load_4(data, at):  # type: ignore[no-untyped-def]
    word = np.uint32(0)
    for i in range(4):
        word |= np.uint32(data[at + np.uint64(i)]) << np.uint32(8 * i)
    return word


@njit("i8(u1[::1], i8, i8, i8[::1])", cache=True, nogil=True)
def pack_head(data, at, end, head):  # type: ignore[no-untyped-def]
    """Keys 0 to 9 of a pack into `head`; returns the position of the metrics' array, or -1 for fallback.

    `head`: stream, first seq, epoch, clock, historical, time base, offsets' position, offset size, unit, rows.
    """
    if end - at > _MAX_PACK:
        return np.int64(-1)
    major, entries, at = _cbor_head(data, at, end)
    if at < 0 or major != 5 or entries < 10 or entries > 11:
        return np.int64(-1)
    head[8] = 1
    for expected in range(11):
        major, key, at = _cbor_head(data, at, end)
        if expected == 9 and major == 0 and key == 10:  # no unit given
            return at if entries == 10 else np.int64(-1)
        if at < 0 or major != 0 or key != expected:
            return np.int64(-1)
        if expected == 10:
            return at if entries == 11 else np.int64(-1)
        major, argument, at = _cbor_head(data, at, end)
        if at < 0:
            return np.int64(-1)
        if expected in (1, 4):
            if major != 2 or argument != 8 or at + 8 > end:
                return np.int64(-1)
            if expected == 1:
                for i in range(8):
                    head[0] = (head[0] << 8) | np.int64(data[at + i])
            at += 8
        elif expected == 6:
            if (
                major != 7
                or (argument != 20 and argument != 21)
                or data[at - 1] < 0xF4
                or data[at - 1] > 0xF5
            ):
                return np.int64(-1)
            head[4] = argument - 20
        elif expected == 7:
            if major > 1:
                return np.int64(-1)
            head[5] = argument if major == 0 else -1 - argument
        elif expected == 8:
            if major != 6 or (argument != 78 and argument != 79):
                return np.int64(-1)
            head[7] = 4 if argument == 78 else 8
            major, size, at = _cbor_head(data, at, end)
            if at < 0 or major != 2 or at + size > end or size % head[7] != 0:
                return np.int64(-1)
            head[6] = at
            head[9] = size // head[7]
            at += size
        else:
            if major != 0:
                return np.int64(-1)
            if expected == 0 and argument != 1:
                return np.int64(-1)
            if expected == 2:
                head[1] = argument
            elif expected == 3:
                head[2] = argument
            elif expected == 5:
                head[3] = argument
            elif expected == 9:
                head[8] = argument
    return np.int64(-1)


@njit("b1(i8[::1])", cache=True, nogil=True)
def pack_head_is_plain(head):  # type: ignore[no-untyped-def]
    """Whether rows, epoch, clock and unit are in range; the reference says what is wrong if not."""
    return (
        1 <= head[9] <= _MAX_ROWS
        and head[2] <= 0xFFFFFFFF
        and head[3] <= 2
        and 1 <= head[8] <= 1_000_000_000_000
        and head[1] < (np.int64(1) << 62)
    )


@njit("b1(u1[::1], i8[::1], i8, i8[::1])", cache=True, nogil=True)
def pack_times(data, head, row, raw_time):  # type: ignore[no-untyped-def]
    """Times of the rows at `row`; False where one may leave int64."""
    base = head[5]
    unit = head[8]
    at = np.uint64(head[6])
    base_f = np.float64(base)
    for i in range(head[9]):
        if head[7] == 4:
            offset = np.int64(np.int32(_load_4(data, at)))
            at += np.uint64(4)
        else:
            offset = np.int64(_load_8(data, at))
            at += np.uint64(8)
        if abs(base_f + np.float64(offset) * np.float64(unit)) > _I64_SAFE:
            return False
        if abs(np.float64(offset) * np.float64(unit)) > _I64_SAFE:
            return False
        raw_time[row + i] = base + offset * unit
    return True


@njit(
    "i8(u1[::1], i8, i8, i8, i8, u1[:, ::1], i8[::1], i8[::1], u2[::1], i8[::1], i8[::1], i8[:, ::1])",
    cache=True,
    nogil=True,
)
def pack_metrics(  # type: ignore[no-untyped-def]
    data,
    at,
    end,
    rows,
    model,
    names,
    sizes,
    models,
    index,
    table,
    guess,
    spans,
):
    """Find each metric's values; `spans` gets metric index, type tag, values' position, presence's position (0: all).

    Returns:
        Number of metrics; -1 for fallback.
    """
    major, count, at = _cbor_head(data, at, end)
    if at < 0 or major != 4 or count < 1 or count > MAX_METRICS:
        return np.int64(-1)
    for m in range(count):
        major, parts, at = _cbor_head(data, at, end)
        if at < 0 or major != 4 or parts != 3:
            return np.int64(-1)
        major, size, at = _cbor_head(data, at, end)
        if at < 0 or major != 3 or at + size > end:
            return np.int64(-1)
        row = guess[m]
        if row < 0 or models[row] != model or not name_equals(data, at, size, names, sizes, row):
            row = find_metric(data, at, size, model, names, sizes, models, table)
            if row < 0:
                return np.int64(-1)
            guess[m] = row
        for k in range(m):
            if spans[k, 0] == index[row]:
                return np.int64(-1)
        spans[m, 0] = index[row]
        major, tag, at = _cbor_head(data, at + size, end)
        if at < 0 or major != 6:
            return np.int64(-1)
        if tag == 86 or tag == 79:
            width = 8
        elif tag == 85 or tag == 78:
            width = 4
        elif tag == 77:
            width = 2
        else:
            return np.int64(-1)
        spans[m, 1] = tag
        major, size, at = _cbor_head(data, at, end)
        if at < 0 or major != 2 or at + size > end:
            return np.int64(-1)
        spans[m, 2] = at
        at += size
        if at >= end:
            return np.int64(-1)
        present = rows
        if data[at] == 0xF6:
            spans[m, 3] = 0
            at += 1
        else:
            major, bits, at = _cbor_head(data, at, end)
            if at < 0 or major != 2 or bits != (rows + 7) // 8 or at + bits > end:
                return np.int64(-1)
            spans[m, 3] = at
            present = 0
            for i in range(bits):
                byte = np.int64(data[at + i])
                while byte:
                    byte &= byte - 1
                    present += 1
            if rows & 7 and np.int64(data[at + bits - 1]) >> (rows & 7):
                return np.int64(-1)
            at += bits
        if size != present * width:
            return np.int64(-1)
    return count if at == end else np.int64(-1)


@njit(
    "b1(u1[::1], i8, i8, i8[:, ::1], i8, i8, u4[::1], u2[::1], f8[::1], u8[::1], u4[::1], f4[::1])",
    cache=True,
    nogil=True,
)
def pack_values(  # type: ignore[no-untyped-def]
    data,
    rows,
    metrics,
    spans,
    row,
    sample,
    width,
    metric,
    value,
    bits,
    word,
    single,
):
    """Transpose the metrics' arrays to samples by row; `width[row + i]` holds each row's samples already.

    `bits` is `value` seen as u64; `word` and `single` are one 4-byte cell seen as u32 and f32.
    Returns False where a value is not finite (the reference rejects that row and keeps its neighbours).
    """
    exponent = np.uint64(0x7FF0000000000000)
    for m in range(metrics):
        tag = spans[m, 1]
        at = np.uint64(spans[m, 2])
        presence = spans[m, 3]
        to = sample
        for i in range(rows):
            here = to
            to += np.int64(width[row + i])
            if presence and not (data[presence + (i >> 3)] >> np.uint8(i & 7)) & 1:
                continue
            # The place within the row is the number of its samples already written, kept behind the metrics' count.
            place = m
            if presence or spans[m, 4]:
                place = 0
                for k in range(m):
                    p = spans[k, 3]
                    if p == 0 or (data[p + (i >> 3)] >> np.uint8(i & 7)) & 1:
                        place += 1
            cell = here + place
            metric[cell] = spans[m, 0]
            if tag == 86:
                raw = _load_8(data, at)
                at += np.uint64(8)
                if raw & exponent == exponent:
                    return False
                bits[cell] = raw
            elif tag == 85:
                word[0] = _load_4(data, at)
                at += np.uint64(4)
                if word[0] & np.uint32(0x7F800000) == np.uint32(0x7F800000):
                    return False
                value[cell] = np.float64(single[0])
            elif tag == 79:
                value[cell] = np.float64(np.int64(_load_8(data, at)))
                at += np.uint64(8)
            elif tag == 78:
                value[cell] = np.float64(np.int32(_load_4(data, at)))
                at += np.uint64(4)
            else:
                low = np.uint16(data[at]) | (np.uint16(data[at + np.uint64(1)]) << np.uint16(8))
                value[cell] = np.float64(np.int16(low))
                at += np.uint64(2)
    return True


@njit("i8(u1[::1], i8, i8, i8[:, ::1], i8, u4[::1])", cache=True, nogil=True)
def pack_widths(data, rows, metrics, spans, row, width):  # type: ignore[no-untyped-def]
    """Samples of each row into `width`; returns their sum, or -1 where a row has none (malformed)."""
    sparse = 0
    for m in range(metrics):
        spans[m, 4] = sparse  # whether an earlier metric is absent somewhere
        if spans[m, 3]:
            sparse = 1
    if not sparse:
        for i in range(rows):
            width[row + i] = metrics
        return rows * metrics
    total = np.int64(0)
    for i in range(rows):
        n = 0
        for m in range(metrics):
            p = spans[m, 3]
            if p == 0 or (data[p + (i >> 3)] >> np.uint8(i & 7)) & 1:
                n += 1
        if n == 0:
            return np.int64(-1)
        width[row + i] = n
        total += n
    return total
