"""Each sample against the products like it: one compiled call a batch.

1. The middle is the median of the panel's newest values; the spread is the larger of the median
   absolute deviation and (of many products) the distance to the 5% or 95% quantile, each as a
   standard deviation. So what one product in twenty does at any time is within the spread.
2. A cumulative sum (Page 1954) collects what is beyond `SLACK` spreads for as long as it lasts; a
   deviation is reported when the product's average place is outside, and once a place. It must
   exceed this product's own past excursions, which fade in weeks.
3. The clock is the time of receipt. Samples far from it (backlogs, wrong clocks) are not compared.
4. Where many products of a cell deviate, more evidence is asked for; that eases within weeks.
"""

import math
from typing import Any, Final

import numba as nb
import numpy as np

from analytics.cohort_records import CELL, LEAST_MEMBERS, NO_SEAT, PLACE, SEATS
from analytics.findings import FINDING, OVER, Kind, Severity

FEED_NS: Final = 300_000_000_000
"""How often a cell's middle is handed out, to be watched as a series of its own."""

SLACK: Final = 1.75
_ENOUGH: Final = 8.0  # evidence, in spreads
_LASTING: Final = 8  # samples that an excursion must last
_OUTSIDE: Final = 1.8  # average place from which it is a deviation
_WITHIN: Final = 1.5  # average place up to which it has ended
_CALM: Final = 24  # samples for which it must be so
_FARTHEST: Final = 10.0
_WARNING_AT: Final = 5.0
_NEAR: Final = 1.0 / 8.0
_RECENT_NS: Final = 3_600_000_000_000
_LOOK_S: Final = 30.0
_STALE_S: Final = 600.0
_STALE_INTERVALS: Final = 5.0
_LEAST_LOOKS: Final = 3
_MEMORY: Final = 0.05  # most that a look has in the spread,
_SPREAD_S: Final = 28_800.0  # which is remembered for so long: who falls ill must not widen it soon
_NEW_LOOKS: Final = 120  # until then a cohort is learned quickly
_MANY: Final = 40  # products of whom one in twenty is still two
_PER_MEMBER: Final = 2.0  # how much stricter a cell gets when each of its products deviated once
_EASE_NS: Final = 7 * 86_400_000_000_000
_PROBES: Final = 4
_BEYOND: Final = 1.25  # times the greatest evidence of past excursions: it must be unlike them
_REPORTED: Final = 2.0  # times its evidence, by which a reported deviation is remembered
_MOST: Final = 96.0  # evidence remembered at most: who hovers at the edge may still fall ill
_MEMORY_NS: Final = 7 * 86_400e9 / math.log(2.0)  # half-life of a week
_SETTLED: Final = 1.5  # how much stricter products that are no newcomers are judged: there is time
_KNOWN: Final = 250  # samples from which on a product is no newcomer

_COHORT: Final = int(Kind.COHORT)
_NOTICE: Final = int(Severity.NOTICE)
_WARNING: Final = int(Severity.WARNING)


@nb.njit(nogil=True)
def quantile(ordered: Any, n: int, share: float) -> float:
    """Return a quantile of `n` ordered values, interpolated as numpy does."""
    at = share * (n - 1)
    low = int(at)
    high = min(low + 1, n - 1)
    return float(ordered[low] + (at - low) * (ordered[high] - ordered[low]))


@nb.njit(nogil=True)
def _stale(c: Any) -> int:
    """Return for how long a value in the panel counts, ns."""
    return int(max(_STALE_S, _STALE_INTERVALS * c.interval) * 1e9)


@nb.njit(nogil=True)
def _look(c: Any, received: int, room: Any) -> None:
    """Work out the middle and the spread of a panel."""
    stale = _stale(c)
    c.due = received + np.int64(max(_LOOK_S, c.interval) * 1e9)
    n = 0
    for k in range(SEATS):
        if c.heard[k] > 0 and received - c.heard[k] <= stale:
            room[n] = c.value[k]
            n += 1
    c.members = n
    if n < LEAST_MEMBERS:
        return
    ordered = np.sort(room[:n])
    middle = quantile(ordered, n, 0.5)
    for k in range(n):
        room[k] = abs(ordered[k] - middle)
    typical = 1.4826 * quantile(np.sort(room[:n]), n, 0.5)
    few = 1.0 + 1.0 / n  # what few products show is less than what there is
    above = below = few * typical
    if n >= _MANY:  # of fewer, the rare ones would be the two that are ill
        above = max(above, few * (quantile(ordered, n, 0.95) - middle) / 1.645)
        below = max(below, few * (middle - quantile(ordered, n, 0.05)) / 1.645)
    c.looks += 1
    slow = min(_MEMORY, max(_LOOK_S, c.interval) / _SPREAD_S)
    rate = max(1.0 / c.looks, _MEMORY if c.looks < _NEW_LOOKS else slow)
    c.middle = middle
    c.above += rate * (above - c.above)
    c.below += rate * (below - c.below)
    elapsed = received - c.eased
    c.strict = 1.0 + (c.strict - 1.0) * 2.0 ** (-elapsed / _EASE_NS)
    c.eased = received


@nb.njit(nogil=True)
def _sit(c: Any, r: Any, index: int, received: int, x: float) -> None:
    """Keep the newest value of a product that has a seat; let others try for one now and then."""
    seat = np.int64(r.seat)
    if seat == NO_SEAT or c.holder[seat] != index:
        r.seat = NO_SEAT
        if r.samples > 2 and (r.time >> 30) & 15 != 0:  # of about sixteen seconds, one
            return
        stale = _stale(c)
        first = (np.uint64(index) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(57)
        for k in range(_PROBES):
            seat = (np.int64(first) + k) % SEATS
            if c.heard[seat] == 0 or received - c.heard[seat] > stale:
                c.holder[seat] = index
                c.heard[seat] = received
                c.value[seat] = x
                r.seat = seat
                return
        return
    if received > c.heard[seat]:
        gap = (received - c.heard[seat]) * 1e-9
        c.interval += 0.02 * (min(gap, 4.0 * c.interval + 1.0) - c.interval)
    c.heard[seat] = received
    c.value[seat] = x


@nb.njit(nogil=True)
def _real(c: Any, x: float, place: float) -> float:
    """Return a place as a value of the quantity: within what products report at present.

    Spreads on the two sides of a middle that moves may reach beyond what is possible (a negative
    flow); values that were reported are possible.
    """
    lowest = min(c.middle, x)
    highest = max(c.middle, x)
    for k in range(SEATS):
        if c.heard[k] > 0 and c.due - c.heard[k] <= _stale(c):
            lowest = min(lowest, c.value[k])
            highest = max(highest, c.value[k])
    spread = c.above if place > 0.0 else c.below
    return float(min(max(c.middle + place * spread, lowest), highest))


@nb.njit(nogil=True)
def _report(
    found: Any, at: int, index: int, r: Any, c: Any, x: float, severity: int, since: int
) -> None:
    finding = found[at]
    finding.index = index
    finding.time = r.time
    finding.since = since
    finding.kind = _COHORT
    finding.severity = severity
    # Nats of a normal tail at that place; places are clipped, so this is bounded too.
    finding.surprise = 0.5 * r.near * r.near + math.log(abs(r.near) + 1.0)
    finding.observed = _real(c, x, r.near)
    finding.expected_low = _real(c, c.middle, -SLACK)
    finding.expected_high = _real(c, c.middle, SLACK)


@nb.njit(nogil=True)
def _forget(r: Any) -> None:
    """End the present excursion, and remember how far it went, unless it was towards the others."""
    if r.home * r.evidence >= 0.0:
        r.greatest = min(max(r.greatest, r.peak), _MOST)
    r.evidence = r.peak = 0.0
    r.run = 0


@nb.njit(nogil=True)
def _weigh(r: Any, c: Any, x: float, gap: float) -> float:
    """Place one value in its cohort, and add it to the evidence; returns the place."""
    spread = c.above if x > c.middle else c.below
    away = x - c.middle
    u = 0.0
    if away != 0.0:
        u = away / spread if spread > abs(away) / _FARTHEST else math.copysign(_FARTHEST, away)
    if r.samples < _KNOWN:
        r.samples += 1
    r.near += max(_NEAR, 1.0 / r.samples) * (u - r.near)
    if r.greatest > 0.0:
        r.greatest /= 1.0 + gap / _MEMORY_NS
    v = u - r.home
    side = -1.0 if v < -SLACK or (v <= SLACK and r.evidence < 0.0) else 1.0
    before = side * r.evidence
    if before < 0.0:
        _forget(r)  # it is on the other side now
    now = max(before, 0.0) + side * v - SLACK
    if now <= 0.0:
        _forget(r)
        return u
    if r.run == 0:
        r.since = r.time
    r.evidence = side * now
    r.peak = max(r.peak, now)
    r.run = min(r.run + 1, 60_000)
    return u


@nb.njit(nogil=True)
def _judge(r: Any, c: Any, u: float) -> bool:
    """Return whether there is enough evidence of a deviation that was not reported yet."""
    strict = _SETTLED * c.strict if r.samples >= _KNOWN else 1.0
    enough = max(_ENOUGH * strict, _BEYOND * r.greatest)
    if abs(r.evidence) < enough or r.run < _LASTING * strict:
        return False
    # The average has not quite arrived yet where this excursion began abruptly.
    near = r.home + (r.near - r.home) / (1.0 - (1.0 - _NEAR) ** r.run)
    if r.severity > 0 and near * r.evidence < 0.0:  # towards the others is good news
        r.home = r.near = near
        _forget(r)
        return False
    side = 1.0 if r.evidence > 0.0 else -1.0
    # This very sample must be outside too, so that what is said is true when it is said.
    if side * near <= _OUTSIDE or side * u <= SLACK:
        return False
    r.near = near
    return True


@nb.njit(nogil=True)
def _verdict(r: Any, c: Any, index: int, x: float, u: float, found: Any, at: int) -> int:
    """Report a deviation that began or ended; returns how many findings were written."""
    if _judge(r, c, u):
        r.severity = _WARNING if abs(r.near) >= _WARNING_AT else _NOTICE
        c.strict += _PER_MEMBER / max(c.series, LEAST_MEMBERS)
        _report(found, at, index, r, c, x, r.severity, r.since)
        r.peak *= _REPORTED
    elif r.severity > 0:
        r.calm = r.calm + 1 if abs(r.near) < _WITHIN else 0
        if r.calm < _CALM:
            return 0
        _report(found, at, index, r, c, x, OVER, r.time)
        r.severity = 0
    else:
        return 0
    r.calm = 0
    _forget(r)
    r.home = r.near if r.severity > 0 else 0.0
    return 1


_SIGNATURE: Final[Any] = nb.types.UniTuple(nb.int64, 3)(  # type: ignore[no-untyped-call]
    nb.types.Array(nb.from_dtype(PLACE), 1, "C"),
    nb.types.Array(nb.from_dtype(CELL), 1, "C"),
    nb.int64[::1],
    nb.int64[::1],
    nb.float64[::1],
    nb.boolean[::1],
    nb.int64,
    nb.int64,
    nb.types.Array(nb.from_dtype(FINDING), 1, "C"),
    nb.int64[::1],
    nb.float64[::1],
)


@nb.njit(_SIGNATURE, nogil=True, cache=True, error_model="numpy")
def compare(
    places: Any,
    cells: Any,
    index: Any,
    time: Any,
    value: Any,
    late: Any,
    received: int,
    start: int,
    found: Any,
    fed: Any,
    middle: Any,
) -> tuple[int, int, int]:
    """Run samples of one block from `start` on until they or the room for results end.

    Args:
        places: PLACE[N] by series, updated in place.
        cells: CELL[C].
        index: int64[S], which series.
        time: int64[S], ns.
        value: float64[S], finite.
        late: bool[S], samples that are not compared.
        received: time of receipt of the block, ns.
        start: first sample to take.
        found: FINDING[F]; findings go here.
        fed: int64[M] to receive cells whose middle is handed out,
        middle: float64[M] and the middle.

    Returns:
        The next sample to take, the number of findings, and of middles.
    """
    room = np.empty(SEATS)
    findings = 0
    middles = 0
    i = start
    while i < index.shape[0] and findings < found.shape[0] and middles < fed.shape[0]:
        r = places[index[i]]
        t = time[i]
        if r.cell >= 0 and not late[i] and t > r.time and abs(received - t) <= _RECENT_NS:
            c = cells[r.cell]
            x = value[i]
            gap = np.float64(t - r.time)
            usable = True
            if r.counter:
                usable = r.time > 0 and x >= r.value
                if usable:
                    x = (value[i] - r.value) / ((t - r.time) * 1e-9)
                r.value = value[i]
            r.time = t
            if usable:
                if received >= c.due:
                    _look(c, received, room)
                    if c.looks > _LEAST_LOOKS and received - c.fed >= FEED_NS:
                        c.fed = received
                        fed[middles] = r.cell
                        middle[middles] = c.middle
                        middles += 1
                _sit(c, r, index[i], received, x)
                if c.looks >= _LEAST_LOOKS and c.members >= LEAST_MEMBERS:
                    u = _weigh(r, c, x, gap)
                    written = _verdict(r, c, index[i], x, u, found, findings)
                    if written:
                        found[findings].sample = i
                    findings += written
        i += 1
    return i, findings, middles
