"""Kernels of the decode stage: flat JSON and packs from bytes to columns, without copies or Python objects.

1. A kernel decodes only what is plainly right; anything unusual it hands to the reference decoder
   (`device_sdk.wire`), which alone decides what is an error. So the two can never disagree on a rejection.
2. What a kernel does decode equals the reference bit for bit (tests/hub/pipeline holds them together).
3. Rows are appended in the order of arrival; a frame that does not fit leaves no trace.
Sources: RFC 8259 (JSON), RFC 8949 (CBOR), RFC 8746 (typed arrays); exact decimal to double for mantissas up to
2^53 and powers of ten up to 22: Clinger, "How to read floating point numbers accurately", 1990, fast path.
"""

import numpy as np
from numba import njit

from hub.pipeline.metric_table import find_metric, name_equals

DONE, FALLBACK, GROW = 0, 1, 2

_MAX_METRICS = 64
_MAX_JSON = 8192
_MAX_PACK = 262_144
_MAX_ROWS = 8192
_EXACT = np.int64(1) << 53
_TENS = np.array([10.0**i for i in range(23)])
_I64_SAFE = 9.2e18


@njit("i8(u1[::1], i8, i8)", cache=True, nogil=True)
def _skip_space(data, at, end):  # type: ignore[no-untyped-def]
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@njit("Tuple((i8, i8, i8, b1))(u1[::1], i8, i8)", cache=True, nogil=True)
def _number(data, at, end):  # type: ignore[no-untyped-def]
    """A JSON number as (position behind it or -1, mantissa, power of ten, negative)."""
    negative = False
    if at < end and data[at] == 45:
        negative = True
        at += 1
    start = at
    mantissa = np.int64(0)
    power = np.int64(0)
    digits = 0
    while at < end and 48 <= data[at] <= 57:
        mantissa = mantissa * 10 + (np.int64(data[at]) - 48)
        digits += 1
        at += 1
        if digits > 17:
            return np.int64(-1), np.int64(0), np.int64(0), False
    if digits == 0 or (digits > 1 and data[start] == 48):
        return np.int64(-1), np.int64(0), np.int64(0), False
    if at < end and data[at] == 46:
        at += 1
        before = at
        while at < end and 48 <= data[at] <= 57:
            mantissa = mantissa * 10 + (np.int64(data[at]) - 48)
            digits += 1
            at += 1
            if digits > 17:
                return np.int64(-1), np.int64(0), np.int64(0), False
        if at == before:
            return np.int64(-1), np.int64(0), np.int64(0), False
        power = before - at
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        down = False
        if at < end and (data[at] == 43 or data[at] == 45):
            down = data[at] == 45
            at += 1
        before = at
        exponent = np.int64(0)
        while at < end and 48 <= data[at] <= 57 and at - before < 4:
            exponent = exponent * 10 + (np.int64(data[at]) - 48)
            at += 1
        if at == before or at - before == 4:
            return np.int64(-1), np.int64(0), np.int64(0), False
        power += -exponent if down else exponent
    return at, mantissa, power, negative


@njit("Tuple((b1, f8))(i8, i8, b1)", cache=True, nogil=True)
def _exact_double(mantissa, power, negative):  # type: ignore[no-untyped-def]
    """The correctly rounded double, where the fast path gives it."""
    if mantissa > _EXACT or power > 22 or power < -22 or (negative and mantissa == 0):
        return False, 0.0  # the sign of zero depends on how it was written
    value = np.float64(mantissa)
    if power >= 0:
        value *= _TENS[power]
    else:
        value /= _TENS[-power]
    return True, -value if negative else value


@njit("Tuple((b1, i8))(i8, i8, b1)", cache=True, nogil=True)
def _exact_ns(mantissa, power, negative):  # type: ignore[no-untyped-def]
    """Seconds as a decimal to whole ns, where that is exact and fits."""
    power += 9
    if power < 0 or (mantissa != 0 and power > 18):
        return False, np.int64(0)
    if mantissa != 0 and np.float64(mantissa) * 10.0 ** np.float64(power) > _I64_SAFE:
        return False, np.int64(0)
    ns = mantissa
    if mantissa != 0:
        for _ in range(power):
            ns *= 10
    return True, -ns if negative else ns


@njit(
    "i8(u1[::1], i8, i8, i8, i8, i8, u1[:, ::1], i8[::1], i8[::1], u2[::1], i8[::1], i8[::1],"
    " i8[::1], i8, u2[::1], f8[::1])",
    cache=True,
    nogil=True,
)
def _decode_json(  # type: ignore[no-untyped-def]
    data,
    at,
    end,
    model,
    received,
    samples,
    names,
    sizes,
    models,
    index,
    table,
    guess,
    head,
    capacity,
    metric,
    value,
):
    """One flat JSON object to samples at `samples`; `head` gets time, stream, seq and whether it has an identity.

    Returns:
        Number of samples; -1 for fallback.
    """
    if end - at > _MAX_JSON:
        return np.int64(-1)
    n = np.int64(0)
    time = received
    stream = np.int64(0)
    seq = np.int64(0)
    seen = 0  # bit 0: t, bit 1: s, bit 2: q
    at = _skip_space(data, at, end)
    if at >= end or data[at] != 123:
        return np.int64(-1)
    at += 1
    while True:
        at = _skip_space(data, at, end)
        if at >= end or data[at] != 34:
            return np.int64(-1)
        at += 1
        name = at
        while at < end and data[at] != 34:
            if data[at] < 32 or data[at] > 126 or data[at] == 92:
                return np.int64(-1)
            at += 1
        size = at - name
        at = _skip_space(data, at + 1, end)
        if at >= end or data[at] != 58:
            return np.int64(-1)
        at = _skip_space(data, at + 1, end)
        if size == 1 and data[name] == 115:
            if seen & 2 or at + 18 > end or data[at] != 34 or data[at + 17] != 34:
                return np.int64(-1)
            for i in range(1, 17):
                c = np.int64(data[at + i])
                if 48 <= c <= 57:
                    c -= 48
                elif 97 <= c <= 102:
                    c -= 87
                else:
                    return np.int64(-1)
                stream = (stream << 4) | c
            seen |= 2
            at += 18
        else:
            start = at
            at, mantissa, power, negative = _number(data, at, end)
            if at < 0:
                return np.int64(-1)
            if size == 1 and data[name] == 113:
                if seen & 4 or negative:
                    return np.int64(-1)
                for i in range(start, at):  # digits only: neither 1.0 nor 1e0
                    if data[i] < 48 or data[i] > 57:
                        return np.int64(-1)
                seq = mantissa
                seen |= 4
            elif size == 1 and data[name] == 116:
                fits, time = _exact_ns(mantissa, power, negative)
                if seen & 1 or not fits:
                    return np.int64(-1)
                seen |= 1
            else:
                row = guess[n & 63]
                if (
                    row < 0
                    or models[row] != model
                    or not name_equals(data, name, size, names, sizes, row)
                ):
                    row = find_metric(data, name, size, model, names, sizes, models, table)
                    if row < 0:
                        return np.int64(-1)
                    guess[n & 63] = row
                if n == _MAX_METRICS or samples + n >= capacity:
                    return np.int64(-1)
                exact, number = _exact_double(mantissa, power, negative)
                if not exact:
                    return np.int64(-1)
                for i in range(samples, samples + n):
                    if metric[i] == index[row]:
                        return np.int64(-1)
                metric[samples + n] = index[row]
                value[samples + n] = number
                n += 1
        at = _skip_space(data, at, end)
        if at >= end:
            return np.int64(-1)
        if data[at] == 125:
            break
        if data[at] != 44:
            return np.int64(-1)
        at += 1
    at = _skip_space(data, at + 1, end)
    identity = seen & 6
    if at != end or n == 0 or (identity != 0 and identity != 6):
        return np.int64(-1)
    head[0] = time
    head[1] = stream
    head[2] = seq
    head[3] = identity != 0
    return n


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
def _pack_head(data, at, end, head):  # type: ignore[no-untyped-def]
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
def _pack_head_is_plain(head):  # type: ignore[no-untyped-def]
    """Whether rows, epoch, clock and unit are in range; the reference says what is wrong if not."""
    return (
        1 <= head[9] <= _MAX_ROWS
        and head[2] <= 0xFFFFFFFF
        and head[3] <= 2
        and 1 <= head[8] <= 1_000_000_000_000
        and head[1] < (np.int64(1) << 62)
    )


@njit("b1(u1[::1], i8[::1], i8, i8[::1])", cache=True, nogil=True)
def _pack_times(data, head, row, raw_time):  # type: ignore[no-untyped-def]
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
def _pack_metrics(  # type: ignore[no-untyped-def]
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
    if at < 0 or major != 4 or count < 1 or count > _MAX_METRICS:
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
def _pack_values(  # type: ignore[no-untyped-def]
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
def _pack_widths(data, rows, metrics, spans, row, width):  # type: ignore[no-untyped-def]
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


@njit(
    "Tuple((i8, i8, i8, i8))(u1[::1], i8, i8, i8, i8[::1], i8[::1], u4[::1], u1[::1], u1[::1], u1[::1], u4[::1],"
    " u2[::1], u1[:, ::1], i8[::1], i8[::1], u2[::1], i8[::1], i8[::1], i8, i8,"
    " u4[::1], u4[::1], u4[::1], u4[::1], u4[::1], u8[::1], u8[::1], i8[::1], u2[::1], f8[::1], u8[::1])",
    cache=True,
    nogil=True,
)
def decode_frames(  # type: ignore[no-untyped-def]
    buffer,
    first,
    count,
    received,
    payload,
    payload_size,
    frame_slot,
    channel,
    verdict,
    reason,
    frame_epoch,
    model_of,
    names,
    sizes,
    models,
    index,
    table,
    guess,
    rows,
    samples,
    slot,
    epoch,
    flags,
    width,
    frame,
    stream,
    seq,
    raw_time,
    metric,
    value,
    bits,
):
    """Decode frames from `first` on into the row and sample columns.

    Frames whose verdict is neither accept nor quarantine are passed over.

    Returns:
        (DONE | FALLBACK | GROW, frame at which it stopped, rows, samples in use).
    """
    head = np.zeros(10, np.int64)
    spans = np.zeros((64, 5), np.int64)
    single = np.zeros(1, np.float32)
    word = single.view(np.uint32)
    for f in range(first, count):
        if verdict[f] > 1:
            continue
        at = payload[f]
        end = at + payload_size[f]
        model = np.int64(model_of[frame_slot[f]])
        quarantine = np.uint32(reason[f]) << np.uint32(5) if verdict[f] == 1 else np.uint32(0)
        if channel[f] == 2:
            if rows + 1 > slot.size or samples + 64 > value.size:
                return np.int64(2), f, rows, samples
            n = _decode_json(
                buffer,
                at,
                end,
                model,
                received,
                samples,
                names,
                sizes,
                models,
                index,
                table,
                guess,
                head,
                np.int64(value.size),
                metric,
                value,
            )
            if n < 0:
                return np.int64(1), f, rows, samples
            slot[rows] = frame_slot[f]
            epoch[rows] = frame_epoch[f]
            known = np.uint32(0) if head[3] else np.uint32(16)
            flags[rows] = np.uint32(2) | known | quarantine | np.uint32(1 << 8)
            width[rows] = n
            frame[rows] = f
            stream[rows] = head[1]
            seq[rows] = head[2]
            raw_time[rows] = head[0]
            rows += 1
            samples += n
        elif channel[f] == 1:
            head[:] = 0
            metrics_at = _pack_head(buffer, at, end, head)
            if metrics_at < 0 or not _pack_head_is_plain(head):
                return np.int64(1), f, rows, samples
            new = head[9]
            count_metrics = _pack_metrics(
                buffer,
                metrics_at,
                end,
                new,
                model,
                names,
                sizes,
                models,
                index,
                table,
                guess,
                spans,
            )
            if count_metrics < 0:
                return np.int64(1), f, rows, samples
            if rows + new > slot.size or samples + new * count_metrics > value.size:
                return np.int64(2), f, rows, samples
            total = _pack_widths(buffer, new, count_metrics, spans, rows, width)
            if total < 0 or not _pack_times(buffer, head, rows, raw_time):
                return np.int64(1), f, rows, samples
            if not _pack_values(
                buffer,
                new,
                count_metrics,
                spans,
                rows,
                samples,
                width,
                metric,
                value,
                bits,
                word,
                single,
            ):
                return np.int64(1), f, rows, samples
            flag = np.uint32(head[3]) | (np.uint32(head[4]) << np.uint32(2)) | quarantine
            for i in range(rows, rows + new):
                slot[i] = frame_slot[f]
                epoch[i] = head[2]
                flags[i] = flag
                frame[i] = f
                stream[i] = head[0]
                seq[i] = head[1] + (i - rows)
            rows += new
            samples += total
        else:
            return np.int64(1), f, rows, samples
    return np.int64(0), count, rows, samples


@njit("void(i8, i8, i8, u4[::1], u4[::1], i8[::1], i8[::1])", cache=True, nogil=True)
def correct_times(rows, received, earliest, frame, flags, raw_time, time):  # type: ignore[no-untyped-def]
    """Give live rows with an implausible clock a time (docs/wire.md, "Time"), computed once and journalled.

    If any row of a message is implausible, or its clock was never set, the message's last row gets the time of receipt
    and the others keep their distance from it, as far as int64 reaches.
    """
    latest = received + np.int64(86_400_000_000_000)
    start = np.int64(0)
    while start < rows:
        stop = start + 1
        while stop < rows and frame[stop] == frame[start]:
            stop += 1
        wrong = False
        if (flags[start] & np.uint32(4)) == 0:
            wrong = (flags[start] & np.uint32(3)) == 0
            for i in range(start, stop):
                wrong |= raw_time[i] < earliest or raw_time[i] > latest
        if wrong:
            last = raw_time[stop - 1]
            for i in range(start, stop):
                distance = np.float64(raw_time[i]) - np.float64(last)
                if abs(distance + np.float64(received)) < 9.2e18 and abs(distance) < 9.2e18:
                    time[i] = received + (raw_time[i] - last)
                else:
                    time[i] = received
                flags[i] |= np.uint32(8)
        else:
            for i in range(start, stop):
                time[i] = raw_time[i]
        start = stop
