"""How much of a meter may be used in a period, and which grant paid for what: quota and grants as one.

1. The quota of each period is a grant of its own that burns before what was bought, so all that is
   true of grants (`credit.py`) is true of it, and a changed plan changes the present period only.
2. The allowance of a stretch is what was used before it in the period, plus what is left, minus what
   is owed: a number that usage within the stretch does not change. So thresholds can be compared
   with the running total of a period, without folding anything for each event.
3. Between two cuts the allowance stands; at a cut it is to be asked for again.

What must never live here: the database, the archive, prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from entitlements.billing.credit import (
    CreditGrant,
    Payment,
    State,
    Stretch,
    Terms,
    Usage,
    burn,
)
from entitlements.quotas import QuotaTerms

PLAN_PRIORITY: Final = 50
"""Of the quota in the burn order: before top-ups (100), behind what must go first (below 50)."""


class Period(NamedTuple):
    """A period and what may be used in it.

    Args:
        start: first instant, ns UTC.
        end: end of it.
        quota: quantities that the plan gives; `None`: without limit.
        terms: what else the plan says of them.
        scale: quantities in a unit of the quota, in which `terms` count.
    """

    start: int
    end: int
    quota: int | None
    terms: QuotaTerms
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """How a meter stands in its present period; quantities.

    Args:
        period: the present one.
        used: what was used in it until now.
        allowance: what may be used in it in all, by what is given now; `None`: without limit. Below
            what was used there is overage; it may be negative while overage of before is owed.
        left: what is left, by id of the grant, in burn order.
        overage: what is owed.
        stretches: of the period, the earliest first: which grant paid for what.
        cut: when the allowance may change by itself.
    """

    period: Period
    used: int
    allowance: int | None
    left: tuple[Payment, ...]
    overage: int
    stretches: tuple[Stretch, ...]
    cut: int

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self.allowance is not None and self.used >= self.allowance

    @property
    def reached(self) -> tuple[int, ...]:
        """Shares (percent) of the allowance that were reached."""
        return reached(self.used, self.allowance, self.period.terms.shares)


def reached(used: int, allowance: int | None, shares: Sequence[int]) -> tuple[int, ...]:
    """Return the shares (percent, rising) of an allowance that a usage has reached."""
    if allowance is None:
        return ()
    if allowance <= 0:
        return tuple(shares)
    return tuple(share for share in shares if used * 100 >= allowance * share)


def marks(allowance: int | None, shares: Sequence[int], counted_apart: int = 0) -> tuple[int, ...]:
    """Return the totals of a period, rising from 1, at which another share is reached.

    Args:
        allowance: what may be used; `None`: without limit.
        shares: percent.
        counted_apart: what of the usage is not in the total that is compared.
    """
    if allowance is None or allowance <= 0:
        return ()
    exact = {-(-allowance * share // 100) - counted_apart for share in shares}
    return tuple(sorted(mark for mark in exact if mark >= 1))


def matters(periods: Sequence[Period], grants: Sequence[CreditGrant]) -> bool:
    """Say whether more than the quota of the present period, the last one, has to be looked at."""
    return bool(grants) or any(period.terms.carries for period in periods)


def stand(
    periods: Sequence[Period], grants: Sequence[CreditGrant], usage: Usage, at: int
) -> Standing:
    """Fold usage over quotas and grants until an instant.

    Args:
        periods: neighbouring ones, the earliest first; the last one holds `at`.
        grants: beside the quotas, in quantities; those of a period's beginning may renew.
        usage: usage within a stretch, ns; asked for stretches of one period each.
        at: now, ns.

    Raises:
        ValueError: no period, or two grants have one id.
    """
    if not periods:
        raise ValueError("there is no period to stand in")
    present = periods[-1]
    if not matters(periods, grants):
        periods = periods[-1:]
    terms = _terms(periods, grants)
    unlimited = {period.start: period.quota is None for period in periods}
    starts = [period.start for period in periods]

    def limited(start: int, end: int) -> int:
        whose = max(begin for begin in starts if begin <= start)
        return 0 if unlimited[whose] else max(usage(start, end), 0)

    begin = min(periods[0].start, at)
    folded = tuple(burn(terms, State(begin), at, limited)) if begin < at else ()
    mine = tuple(stretch for stretch in folded if stretch.start >= present.start)
    used = usage(present.start, at) if unlimited[present.start] else sum(s.used for s in mine)
    left, overage = _now(terms, folded, begin, at)
    allowance = None if present.quota is None else used + sum(left.values()) - overage
    order = sorted(terms.grants, key=lambda grant: grant.rank)
    return Standing(
        period=present,
        used=used,
        allowance=allowance,
        left=tuple(Payment(grant.id, left[grant.id]) for grant in order if grant.id in left),
        overage=overage,
        stretches=mine,
        cut=_cut(terms, present, at),
    )


def quota_id(period: Period) -> str:
    """Return the id of the grant that a period's quota is."""
    return f"quota:{period.start}"


def _terms(periods: Sequence[Period], grants: Sequence[CreditGrant]) -> Terms:
    given = list(grants)
    for place, period in enumerate(periods):
        if period.quota is None or period.quota < 1:
            continue
        kept = period.terms
        last = min(place + kept.rollover_periods, len(periods) - 1) if kept.carries else place
        given.append(
            CreditGrant(
                quota_id(period),
                period.quota,
                period.start,
                periods[last].end,
                created=period.start,
                priority=PLAN_PRIORITY,
                min_rollover=min(kept.rollover_min * period.scale, period.quota),
                max_rollover=kept.rollover_max * period.scale,
            )
        )
    resets = tuple(period.start for period in periods[1:])
    return Terms(tuple(given), resets, keep_overage=periods[-1].terms.keep_overage)


def _now(
    terms: Terms, folded: Sequence[Stretch], begin: int, at: int
) -> tuple[dict[str, int], int]:
    """Return what is left and owed once what begins, ends or resets at this very instant has."""
    state = State(begin) if not folded else State(at, folded[-1].left, folded[-1].overage)
    for stretch in burn(terms, state, at + 1, lambda _start, _end: 0):
        return dict(stretch.left), stretch.overage
    return {}, 0


def _cut(terms: Terms, present: Period, at: int) -> int:
    cuts = {present.end}
    for grant in terms.grants:
        cuts.update((grant.start, *grant.renewals))
        if grant.end is not None:
            cuts.add(grant.end)
    return min((cut for cut in cuts if cut > at), default=at)
