"""Loads what `entitlements.coverage` derives from, for some products in a few queries.

1. The number of queries does not depend on the number of products.
2. A product keeps the version of the warranty that was the newest when it was made; one that was
   made before the first was published has the first.
3. It is used from its first contact or its first sample on, whichever is earlier; where its
   warranty names a counter, from the first reading above what it names.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from entitlements.coverage_facts import (
    Contract,
    CoverageFacts,
    Extension,
    Reading,
    Use,
    WarrantyTerms,
)
from entitlements.dates import known_zone
from entitlements.facts import Ownership
from hub.errors import NotFoundError
from hub.ports.database import coverage_tables as c
from hub.ports.database import ownership_tables as o
from hub.ports.database.product_tables import Device, Product

Rows = dict[str, list[Row[*tuple[Any, ...]]]]


def load_one(session: Session, product_id: str) -> CoverageFacts:
    """Load the facts of one product.

    Raises:
        NotFoundError: no such product.
    """
    loaded = load_some(session, [product_id])
    if product_id not in loaded:
        raise NotFoundError(f"There is no product {product_id}.", product=product_id)
    return loaded[product_id]


def load_some(session: Session, product_ids: Sequence[str]) -> dict[str, CoverageFacts]:
    """Load the facts of the given products, at most 10,000, by id; unknown ids are left out."""

    def rows(
        query: Select[*tuple[Any, ...]], column: InstrumentedAttribute[str]
    ) -> list[Row[*tuple[Any, ...]]]:
        return list(session.execute(query.where(column.in_(product_ids))))

    def grouped(query: Select[*tuple[Any, ...]], column: InstrumentedAttribute[str]) -> Rows:
        groups: Rows = defaultdict(list)
        for row in rows(query.add_columns(column.label("product")), column):
            groups[row.product].append(row)
        return groups

    products = rows(_PRODUCTS, Product.id)
    versions = warranty_versions(session, {row.model_number for row in products})
    owners = grouped(_OWNERSHIP, o.Ownership.product_id)
    extensions = grouped(_EXTENSIONS, c.WarrantyExtension.product_id)
    kept = grouped(_READINGS, c.LifetimeReading.product_id)
    newest = grouped(_LIFETIMES, c.LifetimeState.product_id)
    contracts = grouped(_CONTRACTS, c.SupportContract.product_id)
    uses = grouped(_USES, c.SupportCase.product_id)
    facts: dict[str, CoverageFacts] = {}
    for row in products:
        version = version_for(versions.get(row.model_number, ()), row.made_at)
        readings = [*kept[row.id], *newest[row.id]]
        facts[row.id] = CoverageFacts(
            zone=row.zone if known_zone(row.zone) else "UTC",
            made_at=row.made_at,
            first_use_at=_first_use(version, row.enrolled_at, row.first_use_at),
            terms=None if version is None else _terms(version),
            extensions=tuple(Extension(*one[:-1]) for one in extensions[row.id]),
            hours=_of_metric(readings, None if version is None else version.hours_metric),
            cycles=_of_metric(readings, None if version is None else version.cycles_metric),
            contracts=tuple(Contract(*one[:-1]) for one in contracts[row.id]),
            uses=tuple(Use(*one[:-1]) for one in uses[row.id]),
            ownership=tuple(Ownership(*one[:-1]) for one in owners[row.id]),
        )
    return facts


def warranty_versions(
    session: Session, models: Sequence[int] | set[int]
) -> dict[int, list[c.WarrantyVersion]]:
    """Return the versions of the warranties of some models, the first one first."""
    query = (
        select(c.WarrantyVersion)
        .where(c.WarrantyVersion.model_number.in_(models))
        .order_by(c.WarrantyVersion.version)
    )
    found: dict[int, list[c.WarrantyVersion]] = defaultdict(list)
    for version in session.scalars(query):
        found[version.model_number].append(version)
    return found


def version_for(versions: Sequence[c.WarrantyVersion], made_at: int) -> c.WarrantyVersion | None:
    """Return the version that a product has which was made at an instant, `None` if there is none."""
    published = [one for one in versions if one.published_at <= made_at]
    return published[-1] if published else next(iter(versions), None)


def _terms(version: c.WarrantyVersion) -> WarrantyTerms:
    return WarrantyTerms(
        version.version,
        version.months,
        version.latest_start_months,
        version.transferable,
        version.hours,
        version.cycles,
    )


def _first_use(
    version: c.WarrantyVersion | None, enrolled_at: int | None, seen_at: int | None
) -> int | None:
    if version is not None and version.use_metric is not None:
        return seen_at  # switched on is not yet used
    return min((at for at in (enrolled_at, seen_at) if at is not None), default=None)


def _of_metric(readings: Sequence[Any], metric: int | None) -> tuple[Reading, ...]:
    if metric is None:
        return ()
    return tuple(Reading(row.at, row.total) for row in readings if row.metric == metric)


# The columns are in the order of the fields of the facts.
_PRODUCTS = (
    select(
        Product.id,
        Product.model_number,
        Product.zone,
        Product.made_at,
        Device.enrolled_at,
        c.ProductUse.first_use_at,
    )
    .select_from(Product)
    .outerjoin(Device, Device.product_id == Product.id)
    .outerjoin(c.ProductUse, c.ProductUse.product_id == Product.id)
)
_OWNERSHIP = select(
    o.Ownership.epoch, o.Ownership.owner_id, o.Ownership.started_at, o.Ownership.ended_at
).where(o.Ownership.undone_at.is_(None))
_EXTENSIONS = select(
    c.WarrantyExtension.id,
    c.WarrantyExtension.bought_at,
    c.WarrantyExtension.months,
    c.WarrantyExtension.hours,
    c.WarrantyExtension.cycles,
    c.WarrantyExtension.transferable,
    c.WarrantyExtension.epoch,
)
_READINGS = select(c.LifetimeReading.metric, c.LifetimeReading.at, c.LifetimeReading.total)
_LIFETIMES = select(
    c.LifetimeState.metric, c.LifetimeState.read_at.label("at"), c.LifetimeState.total
)
_CONTRACTS = select(
    c.SupportContract.id,
    c.ContractVersion.plan,
    c.ContractVersion.version,
    c.SupportContract.starts_at,
    c.ContractVersion.months,
    c.SupportContract.terms,
    c.ContractVersion.incidents,
    c.ContractVersion.transferable,
    c.SupportContract.epoch,
    c.SupportContract.ended_at,
).join(c.ContractVersion, c.ContractVersion.id == c.SupportContract.contract_version_id)
_USES = select(
    c.SupportCase.contract_id, c.SupportCase.counted_at, c.SupportCase.given_back_at
).where(c.SupportCase.place.is_not(None))
