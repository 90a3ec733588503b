"""Grants of credit: units of a meter that a product may use beside its plan's quota.

1. A grant is of one product in the hands of its present owner, or (without a product) of each product
   of an owner that has the meter. It ends with the ownership: nobody uses what somebody else was given.
2. A grant is given once for a cause; a second call returns the first grant. Two with one code must not
   run at the same time.
3. Ending a grant sets its end and removes nothing: what it paid for stays paid.
4. Amounts are whole numbers of `10**-decimals`, exact.

What must never live here: who pays for a grant (`invoices`), or what is left of it (`usage_balance`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from entitlements.billing.credit import CreditGrant as Credit
from entitlements.billing.outages import Outage, extended
from entitlements.facts import Facts
from entitlements.ladder import ownership
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Owner
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import CreditGrant, UsageMeter
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.facts import load_one
from hub.services.relations import Act
from hub.services.tokens import Tokens
from hub.services.usage_meters import smallest

KINDS: Final = ("topup", "addon", "promotion", "goodwill", "outage")
PRIORITIES: Final = {"topup": 100, "addon": 60, "promotion": 30, "goodwill": 30, "outage": 20}
"""Places in the burn order where none is named; the plan's quota has 50."""
BURNABLE: Final = frozenset({"count", "sum", "increase", "unique"})
"""Meters that credit can pay for: what they count adds up. The greatest or latest value does not."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is given.

    Args:
        meter: name of the meter.
        kind: one of `KINDS`.
        amount: units of the meter.
        starts_at: first instant, ns; `None`: now.
        ends_at: expiry, ns; `None`: none.
        priority: 0 burns first, 255 last; `None`: as usual for its kind.
        renews: whether it has its amount again in each period.
        min_rollover: units that are left at least at the end of a period.
        max_rollover: units that are left at most; `None`: all of them.
        code: what must not be given twice for the same time.
    """

    meter: str
    kind: str
    amount: Decimal
    starts_at: int | None = None
    ends_at: int | None = None
    priority: int | None = None
    renews: bool = False
    min_rollover: Decimal = Decimal(0)
    max_rollover: Decimal | None = None
    code: str | None = None


def give(
    session: Session,
    caller: Caller,
    offer: Offer,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    product_id: str | None = None,
    owner_id: str | None = None,
    cause: str | None = None,
) -> CreditGrant:
    """Give credit to a product, or to each product of an owner.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        offer: what is given.
        reason: why, as support writes it down.
        at: now, ns.
        tokens: source of the id.
        product_id: for this product and its present owner.
        owner_id: else for each product of this owner.
        cause: why, as a key: a second grant for the same cause is the first one.

    Raises:
        InvalidInputError: a number is out of range, an end not behind its beginning, or no such meter.
        ConflictError: nobody owns the product, a grant of the same code runs at the same time, or the
            cause was used for something else.
        NotFoundError: no such product or owner.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    if (product_id is None) == (owner_id is None):
        raise InvalidInputError("Name a product or an owner, not both and not neither.")
    epoch = None
    if product_id is not None:
        products.visible(session, caller, product_id)
        owner_id, epoch = _owner(session, product_id, at)
    elif session.get(Owner, owner_id) is None:
        raise NotFoundError(f"There is no owner {owner_id}.", owner=owner_id)
    decimals = _decimals(session, offer, product_id)
    row = _row(offer, at, decimals, reason)
    row.id = tokens.new_id()
    row.owner_id, row.product_id, row.epoch = owner_id or "", product_id, epoch
    row.cause, row.author = cause or f"given:{row.id}", caller.actor
    same = session.scalar(select(CreditGrant).where(CreditGrant.cause == row.cause))
    if same is not None:
        return _same(same, row)
    _refuse_overlap(session, row)
    session.add(row)
    session.flush()
    _note(session, row)
    about = {"id": row.id, "meter": row.meter, "kind": row.kind, "amount": f"{offer.amount:f}"}
    audit.record(
        session, at, caller.actor, "credit.give", _object(row), {**about, "reason": reason}
    )
    return row


def end(session: Session, caller: Caller, grant_id: str, reason: str, at: int) -> CreditGrant:
    """End a grant now, or before it begins; one that is over stays as it is.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        grant_id: which.
        reason: why.
        at: now, ns.

    Raises:
        InvalidInputError: no reason.
        NotFoundError: no such grant.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    row = session.get(CreditGrant, grant_id)
    if row is None:
        raise NotFoundError(f"There is no credit grant {grant_id}.", grant=grant_id)
    _check_reason(reason)
    if row.ends_at is None or row.ends_at > at:
        row.ends_at = max(at, row.starts_at)
        session.flush()
        _note(session, row)
        about = {"id": row.id, "meter": row.meter, "reason": reason}
        audit.record(session, at, caller.actor, "credit.end", _object(row), about)
    return row


def listed(session: Session, caller: Caller, product_id: str) -> Sequence[CreditGrant]:
    """Return the grants that a product has or had; owners and their people see their own.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    product = products.visible(session, caller, product_id, Act.BILLS)
    rows = of_products(session, [product.id]).get(product.id, ())
    if caller.is_staff:
        return rows
    return [row for row in rows if caller.may(Act.BILLS, row.owner_id)]


def of_products(
    session: Session, product_ids: Sequence[str]
) -> Mapping[str, Sequence[CreditGrant]]:
    """Return all grants by product, those of the products' owners too, the earliest given first."""
    found: dict[str, dict[str, CreditGrant]] = defaultdict(dict)
    for product_id, row in session.execute(_OF_PRODUCTS, {"ids": product_ids}):
        found[product_id][row.id] = row
    return {product_id: list(rows.values()) for product_id, rows in found.items()}


def as_credits(
    rows: Sequence[CreditGrant],
    facts: Facts,
    meter: str,
    decimals: int,
    begins: Sequence[int],
    outages: Sequence[Outage],
    at: int,
) -> list[Credit]:
    """Return the grants of one meter as they are folded: within the present ownership.

    Args:
        rows: of the product.
        facts: of the product.
        meter: name of the meter.
        decimals: of the meter.
        begins: instants at which periods begin, rising.
        outages: by which credit expires later.
        at: now, ns.
    """
    present = ownership(facts, at)
    if present is None:
        return []
    found = []
    for row in rows:
        if row.meter != meter or row.owner_id != present.owner_id:
            continue
        if row.epoch not in {None, present.epoch}:
            continue
        start = max(row.starts_at, present.start)
        if row.ends_at is not None and row.ends_at <= start:
            continue

        def scaled(quantity: int, digits: int = decimals - row.decimals) -> int:
            return int(quantity * 10**digits if digits >= 0 else quantity // 10**-digits)

        amount = scaled(row.amount)
        if amount < 1:
            continue
        end = row.ends_at if row.ends_at is None else extended(outages, start, row.ends_at)
        renewals = tuple(
            begin
            for begin in begins
            if row.renews and start < begin and (end is None or begin < end)
        )
        most = scaled(row.max_rollover)
        found.append(
            Credit(
                row.id,
                amount,
                start,
                end,
                row.created_at,
                row.priority,
                renewals,
                min(scaled(row.min_rollover), most),
                most,
            )
        )
    return found


def _owner(session: Session, product_id: str, at: int) -> tuple[str, int]:
    present = ownership(load_one(session, product_id), at)
    if present is None:
        raise ConflictError(
            "Nobody owns the product. Credit is given to an owner; wait until it is claimed.",
            product=product_id,
        )
    return present.owner_id, present.epoch


def _decimals(session: Session, offer: Offer, product_id: str | None) -> int:
    query = select(UsageMeter).where(UsageMeter.name == offer.meter)
    if product_id is not None:
        model = session.get_one(Product, product_id).model_number
        query = query.where(UsageMeter.model_number == model)
    found = session.scalars(query).all()
    if not found:
        raise InvalidInputError(
            f"There is no meter {offer.meter} here. The catalogue names the meters of each model.",
            meter=offer.meter,
        )
    if any(row.aggregation not in BURNABLE for row in found):
        raise InvalidInputError(
            f"Meter {offer.meter} tells the greatest or latest value; credit is for what adds up.",
            meter=offer.meter,
        )
    return max(row.decimals for row in found)


def _row(offer: Offer, at: int, decimals: int, reason: str) -> CreditGrant:
    _check_reason(reason)
    if offer.kind not in KINDS:
        raise InvalidInputError(f"A grant is one of {', '.join(KINDS)}.", kind=offer.kind)
    amount = quantity(offer.amount, decimals, "amount")
    if amount < 1:
        raise InvalidInputError(
            "The amount must be above zero. To take credit back, end its grant."
        )
    priority = PRIORITIES[offer.kind] if offer.priority is None else offer.priority
    if not 0 <= priority <= 255:
        raise InvalidInputError("The priority must be within 0 and 255.", priority=priority)
    least = quantity(offer.min_rollover, decimals, "min_rollover")
    most = (
        max(amount, least)
        if offer.max_rollover is None
        else quantity(offer.max_rollover, decimals, "max_rollover")
    )
    if not 0 <= least <= most:
        raise InvalidInputError(
            "min_rollover must not be negative, nor above max_rollover.",
        )
    start = at if offer.starts_at is None else offer.starts_at
    if offer.ends_at is not None and offer.ends_at <= max(start, at):
        raise InvalidInputError("The end must lie behind the beginning, and in the future.")
    return CreditGrant(
        meter=offer.meter,
        kind=offer.kind,
        code=offer.code,
        amount=amount,
        decimals=decimals,
        priority=priority,
        starts_at=start,
        ends_at=offer.ends_at,
        renews=offer.renews,
        min_rollover=least,
        max_rollover=most,
        created_at=at,
        reason=reason,
    )


def quantity(value: Decimal, decimals: int, name: str) -> int:
    """Return a number of units as a whole number of `10**-decimals`.

    Raises:
        InvalidInputError: it has more decimals, or is absurdly large.
    """
    whole = smallest(value, decimals)
    if whole is None:
        raise InvalidInputError(
            f"{name} must be a number with at most {decimals} decimals, as the meter counts.",
            decimals=decimals,
        )
    return whole


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")


def _same(same: CreditGrant, row: CreditGrant) -> CreditGrant:
    names = ("owner_id", "product_id", "meter", "kind", "amount", "decimals")
    if any(getattr(same, name) != getattr(row, name) for name in names):
        raise ConflictError(
            f"A grant for the cause {row.cause} was given before, and it is another one.",
            grant=same.id,
        )
    return same


def _refuse_overlap(session: Session, row: CreditGrant) -> None:
    if row.code is None:
        return
    query = select(CreditGrant).where(
        CreditGrant.owner_id == row.owner_id,
        CreditGrant.product_id == row.product_id
        if row.product_id is not None
        else CreditGrant.product_id.is_(None),
        CreditGrant.meter == row.meter,
        CreditGrant.code == row.code,
        or_(CreditGrant.ends_at.is_(None), CreditGrant.ends_at > row.starts_at),
    )
    if row.ends_at is not None:
        query = query.where(CreditGrant.starts_at < row.ends_at)
    other = session.scalars(query).first()
    if other is not None:
        raise ConflictError(
            f"Grant {other.id} with the code {row.code} runs at the same time. End it first, or choose"
            " another time.",
            grant=other.id,
        )


def _note(session: Session, row: CreditGrant) -> None:
    if row.product_id is not None:
        changes.note(session, row.product_id, changes.About.COUNTING)
        return
    owned = select(Ownership.product_id).where(
        Ownership.owner_id == row.owner_id, Ownership.ended_at.is_(None)
    )
    for product_id in session.scalars(owned):
        changes.note(session, product_id, changes.About.COUNTING)


def _object(row: CreditGrant) -> str:
    return f"owner:{row.owner_id}" if row.product_id is None else f"product:{row.product_id}"


_OF_PRODUCTS: Final = (
    select(Ownership.product_id, CreditGrant)
    .join(
        CreditGrant,
        or_(
            and_(
                CreditGrant.product_id == Ownership.product_id,
                CreditGrant.epoch == Ownership.epoch,
            ),
            and_(
                CreditGrant.product_id.is_(None),
                CreditGrant.owner_id == Ownership.owner_id,
            ),
        ),
    )
    .where(Ownership.product_id.in_(bindparam("ids", expanding=True)))
    .order_by(Ownership.product_id, CreditGrant.created_at, CreditGrant.id)
)
