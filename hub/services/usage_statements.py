"""What periods counted that are over: closed once, billed for what was used beyond, adjusted ever after.

1. A period is closed some time after its end (`SETTLES_NS`), so that rows on their way are in it. What was
   used beyond what could be used is billed if the limit is soft, the plan sells it, and it is not taken
   from the next period.
2. A statement is never rewritten. When rows come late, or somebody corrects usage, the period is counted
   again, and what differs is another revision: its line goes on an invoice of now, as a credit where it
   is less. Costs are differences of one running sum, so all revisions together cost what the last says.
3. Each revision is billed exactly once: its cause names it.
4. Who had the product before pays for what they used until it changed hands, and nobody else does.

What must never live here: the present period, prices, or how invoices are paid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import CurrencyMismatchError, Money
from entitlements.billing.price import Price, UnitPrice
from entitlements.decision import decide
from entitlements.facts import Ownership as Owned
from entitlements.ladder import ownership
from hub.ports.database.billing_tables import Invoice, InvoiceLine
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Membership, Owner
from hub.ports.database.product_tables import Device, Product
from hub.ports.database.usage_tables import UsageCorrection, UsageStatement
from hub.services import audit, billing_accounts, invoices, payments, prices, products
from hub.services.caller import HUB, Caller, Scope
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.personal_data import ERASED
from hub.services.relations import Act
from hub.services.tokens import Tokens
from hub.services.usage_archive import Totals
from hub.services.usage_balance import Given, Metered, closed
from hub.services.usage_periods import decided_at, past_periods, period, quota_and_terms

SETTLES_NS: Final = 3_600 * 10**9
MOST: Final = 13
"""Periods that are closed at once of a product, where a hub slept."""
AT_ONCE: Final = 4
"""Periods of a product that are closed in one transaction."""
FORMER_NS: Final = 62 * 86_400 * 10**9
"""How long after its end the periods of a former ownership are closed and adjusted."""
CLOSED: Final = "closed"
LATE: Final = "late or corrected usage"


@dataclass(frozen=True, slots=True)
class _Sold:
    """At what usage beyond the quota is sold in a period: to whom, of which plan."""

    owner_id: str
    plan: str
    price: Price
    unit: UnitPrice


class Draft(NamedTuple):
    """What a period that is over counted, before it is closed.

    Args:
        whose: product and meter, as they stood then.
        stretch: the period, ns.
        used: what was used in it.
        overage: what of that nothing paid for.
    """

    whose: Metered
    stretch: tuple[int, int]
    used: int
    overage: int


def drafts(session: Session, archive: Totals, product_id: str, at: int) -> list[Draft]:
    """Count the periods of a product that are over and not closed, some of them if there are many.

    Args:
        session: any session; best one that only reads, as this takes long.
        archive: reads it.
        product_id: which product.
        at: now, ns.
    """
    return [
        Draft(whose, stretch, *closed(session, archive, whose, stretch))
        for whose, stretch in _open_periods(session, product_id, at)[:AT_ONCE]
    ]


def close(
    session: Session, tokens: Tokens, product_id: str, counted: Sequence[Draft], at: int
) -> list[UsageStatement]:
    """Close periods of a product that are over, and bill what was used beyond.

    What no draft says, or says of other facts, credit or outages than there are now, stays open: it is drafted
    again.

    Args:
        session: a writing session.
        tokens: source of ids.
        product_id: which product.
        counted: by `drafts`.
        at: now, ns.

    Returns:
        New statements; none the second time.
    """
    known = {(draft.whose.one.number, draft.stretch): draft for draft in counted}
    made = []
    for whose, stretch in _open_periods(session, product_id, at):
        draft = known.get((whose.one.number, stretch))
        if draft is not None and draft.whose.equals(whose):
            row = _revise(session, tokens, draft, None, CLOSED, at)
            made.append(row)
    return made


def _open_periods(
    session: Session, product_id: str, at: int
) -> list[tuple[Metered, tuple[int, int]]]:
    """Return the periods (ns) of a product that are over and not closed, the earliest first."""
    closed_before = select(UsageStatement.meter, UsageStatement.start).where(
        UsageStatement.product_id == product_id, UsageStatement.revision == 0
    )
    done = {(row.meter, row.start) for row in session.execute(closed_before)}
    found = []
    for whose in _metered(session, product_id):
        found += [
            (whose, (start, end))
            for start, end in _over(session, whose, at)
            if end + SETTLES_NS <= at and (whose.one.number, start) not in done
        ]
    return found


def foresee(session: Session, archive: Totals, pending: UsageCorrection, at: int) -> None:
    """Read from the archive what `adjust` will ask for at the same instant, while nobody waits for a lock."""
    for whose, stretch, _ in _corrected(session, pending, at):
        closed(session, archive, whose, stretch)


def adjust(
    session: Session, archive: Totals, tokens: Tokens, pending: UsageCorrection, at: int
) -> list[UsageStatement]:
    """Count closed periods again of which something came late; write and bill what differs.

    Args:
        session: a writing session.
        archive: reads it; best where `foresee` has read what is asked for.
        tokens: source of ids.
        pending: what came; it is done then.
        at: now, ns.
    """
    made = []
    for whose, stretch, newest in _corrected(session, pending, at):
        draft = Draft(whose, stretch, *closed(session, archive, whose, stretch))
        if (draft.used, draft.overage) != (newest.used, newest.overage):
            made.append(_revise(session, tokens, draft, newest, LATE, at))
    session.delete(pending)
    session.flush()
    return made


def _corrected(
    session: Session, pending: UsageCorrection, at: int
) -> Iterator[tuple[Metered, tuple[int, int], UsageStatement]]:
    """Yield the closed periods that a correction may concern, with their newest statements."""
    for whose in _metered(session, pending.product_id):
        if whose.one.number != pending.meter:
            continue
        for start, end in _over(session, whose, at):
            newest = _newest(session, whose, start)
            if newest is not None and end > pending.since:  # else it is counted when it is closed
                yield whose, (start, end), newest


def pending(session: Session, limit: int) -> list[UsageCorrection]:
    """Return corrections that are to be worked off, the earliest first."""
    query = select(UsageCorrection).order_by(UsageCorrection.at).limit(limit)
    return list(session.scalars(query))


def correction(session: Session, product_id: str, meter: int) -> UsageCorrection | None:
    """Return what came late of a product and meter."""
    return session.get(UsageCorrection, (product_id, meter))


def part(session: Session, after: int, limit: int) -> tuple[list[str], int | None]:
    """Return some products that a meter counts, in the order of their slots, and where to go on.

    Args:
        session: any session.
        after: slot of the last product of the part before, 0 for the first part.
        limit: at most so many.
    """
    query = (
        select(Device.product_id, Device.slot)
        .join(Product, Product.id == Device.product_id)
        .where(Device.slot > after, Product.model_number.in_(load_catalogue(session).meters))
        .order_by(Device.slot)
        .limit(limit)
    )
    rows = session.execute(query).all()
    return [row.product_id for row in rows], rows[-1].slot if len(rows) == limit else None


@dataclass(frozen=True, slots=True)
class Shown:
    """A statement as people read it; quantities in units of the meter, instants in ns."""

    meter: str
    start: int
    end: int
    revision: int
    used: Decimal
    overage: Decimal
    at: int
    reason: str
    cause: str | None


def shown(session: Session, caller: Caller, product_id: str) -> list[Shown]:
    """Return the statements of a product, the latest period first; owners get their own.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.TELEMETRY_READ)
    product = products.visible(session, caller, product_id, Act.BILLS)
    meters = {
        one.number: one for one in load_catalogue(session).meters.get(product.model_number, ())
    }
    query = select(UsageStatement).where(UsageStatement.product_id == product_id)
    order = (UsageStatement.start.desc(), UsageStatement.meter, UsageStatement.revision)
    made = []
    for row in session.scalars(query.order_by(*order)):
        own = caller.is_staff or (row.owner_id and caller.may(Act.BILLS, row.owner_id))
        if not own or row.meter not in meters:
            continue
        one = meters[row.meter].meter
        used, overage = (Decimal(n).scaleb(-one.decimals) for n in (row.used, row.overage))
        plain = (row.start, row.end, row.revision, used, overage, row.at, row.reason, row.cause)
        made.append(Shown(one.code, *plain))
    return made


def _metered(session: Session, product_id: str) -> Iterator[Metered]:
    facts = load_one(session, product_id)
    given = Given.load(session, [product_id])
    zone = session.get_one(Product, product_id).zone
    for one in load_catalogue(session).meters.get(facts.model.number, ()):
        whose = given.metered(product_id, facts, zone, one)
        if whose is not None:
            yield whose


def _over(session: Session, whose: Metered, at: int) -> list[tuple[int, int]]:
    """Return the periods (ns) that are over of the owner, and of those before, the earliest first.

    That of a former owner ends with the ownership; one that was undone, or whose household is no more,
    has none.
    """
    facts, feature, zone = whose.facts, whose.feature, whose.zone
    found = list(past_periods(facts, feature, zone, at, MOST))
    for owned in facts.ownership:
        if owned.end is None or not at - FORMER_NS < owned.end <= at:
            continue
        if _is_void(session, whose.product_id, owned):
            continue
        last = owned.end - 1
        begin = max(period(facts, feature, zone, last)[0], owned.start)
        found += [(begin, owned.end), *past_periods(facts, feature, zone, last, MOST)]
    return sorted(set(found))


def _is_void(session: Session, product_id: str, owned: Owned) -> bool:
    query = (
        select(Ownership.undone_at, Owner.name)
        .join(Owner, Owner.id == Ownership.owner_id)
        .where(Ownership.product_id == product_id, Ownership.epoch == owned.epoch)
    )
    undone_at, name = session.execute(query).one()
    lives = select(Membership.id).where(
        Membership.owner_id == owned.owner_id, Membership.ended_at.is_(None)
    )
    erased = name == ERASED and session.scalars(lives.limit(1)).first() is None
    return undone_at is not None or erased


def _newest(session: Session, whose: Metered, start: int) -> UsageStatement | None:
    of = (
        UsageStatement.product_id == whose.product_id,
        UsageStatement.meter == whose.one.number,
        UsageStatement.start == start,
    )
    newest = select(func.max(UsageStatement.revision)).where(*of).scalar_subquery()
    query = select(UsageStatement).where(*of, UsageStatement.revision == newest)
    return session.scalars(query).one_or_none()


def _revise(
    session: Session,
    tokens: Tokens,
    draft: Draft,
    before: UsageStatement | None,
    reason: str,
    at: int,
) -> UsageStatement:
    whose, (start, end), used, overage = draft
    owned = ownership(whose.facts, end - 1)
    row = UsageStatement(
        product_id=whose.product_id,
        meter=whose.one.number,
        start=start,
        revision=0 if before is None else before.revision + 1,
        end=end,
        owner_id=None if owned is None else owned.owner_id,
        used=used,
        overage=overage,
        at=at,
        reason=reason,
    )
    billed = 0 if before is None else before.overage
    row.cause = _bill(session, tokens, whose, row, billed, at)
    session.add(row)
    session.flush()
    if before is not None:
        about: dict[str, Any] = {
            "meter": whose.one.meter.code,
            "start": start,
            "used": [before.used, used],
            "overage": [before.overage, overage],
            "cause": row.cause,
        }
        object_ = f"product:{whose.product_id}"
        audit.record(session, at, HUB.actor, "usage.adjust", object_, about)
    return row


def _bill(
    session: Session,
    tokens: Tokens,
    whose: Metered,
    row: UsageStatement,
    billed: int,
    at: int,
) -> str | None:
    """Put the difference of overage on an invoice; return its cause, `None` if there is none."""
    sold = None if row.overage == billed else _sold(session, whose, row, at)
    if sold is None:
        return None
    decimals = whose.one.meter.decimals
    low, high = sorted((billed, row.overage))
    cost = sold.unit.cost(low, high, decimals)
    amount = cost if row.overage > billed else -cost
    if amount == Money.zero(amount.currency):
        return None
    line = invoices.Line(
        subscription_id=None,
        product_id=whose.product_id,
        kind="overage",
        code="usage.overage",
        args={"title": whose.one.title, "plan": sold.plan},
        amount=amount,
        tax_ppm=_tax_ppm(session, row, sold, at),
        quantity=Decimal(row.overage - billed).scaleb(-decimals),
        start=row.start,
        end=row.end,
        inclusive=sold.price.inclusive,
    )
    cause = f"usage:{row.product_id}:{row.meter}:{row.start}:{row.revision}"
    invoice = invoices.issue(session, tokens, sold.owner_id, [line], at, cause=cause)
    if amount.minor > 0:
        payments.charge(session, invoice, at)
    return cause


def _tax_ppm(session: Session, row: UsageStatement, sold: _Sold, at: int) -> int:
    """Return the tax rate of a period: the one of its first bill, also if another holds by now."""
    billed = (
        select(InvoiceLine.tax_ppm)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .join(UsageStatement, UsageStatement.cause == Invoice.cause)
        .where(
            UsageStatement.product_id == row.product_id,
            UsageStatement.meter == row.meter,
            UsageStatement.start == row.start,
        )
        .order_by(UsageStatement.revision)
    )
    first = session.scalars(billed.limit(1)).first()
    if first is not None:
        return first
    return invoices.tax_ppm(session, sold.owner_id, sold.price.tax_class, at)


def _sold(session: Session, whose: Metered, row: UsageStatement, at: int) -> _Sold | None:
    """Return at what the plan of a period sells more; `None`: it does not, or not in the currency."""
    when = decided_at(whose.facts, whose.feature, row.start, row.end)
    _, terms = quota_and_terms(whose.facts, whose.feature, when)
    # A quota that was used up says nothing of the plan.
    decided = decide(replace(whose.facts, holds=()), whose.feature.name, when)
    if row.owner_id is None or terms.hard or terms.keep_overage or decided.plan is None:
        return None
    query = (
        select(PlanVersion.id, Plan.title)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(Plan.name == decided.plan, PlanVersion.version == decided.plan_version)
    )
    version, title = session.execute(query).one()
    price = prices.of_version(session, version)
    account = billing_accounts.of_owner(session, row.owner_id, at)
    try:
        unit = price.unit_price(whose.one.meter.code, account.currency)
    except CurrencyMismatchError:
        return None
    return None if unit is None else _Sold(row.owner_id, title, price, unit)
