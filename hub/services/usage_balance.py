"""What is left for a product to use: its quota and credit, folded over what was stored.

1. Usage is what telemetry counted (the meter's account, or the archive's count) plus what was told or
   corrected over the API (`usage_entry`); both count once.
2. Where a plan carries nothing on and nothing was given beside it, the present period alone decides,
   and nothing is asked of the archive.
3. The past is folded anew each time from what is stored, so a late row, a correction or a grant that
   was backdated is in it as if it had been there from the start.

What must never live here: what follows when nothing is left (`usage`), or what it costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import bindparam, exists, func, select
from sqlalchemy.orm import Session

from entitlements.billing.allowance import Period, Standing, stand
from entitlements.billing.credit import CreditGrant as Credit
from entitlements.billing.meters import MOST
from entitlements.billing.outages import Outage
from entitlements.facts import Facts, Feature
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import CreditGrant, UsageEntry
from hub.ports.store.port import TelemetryStore
from hub.services import credit_grants, outages
from hub.services.usage_archive import Totals, count
from hub.services.usage_meters import ModelMeter
from hub.services.usage_periods import metered, past_periods, period, with_quotas

_HALF: Final = 1 << 31
LOOKED_BACK: Final = 36
"""Periods that a fold goes back at most; nothing is carried on for longer."""

_TOLD: Final = select(Product.id).where(
    Product.id.in_(bindparam("ids", expanding=True)),
    exists().where(UsageEntry.product_id == Product.id),
)


@dataclass(frozen=True, slots=True)
class Metered:
    """A product's meter and the feature that it counts against.

    Args:
        product_id: of the product.
        facts: of it.
        zone: IANA zone of it.
        one: the meter.
        feature: the feature.
        grants: credit that the product has or had, of any meter.
        entries: whether anything of it was told or corrected over the API.
        outages: of the hub.
    """

    product_id: str
    facts: Facts
    zone: str
    one: ModelMeter
    feature: Feature
    grants: Sequence[CreditGrant]
    entries: bool
    outages: Sequence[Outage]

    def equals(self, other: "Metered") -> bool:
        """Say whether another says the same; it may have been loaded in another session."""
        given = [[_columns(grant) for grant in one.grants] for one in (self, other)]
        return given[0] == given[1] and replace(self, grants=()) == replace(other, grants=())


def _columns(grant: CreditGrant) -> list[object]:
    return [getattr(grant, column.key) for column in CreditGrant.__table__.columns]


@dataclass(frozen=True, slots=True)
class Given:
    """What some products were given and told beside plan and telemetry."""

    grants: Mapping[str, Sequence[CreditGrant]]
    told: frozenset[str]
    outages: Sequence[Outage]

    @classmethod
    def load(cls, session: Session, product_ids: Sequence[str]) -> "Given":
        """Load it for some products in three queries."""
        return cls(
            credit_grants.of_products(session, product_ids),
            frozenset(session.scalars(_TOLD, {"ids": product_ids})),
            outages.all_of(session),
        )

    def metered(self, product_id: str, facts: Facts, zone: str, one: ModelMeter) -> Metered | None:
        """Return a product's meter, `None` if no feature's quota is counted by it."""
        feature = metered(facts, one.meter.code)
        if feature is None:
            return None
        grants = self.grants.get(product_id, ())
        told = product_id in self.told
        return Metered(product_id, facts, zone, one, feature, grants, told, self.outages)


def standing(
    session: Session,
    archive: Totals,
    whose: Metered,
    at: int,
    counted: int | None = None,
) -> Standing:
    """Say how much was used in the present period, what is left, and which grant paid for what.

    Args:
        session: any session.
        archive: reads it.
        whose: product and meter.
        at: now, ns.
        counted: what telemetry counted in the present period; `None`: the archive is asked.

    Raises:
        StorageError: the archive cannot be read.
    """
    facts, zone, decimals = whose.facts, whose.zone, whose.one.meter.decimals
    now = period(facts, whose.feature, zone, at)
    periods = with_quotas(facts, whose.feature, decimals, [now], whose.outages, at)
    grants = _credits(whose, [now[0]], at)
    if periods[0].terms.carries or grants:
        past = list(past_periods(facts, whose.feature, zone, at, LOOKED_BACK))[::-1]
        past = [one for one in past if _concerns(one, periods[0], grants)]
        periods = with_quotas(facts, whose.feature, decimals, [*past, now], whose.outages, at)
        grants = _credits(whose, [one.start for one in periods], at)
    usage = _Usage(session, archive, whose, periods, grants, counted, at)
    return stand(periods, grants, usage, at)


def closed(
    session: Session,
    archive: Totals,
    whose: Metered,
    stretch: tuple[int, int],
) -> tuple[int, int]:
    """Return what was used in a period that is over, and what of it nothing paid for.

    Args:
        session: any session.
        archive: reads it.
        whose: product and meter.
        stretch: the period, ns; whoever owned the product at its end is whose it was.
    """
    facts, decimals, at = whose.facts, whose.one.meter.decimals, stretch[1] - 1
    past = list(past_periods(facts, whose.feature, whose.zone, at, LOOKED_BACK))[::-1]
    before = [one for one in past if one[0] < stretch[0]]
    periods = with_quotas(facts, whose.feature, decimals, [*before, stretch], whose.outages, at)
    grants = _credits(whose, [one.start for one in periods], at)
    usage = _Usage(session, archive, whose, periods, grants, None, stretch[1])
    stands = stand(periods, grants, usage, stretch[1])
    if stands.period.quota is None:
        return stands.used, 0
    # Also what was given later paid: it is gone from that grant, so it is not billed as well.
    paid = sum(one.units for part in stands.stretches for one in (*part.settled, *part.paid))
    return stands.used, max(stands.used - paid, 0)


def entries(session: Session, product_id: str, meter: int, start: int, end: int) -> int:
    """Return the sum of what was told and corrected of a meter in `[start, end)`."""
    return _told(session, product_id, meter, start, end)[1]


def used(
    session: Session,
    store: TelemetryStore,
    product_id: str,
    slot: int,
    one: ModelMeter,
    start: int,
    end: int,
) -> int | None:
    """Return what was used in `[start, end)` by telemetry and by what was told; `None`: nothing is stored.

    Raises:
        StorageError: the archive cannot be read.
    """
    counted = count(store, slot, one.meter, start, end) if slot else None
    told, total = _told(session, product_id, one.number, start, end)
    if counted is not None and counted.rows:
        return within(counted.total + total)
    return total if told else None


def _told(session: Session, product_id: str, meter: int, start: int, end: int) -> tuple[int, int]:
    """Return how many entries a meter has in `[start, end)`, and their sum.

    The upper and the lower halves are added up apart: SQLite refuses a sum beyond 64 bits.
    """
    upper, lower = UsageEntry.quantity.op("/")(_HALF), UsageEntry.quantity.op("%")(_HALF)
    sums = select(func.count(), func.sum(upper), func.sum(lower)).where(
        UsageEntry.product_id == product_id,
        UsageEntry.meter == meter,
        UsageEntry.at >= start,
        UsageEntry.at < end,
    )
    told, above, below = session.execute(sums).one()
    return told, within(int(above or 0) * _HALF + int(below or 0))


def within(total: int) -> int:
    """Return a total, or the greatest that there is: more is absurd and stays at it."""
    return max(-MOST, min(MOST, total))


def _credits(whose: Metered, begins: Sequence[int], at: int) -> list[Credit]:
    meter = whose.one.meter
    return credit_grants.as_credits(
        whose.grants, whose.facts, meter.code, meter.decimals, begins, whose.outages, at
    )


def _concerns(past: tuple[int, int], now: Period, grants: Sequence[Credit]) -> bool:
    """Say whether what happened in a past period can matter for the present one."""
    return now.terms.carries or any(grant.start < past[1] for grant in grants)


class _Usage:
    """What was used within a stretch of a period, whatever a meter counts.

    A stretch is what the count of the period rose by within it.
    """

    def __init__(
        self,
        session: Session,
        archive: Totals,
        whose: Metered,
        periods: Sequence[Period],
        grants: Sequence[Credit],
        counted: int | None,
        at: int,
    ) -> None:
        self._session = session
        self._archive = archive
        self._whose = whose
        self._begins = [one.start for one in periods]
        self._ends = {one.start: one.end for one in periods}
        self._cuts = sorted(
            {cut for grant in grants for cut in (grant.start, *grant.renewals, grant.end or 0)}
        )
        self._counted = counted
        self._at = at
        self._totals: dict[int, dict[int, int]] = {}

    def __call__(self, start: int, end: int) -> int:
        begin = max(one for one in self._begins if one <= start)
        return self._until(begin, end) - self._until(begin, start)

    def _until(self, begin: int, end: int) -> int:
        if end <= begin:
            return 0
        whose = self._whose
        present = begin == self._begins[-1] and end >= self._at
        if present and self._counted is not None:
            total = self._counted
        elif not whose.facts.device.slot:
            total = 0
        else:
            if begin not in self._totals:
                self._totals[begin] = self._read(begin)
            total = self._totals[begin][end]
        if whose.entries:
            until = self._ends[begin] if present else end
            total += entries(self._session, whose.product_id, whose.one.number, begin, until)
        return within(total)

    def _read(self, begin: int) -> dict[int, int]:
        """Count a period up to each cut in it, in one reading of the archive."""
        end = min(self._ends[begin], self._at)
        ends = [cut for cut in self._cuts if begin < cut < end]
        if self._counted is None or begin != self._begins[-1] or end < self._at:
            ends.append(end)
        slot = self._whose.facts.device.slot
        found = self._archive(slot, self._whose.one.meter, begin, ends)
        return dict(zip(ends, found, strict=True))
