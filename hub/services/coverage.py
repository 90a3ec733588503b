"""What covers a product, as its owner and staff see it, and what a change of owner makes of it.

1. Everything is derived for the instant asked for, past ones included.
2. Who sees the product sees the warranty, the contracts of the present owner, and those that passed
   on to them; staff see those of former owners too.
3. Instants of a former owner's time are for staff only: how the counters rose tells how they lived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements import contracts, coverage
from entitlements.coverage import Passing
from entitlements.coverage_facts import Contract, CoverageFacts, Extension, Reading
from entitlements.covers import Cover
from entitlements.warranty import extensions_at, start
from hub.errors import NotFoundError
from hub.ports.database.coverage_tables import ContractPlan
from hub.ports.database.ownership_tables import Ownership
from hub.services import products
from hub.services.caller import Caller, Scope
from hub.services.coverage_facts import load_one
from hub.services.own_time import is_anothers, ownerships


@dataclass(frozen=True, slots=True)
class LifetimeView:
    """A limit of the warranty and what was counted by the instant, in hours or cycles."""

    name: str
    total: float
    at_most: float
    read_at: int | None


@dataclass(frozen=True, slots=True)
class ContractView:
    """A support contract of the product; `ends_at` on present facts."""

    id: str
    plan: str
    title: str
    version: int
    starts_at: int
    ends_at: int
    incidents: int | None
    transferable: bool
    cover: Cover


@dataclass(frozen=True, slots=True)
class CoverageView:
    """What covers a product at an instant; instants in ns.

    `begins_at` is the begin of the warranty on present facts: before it, it waits for the first use.
    """

    product_id: str
    at: int
    zone: str
    made_at: int
    first_use_at: int | None
    begins_at: int | None
    by: Cover | None
    until: int | None
    warranty: Cover
    warranty_version: int | None
    meters: tuple[LifetimeView, ...]
    extensions: tuple[Extension, ...]
    contracts: tuple[ContractView, ...]


def explained(session: Session, caller: Caller, product_id: str, at: int) -> CoverageView:
    """Return what covers a product at an instant, and why.

    Raises:
        NotFoundError: no such product of the caller's, or it was another household's then.
    """
    caller.require(Scope.PRODUCTS_READ)
    product = products.visible(session, caller, product_id)
    rows = [] if caller.is_staff else ownerships(session, product_id)
    if is_anothers(rows, at):
        raise NotFoundError(
            f"Product {product.serial} was somebody else's then. Ask about your own time.",
            product=product_id,
        )
    facts = load_one(session, product_id)
    seen = [one for one in facts.contracts if caller.is_staff or _concerns(facts, one)]
    titles = _titles(session, seen)
    derived = coverage.coverage(facts, at)
    covers = {cover.id: cover for cover in derived.covers}
    visible = {"", *(one.id for one in seen)}
    return CoverageView(
        product_id=product_id,
        at=at,
        zone=facts.zone,
        made_at=facts.made_at,
        first_use_at=facts.first_use_at,
        begins_at=None if facts.terms is None else start(facts, facts.terms),
        by=next((one for one in derived.covers if one.covered and one.id in visible), None),
        until=derived.until,
        warranty=covers[""],
        warranty_version=None if facts.terms is None else facts.terms.version,
        meters=tuple(_own(meter, rows) for meter in lifetimes_at(facts, at)),
        extensions=extensions_at(facts, at),
        contracts=tuple(
            _contract(facts, one, titles[one.plan], covers[one.id])
            for one in sorted(seen, key=lambda one: (one.start, one.id))
        ),
    )


def contract_view(session: Session, product_id: str, contract_id: str, at: int) -> ContractView:
    """Return one contract; whether the caller may know of it was checked before."""
    facts = load_one(session, product_id)
    one = next(one for one in facts.contracts if one.id == contract_id)
    titles = _titles(session, [one])
    return _contract(facts, one, titles[one.plan], contracts.contract(facts, one, at))


def split(session: Session, product_id: str, at: int) -> tuple[Passing, ...]:
    """Tell what of a product's coverage passes on to the next owner, and what ends.

    Whether the caller may know of the product was checked before.
    """
    return coverage.split(load_one(session, product_id), at)


def lifetimes_at(facts: CoverageFacts, at: int) -> tuple[LifetimeView, ...]:
    """Return the limits of the warranty and what was counted of them by an instant."""
    if facts.terms is None:
        return ()
    found: list[LifetimeView] = []
    readings: Mapping[str, Sequence[Reading]] = {"hours": facts.hours, "cycles": facts.cycles}
    for name, known in readings.items():
        limit = getattr(facts.terms, name)
        if limit is None:
            continue
        limit += sum(getattr(one, name) for one in extensions_at(facts, at))
        newest = max((one for one in known if one.at <= at), key=_in_order, default=None)
        found.append(
            LifetimeView(name, newest.total, limit, newest.at)
            if newest
            else LifetimeView(name, 0.0, limit, None)
        )
    return tuple(found)


def _own(meter: LifetimeView, rows: Sequence[Ownership]) -> LifetimeView:
    """Leave out when a counter was read if that was in a former owner's time."""
    others = meter.read_at is not None and is_anothers(rows, meter.read_at)
    return replace(meter, read_at=None) if others else meter


def _contract(facts: CoverageFacts, one: Contract, title: str, cover: Cover) -> ContractView:
    return ContractView(
        id=one.id,
        plan=one.plan,
        title=title,
        version=one.version,
        starts_at=one.start,
        ends_at=contracts.end_of(facts, one),
        incidents=one.incidents,
        transferable=one.transferable,
        cover=cover,
    )


def _in_order(reading: Reading) -> tuple[int, float]:
    return reading.at, reading.total


def _concerns(facts: CoverageFacts, contract: Contract) -> bool:
    """Say whether a contract is the present owner's, or passed on to them."""
    if contract.transferable:
        return True
    epochs = sorted(facts.ownership, key=lambda one: one.epoch)
    bought = next((one.owner_id for one in epochs if one.epoch >= contract.epoch), None)
    return bool(epochs) and bought == epochs[-1].owner_id


def _titles(session: Session, seen: Sequence[Contract]) -> dict[str, str]:
    names = {one.plan for one in seen}
    query = select(ContractPlan.name, ContractPlan.title).where(ContractPlan.name.in_(names))
    return {row.name: row.title for row in session.execute(query)}
