"""The kernel for flat JSON: one object to samples, without copies or Python objects.

1. It decodes only what is plainly right; for anything else it returns -1 and the reference decoder decides.
2. Numbers are exact or not its business.
Sources: RFC 8259 (JSON); exact decimal to double for mantissas up to 2^53 and powers of ten up to 22: Clinger, "How to
read floating point numbers accurately", 1990, fast path.
"""

import numpy as np
from numba import njit

from hub.pipeline.metric_table import find_metric, name_equals

MAX_METRICS = 64
_MAX_JSON = 8192
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
def decode_json(  # type: ignore[no-untyped-def]
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
                if n == MAX_METRICS or samples + n >= capacity:
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
