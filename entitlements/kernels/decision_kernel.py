"""The compiled loops of the decision table: facts to their pattern, and look-ups.

1. `pattern` replaces every instant of a product by its place among the instants of the product.
   Products with equal patterns are decided alike but for the instants and ids themselves, because
   the ladder only ever compares instants. Which decisions a pattern leads to is not known here.
2. Instants that are sums (the end of a grace) stand among the others; beyond int64 they are its end.
3. `look_up` is the whole of a decision by number: find the interval, take the cell.
"""

from typing import Any

import numba as nb
import numpy as np

ABSENT = int(np.iinfo(np.int64).min)
"""An instant or number that a fact does not have."""
_NS = 1_000_000_000
_END = int(np.iinfo(np.int64).max)
HEAD = 6
"""Words of a pattern before its facts: model, revocation, and how many facts of each kind."""
OWN_WORDS, SUB_WORDS, HOLD_WORDS, GRANT_WORDS = 4, 13, 6, 4
"""Words of each fact, see `shapes.py`."""
NEVER = 0xFFFF
"""For the place of the next change in a cell: there is none."""
ALLOWED, VALUE, UNTIL = np.uint64(1 << 8), np.uint64(16), np.uint64(48)
"""A cell is a u64: bits 0-7 the code, 8 allowed, 16-46 the value, 48-63 the place of the change."""


@nb.njit(nogil=True)
def _later(instant: int, seconds: int) -> int:
    """Return an instant that is some seconds after another; none after none."""
    if instant == ABSENT:
        return ABSENT
    return _END if instant > _END - seconds * _NS else instant + seconds * _NS


@nb.njit(nogil=True)
def _rank(instants, count, instant):  # type: ignore[no-untyped-def]
    """Return the place of an instant from 1, 0 for `ABSENT`."""
    if instant == ABSENT:
        return 0
    return np.searchsorted(instants[:count], instant) + 1


_MATRIX = "i8[:, ::1]"
_FIRST = "i8[::1]"


@nb.njit(
    f"void({_MATRIX}, {_FIRST}, {_MATRIX}, {_FIRST}, {_MATRIX}, {_FIRST}, {_MATRIX}, {_FIRST},"
    f" {_MATRIX}, i8[::1], i8[::1], i8[::1], i8[::1], i8[::1])",
    cache=True,
    nogil=True,
)
def pattern(  # type: ignore[no-untyped-def]
    product,
    own_first,
    own,
    sub_first,
    sub,
    hold_first,
    hold,
    grant_first,
    grant,
    word_first,
    word,
    instant,
    instant_count,
    digest,
):
    """Write the pattern and the instants of each product, and a digest of the pattern.

    `word` takes the words of product i from `word_first[i]`; `instant` takes the instants of all
    products, one behind the other, `instant_count[i]` of them.
    """
    filled = 0
    for i in range(product.shape[0]):
        o0, o1 = own_first[i], own_first[i + 1]
        s0, s1 = sub_first[i], sub_first[i + 1]
        h0, h1 = hold_first[i], hold_first[i + 1]
        g0, g1 = grant_first[i], grant_first[i + 1]
        most = 1 + 2 * (o1 - o0) + 10 * (s1 - s0) + 2 * (h1 - h0) + 2 * (g1 - g0)
        found = np.empty(most, np.int64)
        n = 0
        if product[i, 1] != ABSENT:
            found[n] = product[i, 1]
            n += 1
        for r in range(o0, o1):
            for c in (1, 2):
                if own[r, c] != ABSENT:
                    found[n] = own[r, c]
                    n += 1
        for r in range(s0, s1):
            for c in (1, 2, 3, 5, 6, 9, 10, 11):
                if sub[r, c] != ABSENT:
                    found[n] = sub[r, c]
                    n += 1
            retried = _later(max(sub[r, 2], sub[r, 3]), sub[r, 8])
            if retried != ABSENT:
                found[n] = retried
                found[n + 1] = _later(retried, sub[r, 4])
                n += 2
        for r in range(h0, h1):
            for c in (1, 2):
                if hold[r, c] != ABSENT:
                    found[n] = hold[r, c]
                    n += 1
        for r in range(g0, g1):
            for c in (1, 2):
                if grant[r, c] != ABSENT:
                    found[n] = grant[r, c]
                    n += 1
        # Few and nearly in order: insertion beats any other way, and drops what comes twice.
        count = 0
        for k in range(n):
            value = found[k]
            at = count
            while at > 0 and instant[filled + at - 1] > value:
                at -= 1
            if at > 0 and instant[filled + at - 1] == value:
                continue
            for m in range(count, at, -1):
                instant[filled + m] = instant[filled + m - 1]
            instant[filled + at] = value
            count += 1
        mine = instant[filled : filled + count]
        filled += count
        instant_count[i] = count

        w = word_first[i]
        word[w] = product[i, 0]
        word[w + 1] = _rank(mine, count, product[i, 1])
        word[w + 2], word[w + 3], word[w + 4], word[w + 5] = o1 - o0, s1 - s0, h1 - h0, g1 - g0
        w += HEAD
        for r in range(o0, o1):
            word[w] = own[r, 0]
            word[w + 1] = _rank(mine, count, own[r, 1])
            word[w + 2] = _rank(mine, count, own[r, 2])
            for q in range(o0, r + 1):  # the owner by the first time they had it
                if own[q, 3] == own[r, 3] and own[q, 4] == own[r, 4]:
                    word[w + 3] = q - o0 + 1
                    break
            w += OWN_WORDS
        for r in range(s0, s1):
            word[w] = sub[r, 0]
            for c in range(3):
                word[w + 1 + c] = _rank(mine, count, sub[r, 1 + c])
            retried = _later(max(sub[r, 2], sub[r, 3]), sub[r, 8])
            word[w + 4] = _rank(mine, count, retried)
            word[w + 5] = _rank(mine, count, _later(retried, sub[r, 4]))
            word[w + 6] = _rank(mine, count, sub[r, 5])
            word[w + 7] = _rank(mine, count, sub[r, 6])
            for c in range(3):
                word[w + 8 + c] = _rank(mine, count, sub[r, 9 + c])
            word[w + 11] = sub[r, 7]
            word[w + 12] = sub[r, 12]
            w += SUB_WORDS
        for r in range(h0, h1):
            word[w] = hold[r, 0]
            word[w + 1] = _rank(mine, count, hold[r, 1])
            word[w + 2] = _rank(mine, count, hold[r, 2])
            word[w + 3] = hold[r, 3]
            word[w + 4] = 0 if hold[r, 4] == 0 else -1  # -1: none of the product's
            for q in range(s0, s1):
                if hold[r, 4] != 0 and sub[q, 13] == hold[r, 4] and sub[q, 14] == hold[r, 5]:
                    word[w + 4] = q - s0 + 1
            word[w + 5] = 0 if hold[r, 6] == 0 else -1
            for q in range(o0, o1):
                if hold[r, 6] != 0 and own[q, 3] == hold[r, 6] and own[q, 4] == hold[r, 7]:
                    word[w + 5] = q - o0 + 1
                    break
            w += HOLD_WORDS
        for r in range(g0, g1):
            word[w] = grant[r, 0]
            word[w + 1] = _rank(mine, count, grant[r, 1])
            word[w + 2] = _rank(mine, count, grant[r, 2])
            word[w + 3] = grant[r, 3]
            w += GRANT_WORDS
        mixed = np.uint64(0x9E3779B97F4A7C15)
        for k in range(word_first[i], w):
            mixed ^= np.uint64(word[k])
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(29)
        digest[i] = np.int64(mixed)


@nb.njit(
    "void(i8[::1], i8[::1], i8[::1], b1[::1])",
    cache=True,
    nogil=True,
)
def differ(word_first, word, like, result):  # type: ignore[no-untyped-def]
    """Say for each product whether its pattern differs from that of the product `like[i]`."""
    for i in range(like.shape[0]):
        a, b = word_first[i], word_first[like[i]]
        size = word_first[i + 1] - a
        result[i] = size != word_first[like[i] + 1] - b
        if not result[i]:
            for k in range(size):
                if word[a + k] != word[b + k]:
                    result[i] = True
                    break


def read_only(dtype: Any, dimensions: int = 1) -> Any:
    """Return the numba type of an array that a kernel only reads."""
    return nb.types.Array(dtype, dimensions, "C", readonly=True)


_LOOK_UP = nb.void(
    read_only(nb.u4),
    read_only(nb.u2),
    nb.i8,
    read_only(nb.u4, 2),
    read_only(nb.i8),
    read_only(nb.u4, 2),
    read_only(nb.u8),
    nb.b1[::1],
    nb.u1[::1],
    nb.i4[::1],
    nb.i8[::1],
)
_BLOCK = 512


@nb.njit(_LOOK_UP, cache=True, nogil=True)
def look_up(  # type: ignore[no-untyped-def]
    slot,
    feature,
    at,
    place,
    instant,
    head,
    cell,
    allowed,
    code,
    value,
    until,
):
    """Decide pairs of a product and a feature at one instant; see `Decisions.decide_many`.

    Products come in any order, so nearly every first touch of one waits for memory. In steps over a
    block, without a branch on what was just read, those waits overlap.
    """
    slots = np.uint32(place.shape[0])
    shape, first = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32)
    earliest = np.empty(_BLOCK, np.int64)
    known = np.uint32(instant.shape[0])
    for begin in range(0, slot.shape[0], _BLOCK):
        size = min(_BLOCK, slot.shape[0] - begin)
        for j in range(size):
            s = slot[begin + j] if slot[begin + j] < slots else np.uint32(0)
            shape[j], first[j] = place[s, 0], place[s, 1]
        for j in range(size):
            earliest[j] = instant[first[j]] if first[j] < known else 0
        for j in range(size):
            start, count, width = head[shape[j], 0], head[shape[j], 1], head[shape[j], 2]
            begun = np.uint32(count > 0 and earliest[j] <= at)
            for k in range(np.uint32(1), count):
                begun += np.uint32(instant[first[j] + k] <= at)
            i = begin + j
            column = feature[i] if feature[i] < width else np.uint16(0)
            found = cell[np.uint32(start + begun * width + column)]
            allowed[i] = (found & ALLOWED) != 0
            code[i] = found & np.uint64(0xFF)
            value[i] = (found >> VALUE) & np.uint64(0x7FFF_FFFF)
            change = np.uint32(found >> UNTIL)
            until[i] = _END if change == NEVER else instant[np.uint32(first[j] + change)]


@nb.njit(_LOOK_UP, cache=True, nogil=True)
def look_up_all(  # type: ignore[no-untyped-def]
    slot,
    feature,
    at,
    place,
    instant,
    head,
    cell,
    allowed,
    code,
    value,
    until,
):
    """Decide every given feature of every given product; see `Decisions.decide_all`."""
    slots = np.uint32(place.shape[0])
    i = 0
    for j in range(slot.shape[0]):
        s = slot[j] if slot[j] < slots else np.uint32(0)
        first = place[s, 1]
        start, count, width = head[place[s, 0], 0], head[place[s, 0], 1], head[place[s, 0], 2]
        begun = np.uint32(0)
        for k in range(count):
            begun += np.uint32(instant[first + k] <= at)
        row = np.uint32(start + begun * width)
        for k in range(feature.shape[0]):
            column = feature[k] if feature[k] < width else np.uint16(0)
            found = cell[np.uint32(row + column)]
            allowed[i] = (found & ALLOWED) != 0
            code[i] = found & np.uint64(0xFF)
            value[i] = (found >> VALUE) & np.uint64(0x7FFF_FFFF)
            change = np.uint32(found >> UNTIL)
            until[i] = _END if change == NEVER else instant[np.uint32(first + change)]
            i += 1
