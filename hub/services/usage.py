"""What a product has used in its present periods, what is left, who pays for it, and when it will be gone.

1. How much was used is the account of the process `meter`, or the archive's count where that one is
   behind, with what was told over the API; all are exact.
2. When it will be gone is said from the median of the last `STEPS` days (`billing/projection.py`).

What must never live here: counting, or what follows when nothing is left (`usage_limits`).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.allowance import Standing, quota_id
from entitlements.billing.projection import exhausted_at
from entitlements.facts import Facts
from entitlements.ladder import ownership
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import UsageThreshold
from hub.ports.store.port import TelemetryStore
from hub.services import products
from hub.services.caller import Caller, Scope
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.relations import Act
from hub.services.usage_accounts import Accounts, account_total
from hub.services.usage_archive import Totals, count
from hub.services.usage_balance import Given, Metered, entries, standing, used, within
from hub.services.usage_meters import ModelMeter
from hub.services.usage_periods import DAY, period, quota

STEPS: Final = 14
"""Days whose median usage says when the rest will be gone."""
QUOTA: Final = "quota"
"""Kind of the grant that a plan's quota is."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What one grant gave, and what is left of it; `left` and `paid` are as of now and this period.

    `kind` is `quota` for the plan's own, else one of `credit_grants.KINDS`.
    """

    grant: str
    kind: str
    amount: Decimal
    left: Decimal
    paid: Decimal
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class Paid:
    """What one grant paid for, of what was used in a stretch of time (ns)."""

    start: int
    end: int
    grant: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Threshold:
    """A share (percent) of what may be used was reached (`up`) or not any more, at an instant (ns)."""

    at: int
    share: int
    up: bool
    used: Decimal
    allowance: Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """What one meter counted of a product in its present period; instants in ns.

    Args:
        meter: name of the meter.
        title: as people read it.
        unit: UCUM code.
        start: first instant of the period.
        end: end of it.
        total: what was used, exactly.
        feature: feature whose quota it counts against, `None` without one.
        quota: how much of it the plan gives in the period, `None`: without limit.
        allowance: how much may be used in it in all, with what was given beside the plan.
        left: how much of that is left.
        overage: how much was used beyond it and is still owed.
        outage_credit: what of the allowance was given because the hub was down.
        hard: whether the feature closes when nothing is left.
        used_up: whether nothing is left.
        exhausted_at: when nothing will be left if usage goes on as it did; `None`: not in this period.
        balances: what is left of each grant, in the order in which they are used.
        payments: which grant paid for what, the earliest first.
        thresholds: shares that were reached and left in this period, the earliest first.
    """

    meter: str
    title: str
    unit: str
    start: int
    end: int
    total: Decimal
    feature: str | None
    quota: int | None
    allowance: Decimal | None
    left: Decimal | None
    overage: Decimal
    outage_credit: Decimal
    hard: bool
    used_up: bool
    exhausted_at: int | None
    balances: tuple[Balance, ...] = ()
    payments: tuple[Paid, ...] = ()
    thresholds: tuple[Threshold, ...] = ()


def of_product(
    session: Session,
    store: TelemetryStore,
    accounts: Accounts,
    caller: Caller,
    product_id: str,
    at: int,
) -> list[Usage]:
    """Return what a product has used in its present periods, by meter.

    Args:
        session: any session.
        store: the archive.
        accounts: as the meter published them.
        caller: who asks.
        product_id: of the product.
        at: now, ns.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.TELEMETRY_READ)
    product = products.visible(session, caller, product_id, Act.BILLS)
    return present(session, store, accounts(), product, at)


def present(
    session: Session, store: TelemetryStore, accounts: NDArray[Any], product: Product, at: int
) -> list[Usage]:
    """Return what a product has used in its present periods, for whoever may know."""
    facts = load_one(session, product.id)
    given = Given.load(session, [product.id])
    made = []
    for one in load_catalogue(session).meters.get(facts.model.number, ()):
        whose = given.metered(product.id, facts, product.zone, one)
        if whose is None:
            found = _unmetered(session, product, facts, one, store, accounts, at)
            made.append(found)
            continue
        start, end = period(facts, whose.feature, product.zone, at)
        counted = account_total(accounts, facts.device.slot, one.number, start, end)
        stands = standing(session, Totals(store), whose, at, counted)
        made.append(_usage(session, store, whose, stands, at))
    return made


def _unmetered(
    session: Session,
    product: Product,
    facts: Facts,
    one: ModelMeter,
    store: TelemetryStore,
    accounts: NDArray[Any],
    at: int,
) -> Usage:
    start, end = period(facts, None, product.zone, at)
    slot = facts.device.slot
    total = account_total(accounts, slot, one.number, start, end)
    if total is None:
        total = count(store, slot, one.meter, start, min(end, at)).total if slot else 0
    total = within(total + entries(session, product.id, one.number, start, end))
    return Usage(
        meter=one.meter.code,
        title=one.title,
        unit=one.unit,
        start=start,
        end=end,
        total=Decimal(total).scaleb(-one.meter.decimals),
        feature=None,
        quota=None,
        allowance=None,
        left=None,
        overage=Decimal(0),
        outage_credit=Decimal(0),
        hard=False,
        used_up=False,
        exhausted_at=None,
    )


def _usage(
    session: Session, store: TelemetryStore, whose: Metered, stands: Standing, at: int
) -> Usage:
    one, now = whose.one, stands.period

    def units(quantity: int) -> Decimal:
        return Decimal(quantity).scaleb(-one.meter.decimals)

    plan = quota(whose.facts, whose.feature, at)
    left = None if stands.allowance is None else max(stands.allowance - stands.used, 0)
    gone = _exhausted(session, store, whose, stands, at)
    return Usage(
        meter=one.meter.code,
        title=one.title,
        unit=one.unit,
        start=now.start,
        end=now.end,
        total=units(stands.used),
        feature=whose.feature.name,
        quota=plan,
        allowance=None if stands.allowance is None else units(stands.allowance),
        left=None if left is None else units(left),
        overage=units(stands.overage),
        outage_credit=units(0 if now.quota is None else now.quota - (plan or 0) * now.scale),
        hard=now.quota is not None and now.terms.hard,
        used_up=stands.used_up,
        exhausted_at=gone,
        balances=tuple(_balances(whose, stands)),
        payments=tuple(
            Paid(stretch.start, stretch.end, paid.grant_id, units(paid.units))
            for stretch in stands.stretches
            for paid in (*stretch.settled, *stretch.paid)
        ),
        thresholds=tuple(_thresholds(session, whose, stands)),
    )


def _balances(whose: Metered, stands: Standing) -> list[Balance]:
    scale = -whose.one.meter.decimals
    given = {row.id: row for row in whose.grants}
    paid: dict[str, int] = {}
    for stretch in stands.stretches:
        for grant_id, quantity in (*stretch.settled, *stretch.paid):
            paid[grant_id] = paid.get(grant_id, 0) + quantity
    left = dict(stands.left)
    made = []
    for grant_id in [*left, *(one for one in paid if one not in left)]:
        row = given.get(grant_id)
        if row is None:
            own = grant_id == quota_id(stands.period)
            amount = stands.period.quota if own else left.get(grant_id, 0) + paid.get(grant_id, 0)
            whole = Decimal(amount or 0).scaleb(scale)
            ends_at = stands.period.end if own else None
        else:
            whole, ends_at = Decimal(row.amount).scaleb(-row.decimals), row.ends_at
        made.append(
            Balance(
                grant_id,
                QUOTA if row is None else row.kind,
                whole,
                Decimal(left.get(grant_id, 0)).scaleb(scale),
                Decimal(paid.get(grant_id, 0)).scaleb(scale),
                ends_at,
            )
        )
    return made


def _thresholds(session: Session, whose: Metered, stands: Standing) -> list[Threshold]:
    query = select(UsageThreshold).where(
        UsageThreshold.product_id == whose.product_id,
        UsageThreshold.meter == whose.one.number,
        UsageThreshold.start == stands.period.start,
    )
    scale = -whose.one.meter.decimals
    return [
        Threshold(
            row.at,
            row.share,
            row.up,
            Decimal(row.used).scaleb(scale),
            Decimal(row.allowance).scaleb(scale),
        )
        for row in session.scalars(query.order_by(UsageThreshold.number))
    ]


def _exhausted(
    session: Session, store: TelemetryStore, whose: Metered, stands: Standing, at: int
) -> int | None:
    """Return when nothing will be left, by the median of the last days; `None`: not in this period."""
    if stands.allowance is None or stands.used_up:
        return None
    owned = ownership(whose.facts, at)
    since = stands.period.start if owned is None else max(owned.start, at - STEPS * DAY)
    slot = whose.facts.device.slot
    steps = [
        used(session, store, whose.product_id, slot, whose.one, end - DAY, end) or 0
        for end in range(at, since + DAY - 1, -DAY)
    ]
    step = DAY
    if len(steps) < 3 and at > stands.period.start:  # too young for days
        steps, step = [stands.used], at - stands.period.start
    gone = exhausted_at(stands.allowance - stands.used, steps, step, at)
    return gone if gone is not None and gone < stands.period.end else None
