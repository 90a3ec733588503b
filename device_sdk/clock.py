"""What time it is for certain, on a product whose own clock may be wrong, reset or missing.

1. Only the hub's time and the time that the product has been running since count. The product's own
   clock is never asked, so setting it back or forward neither extends nor ends anything.
2. `earliest_ns` is a lower bound: the hub said so, and at least so much has passed since. Offline
   decisions are made at this instant, so a drifting oscillator never takes away what is paid for.
3. The bound never runs back, with one exception: a newer signed state says that the hub had been wrong
   (`correct`).
4. What is kept on disk is the bound alone (`marks.py`); time in which the product is off does not count.

Any thread may read; one thread tells it what the hub said. The monotonic clock is an argument.
"""

from collections.abc import Callable
from typing import NamedTuple

DRIFT_PPM = 500
"""Bound on the error of a monotonic clock: quartz stays within 100, Linux slews by at most 500."""
CORRECTION_NS = 3_600_000_000_000
"""A newer state that is older than this against the bound means that the hub's clock had been wrong."""
_S = 1_000_000_000
# Where a clock is slow by d, the truth is 1 / (1 - d) of what it counts: a trifle more than 1 + d.
_SLOW, _FAST = 1_000_000 - DRIFT_PPM, 1_000_000 + DRIFT_PPM + 1


class _Anchor(NamedTuple):
    """An instant (ns since 1970) and the monotonic second at which it was."""

    ns: int
    at: float

    def after(self, now: float, rate: int) -> int:
        """Return the instant at `now` if time passes at `rate` millionths of the monotonic clock's."""
        return self.ns + int((now - self.at) * _S) * rate // 1_000_000


class HubClock:
    """Bounds on the hub's present time.

    Args:
        monotonic: seconds that never go back while the product runs.
        floor_ns: bound that was kept when the product last ran; None if it never heard of the hub.
    """

    def __init__(self, monotonic: Callable[[], float], floor_ns: int | None = None) -> None:
        self._monotonic = monotonic
        self._low = None if floor_ns is None else _Anchor(floor_ns, monotonic())
        self._high: _Anchor | None = None
        self.heard = False

    def earliest_ns(self) -> int | None:
        """Return the earliest that it can be, ns since 1970; None if the hub was never heard of."""
        low = self._low
        return None if low is None else low.after(self._monotonic(), _SLOW)

    def error_ns(self) -> int | None:
        """Return by how much it may be later than `earliest_ns`.

        Twice the drift since the hub answered last, and how long that answer took at most. None: the
        hub has not answered since the product was switched on, so nothing is known of the time before.
        """
        low, high, now = self._low, self._high, self._monotonic()
        if low is None or high is None:
            return None
        return max(0, high.after(now, _FAST) - low.after(now, _SLOW))

    def hear(self, hub_ns: int, asked_at: float | None = None) -> None:
        """Take in the hub's time of a message that has just come.

        Args:
            hub_ns: the hub's time when it was written, ns since 1970.
            asked_at: monotonic second after which it was written for certain, if that is known.
        """
        now = self._monotonic()
        self.heard = True
        if self._low is None or hub_ns > self._low.after(now, _SLOW):
            self._low = _Anchor(hub_ns, now)
        if asked_at is None:
            return
        latest = _Anchor(hub_ns + int((now - asked_at) * _S) * _FAST // 1_000_000, now)
        if self._high is None or latest.ns < self._high.after(now, _FAST):
            self._high = latest

    def correct(self, hub_ns: int, asked_at: float | None = None) -> None:
        """Take in the time of a signed state that is newer than all before; it may set the bound back."""
        earliest = self.earliest_ns()
        if earliest is not None and hub_ns < earliest - CORRECTION_NS:
            self._low = self._high = None
        self.hear(hub_ns, asked_at)
