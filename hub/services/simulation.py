"""What each plan on sale would have cost on a product's stored usage.

1. Months are those of the subscription that the product has, counted back from its start too, else
   months of the ownership. The last twelve that are over and were the household's are taken; while
   none is over, the one that runs.
2. Usage is the archive's count and what was told over the API, prices are the catalogue's, tax is the
   household's: as for bills.
3. A plan is taken by itself: without add-ons, promotions, trials and credit.

What must never live here: the arithmetic (`entitlements.billing.simulation`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from entitlements.billing.money import CurrencyMismatchError
from entitlements.billing.periods import renewal
from entitlements.billing.price import Price
from entitlements.billing.simulation import MeterTerms, Month, Simulation, simulate
from entitlements.facts import Facts, Feature, Subscription
from entitlements.ladder import ownership
from entitlements.quotas import PLAIN
from entitlements.status import ENTITLED, status
from hub.errors import ConflictError
from hub.ports.database.product_tables import Product
from hub.ports.store.port import TelemetryStore
from hub.services import billing_accounts, catalogue_store, consent, products
from hub.services.caller import Caller, Scope
from hub.services.catalogue_document import PlanEntry, PlanVersionEntry
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.relations import Act
from hub.services.usage_balance import used
from hub.services.usage_meters import ModelMeter
from hub.services.usage_periods import metered

YEAR: Final = 12


@dataclass(frozen=True, slots=True)
class PlanCost:
    """What one plan would have cost.

    Args:
        plan: name.
        title: as people read it.
        version: version of the plan.
        present: whether the product has it now.
        price: as in the catalogue.
        quotas: units that it includes in a month, by meter; `None`: without limit.
        simulation: `None`: the plan is not sold in the household's currency.
    """

    plan: str
    title: str
    version: int
    present: bool
    price: Price
    quotas: Mapping[str, int | None]
    simulation: Simulation | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What all plans would have cost; instants in ns.

    Args:
        currency: of all amounts.
        months: first instant and end of each, the earliest first.
        running: whether the only month is not over yet.
        without_data: beginnings of the months of which nothing is stored, by meter.
        meters: what was counted, by name.
        plans: the present one first, then by what they would have cost.
    """

    currency: str
    months: tuple[tuple[int, int], ...]
    running: bool
    without_data: Mapping[str, tuple[int, ...]]
    meters: Mapping[str, ModelMeter]
    plans: tuple[PlanCost, ...]


def compare(
    session: Session, store: TelemetryStore, caller: Caller, product_id: str, at: int
) -> Comparison:
    """Say what each plan would have cost on the last twelve months, or as many as are stored.

    Args:
        session: any session.
        store: the archive; it must keep every row and its identity.
        caller: who asks.
        product_id: of the product.
        at: now, ns.

    Raises:
        ConflictError: nobody owns the product.
        ForbiddenError: the caller may not see bills, or support has no consent.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.TELEMETRY_READ)
    product = products.visible(session, caller, product_id, Act.BILLS)
    consent.check_history(session, caller, product_id, at)
    facts = load_one(session, product.id)
    owned = ownership(facts, at)
    if owned is None:
        raise ConflictError(
            f"Nobody owns product {product.serial}, so nothing was used for which a plan could be "
            "compared. Have it claimed first.",
            product=product_id,
        )
    held = _present(facts, owned.epoch, at)
    anchor = owned.start if held is None else min(one.start for one in held)
    places, running = _window(product.zone, anchor, owned.start, at)
    found = {
        one.meter.code: one for one in load_catalogue(session).meters.get(facts.model.number, ())
    }
    months = tuple(_months(session, store, facts, product, anchor, places, found, owned.start, at))
    account = billing_accounts.shown(session, caller, owned.owner_id, at)

    def cost(plan: str, entry: PlanEntry, version: PlanVersionEntry, present: bool) -> PlanCost:  # noqa: FBT001  a closure of this function
        price = version.value
        terms = {code: _terms(facts, one, version) for code, one in found.items()}
        first, last = places[0], places[-1] + price.interval_months + 1
        edges = [renewal(product.zone, anchor, place) for place in range(first, last + 1)]
        rate, _ = billing_accounts.tax(session, account, price.tax_class)
        try:
            simulated = simulate(price, terms, months, edges, account.currency, rate)
        except CurrencyMismatchError:
            simulated = None
        quotas = {
            code: None if one.quota is None else one.quota // 10**one.decimals
            for code, one in terms.items()
            if one.included
        }
        return PlanCost(plan, entry.title, version.version, present, price, quotas, simulated)

    offered = [cost(*one) for one in _offered(session, facts, held)]
    offered.sort(key=_order)
    return Comparison(
        currency=account.currency,
        months=tuple((one.start, one.end) for one in months),
        running=running,
        without_data={
            code: without
            for code in found
            if (without := tuple(one.start for one in months if one.used[code] is None))
        },
        meters=found,
        plans=tuple(offered),
    )


def _present(facts: Facts, epoch: int, at: int) -> list[Subscription] | None:
    """Return the subscriptions that grant something now, the latest first; `None` without one."""
    found = [
        one
        for one in facts.subscriptions
        if one.epoch in {None, epoch} and status(one, at) in ENTITLED
    ]
    found.sort(key=lambda one: (one.start, one.id), reverse=True)
    return found or None


def _window(zone: str, anchor: int, since: int, at: int) -> tuple[range, bool]:
    """Return which months after the anchor (before it: negative) are taken, and whether one runs."""
    running = 0
    while renewal(zone, anchor, running + 1) <= at:
        running += 1
    first = running
    while first > running - YEAR and renewal(zone, anchor, first - 1) >= since:
        first -= 1
    return (
        (range(first, running), False) if first < running else (range(running, running + 1), True)
    )


def _months(
    session: Session,
    store: TelemetryStore,
    facts: Facts,
    product: Product,
    anchor: int,
    places: range,
    meters: Mapping[str, ModelMeter],
    since: int,
    at: int,
) -> Iterator[Month]:
    """Yield the months with their usage; what was before `since` (ns) was somebody else's."""
    slot = facts.device.slot
    for place in places:
        start, end = (renewal(product.zone, anchor, place + step) for step in (0, 1))
        start = max(start, since)
        counted = {
            code: used(session, store, product.id, slot, one, start, min(end, at))
            for code, one in meters.items()
        }
        yield Month(start, end, counted)


def _terms(facts: Facts, one: ModelMeter, version: PlanVersionEntry) -> MeterTerms:
    """Return what a plan version says of a meter."""
    feature = metered(facts, one.meter.code)
    decimals = one.meter.decimals
    if feature is None:
        return MeterTerms(included=True, decimals=decimals)
    entry = version.features.get(feature.name)
    if entry is None and not feature.default:
        return MeterTerms(included=False, decimals=decimals)
    value = feature.default if entry is None or entry.value is None else entry.value
    limited = type(value) is int and value > 0
    return MeterTerms(
        included=True,
        quota=value * 10**decimals if limited and isinstance(value, int) else None,
        terms=PLAIN if entry is None else entry.quota_terms(),
        decimals=decimals,
    )


def _offered(
    session: Session, facts: Facts, held: Sequence[Subscription] | None
) -> Iterator[tuple[str, PlanEntry, PlanVersionEntry, bool]]:
    """Yield the plans to compare: those on sale for the model, and those that the product has."""
    document = catalogue_store.read(session)
    present = {(one.plan, one.plan_version) for one in held or ()}
    for name, plan in document.plans.items():
        if plan.addon:
            continue
        on_sale = [one.version for one in plan.versions if not one.withdrawn]
        for version in plan.versions:
            has = (name, version.version) in present
            newest = bool(on_sale) and version.version == max(on_sale)
            if has or (newest and _concerns(facts.model.features, version)):
                yield name, plan, version, has


def _concerns(features: Mapping[str, Feature], version: PlanVersionEntry) -> bool:
    return any(
        name in features and terms.value is not False for name, terms in version.features.items()
    )


def _order(one: PlanCost) -> tuple[bool, int, str]:
    gross = -1 if one.simulation is None else one.simulation.total.gross.minor
    return not one.present, gross, one.plan
