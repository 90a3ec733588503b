"""What a product used in the billing periods that are over, counted from what is stored.

1. Periods are those that were: a period that a change of plan cut short ends there. They reach back to
   the beginning of the present ownership; what a former owner used is theirs.
2. A period of which nothing is stored, by telemetry or over the API, is said to be without data, not to
   be without usage.

What must never live here: the present period (`usage`), or prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlalchemy.orm import Session

from entitlements.facts import Facts
from hub.ports.database.product_tables import Product
from hub.ports.store.port import TelemetryStore
from hub.services import consent, products
from hub.services.caller import Caller, Scope
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.relations import Act
from hub.services.usage_balance import used
from hub.services.usage_meters import ModelMeter
from hub.services.usage_periods import metered, past_periods, quota

YEAR: Final = 12
"""Periods of a year."""


@dataclass(frozen=True, slots=True)
class PastPeriod:
    """What one meter counted in a period that is over; instants in ns.

    Args:
        start: first instant.
        end: end of it.
        total: what was used, exactly; 0 without data.
        quota: how much of it the plan of then included, `None`: without limit, or no quota.
        stored: whether anything of the period is stored.
    """

    start: int
    end: int
    total: Decimal
    quota: int | None
    stored: bool


History = Mapping[str, tuple[PastPeriod, ...]]
"""Periods by name of the meter, the latest first."""


def of_product(
    session: Session,
    store: TelemetryStore,
    caller: Caller,
    product_id: str,
    at: int,
    *,
    most: int = YEAR,
) -> History:
    """Return what a product used in its past periods.

    Args:
        session: any session.
        store: the archive; it must keep every row and its identity.
        caller: who asks.
        product_id: of the product.
        at: now, ns.
        most: at most so many periods of each meter.

    Raises:
        ForbiddenError: the caller may not see bills, or support has no consent.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.TELEMETRY_READ)
    product = products.visible(session, caller, product_id, Act.BILLS)
    consent.check_history(session, caller, product_id, at)
    facts = load_one(session, product.id)
    found = load_catalogue(session).meters.get(facts.model.number, ())
    return {
        one.meter.code: tuple(
            _counted(session, store, product, facts, one, start, end)
            for start, end in past_periods(
                facts, metered(facts, one.meter.code), product.zone, at, most
            )
        )
        for one in found
    }


def _counted(
    session: Session,
    store: TelemetryStore,
    product: Product,
    facts: Facts,
    one: ModelMeter,
    start: int,
    end: int,
) -> PastPeriod:
    feature = metered(facts, one.meter.code)
    total = used(session, store, product.id, facts.device.slot, one, start, end)
    return PastPeriod(
        start=start,
        end=end,
        total=Decimal(total or 0).scaleb(-one.meter.decimals),
        quota=None if feature is None else quota(facts, feature, start),
        stored=total is not None,
    )
