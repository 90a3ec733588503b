"""Loads what `entitlements` decides from, for one product or for many in a few queries.

1. The number of queries does not depend on the number of products in a chunk.
2. Models and plans are shared objects, one for all products.
3. A product that has not enrolled has facts too: its slot is 0 and its device id is empty.
4. Each query is one object, made once: to build it, find its text and match its columns anew each time
   would take longer than to run it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    BindParameter,
    CompoundSelect,
    Select,
    bindparam,
    cast,
    func,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from entitlements import facts as e
from entitlements.billing.outages import with_outages
from hub.errors import NotFoundError
from hub.ports.database import catalogue_tables as c
from hub.ports.database import ownership_tables as o
from hub.ports.database.product_tables import Device, Product
from hub.services import outages
from hub.services.catalogue_facts import Catalogue, load_catalogue

CHUNK = 5_000
"""Products whose facts are asked for at once by id; databases limit the number of parameters, and
the query for holds names each product four times."""

T = TypeVar("T")


def load_one(session: Session, product_id: str) -> e.Facts:
    """Load the facts of one product.

    Raises:
        NotFoundError: no such product.
    """
    loaded = load_some(session, [product_id])
    if product_id not in loaded:
        raise NotFoundError(f"There is no product {product_id}.", product=product_id)
    return loaded[product_id]


def load_some(session: Session, product_ids: Sequence[str]) -> dict[str, e.Facts]:
    """Load the facts of the given products, by product id; unknown ids are left out."""
    catalogue = load_catalogue(session)
    loaded: dict[str, e.Facts] = {}
    for start in range(0, len(product_ids), CHUNK):
        chunk = product_ids[start : start + CHUNK]
        loaded.update(_load(session, catalogue, chunk))
    return loaded


def last_slot(session: Session) -> int:
    """Return the highest slot there is, 0 if nothing has enrolled."""
    return session.scalar(select(func.max(Device.slot))) or 0


def _load(session: Session, catalogue: Catalogue, ids: Sequence[str]) -> dict[str, e.Facts]:
    def rows(query: Select[*tuple[Any, ...]]) -> Iterable[Any]:
        return session.connection().execute(query, {"ids": ids})

    ownership = _grouped(
        (product_id, e.Ownership(*terms)) for product_id, *terms in rows(_OWNERSHIP)
    )
    down = outages.all_of(session)
    subscriptions = _grouped(
        (product_id, with_outages(e.Subscription(*terms), down))
        for product_id, *terms in rows(_SUBSCRIPTIONS)
    )
    holds = _grouped(holds_within(session, ids))
    grants = _grouped((product_id, e.Grant(*terms)) for product_id, *terms in rows(_GRANTS))
    return {
        product_id: e.Facts(
            e.Device(slot or 0, device_id or "", enrolled_at or made_at, revoked_at, cohort or 0),
            catalogue.models[model],
            ownership.get(product_id, ()),
            subscriptions.get(product_id, ()),
            catalogue.plans,
            holds.get(product_id, ()),
            grants.get(product_id, ()),
        )
        for product_id, model, made_at, slot, device_id, enrolled_at, revoked_at, cohort in rows(
            _PRODUCTS
        )
    }


def holds_within(
    session: Session, ids: Sequence[str] | Select[str]
) -> Iterator[tuple[str, e.Hold]]:
    """Yield the holds on some products with the product that each is on.

    Those on a product itself, on accounts that ever owned it, on all that was built like it, and on
    firmwares that it ran, for as long as it ran them.

    Args:
        session: any session.
        ids: of the products, or a query for them.
    """
    query, named = (_holds_on(ids), {}) if isinstance(ids, Select) else (_HOLDS, {"ids": ids})
    every: Iterable[Any] = session.connection().execute(query, named)
    known: set[tuple[str, str, int]] = set()
    for row in every:
        product_id, id_, kind, starts_at, ends_at, features, *others, ran_from, ran_to = row
        start = starts_at if ran_from is None else max(starts_at, ran_from)
        ends = [end for end in (ends_at, ran_to) if end is not None]
        if (product_id, id_, start) in known:  # an account that owned the product twice
            continue
        known.add((product_id, id_, start))
        subscription_id, owner_id, reason, author = others
        yield (
            product_id,
            e.Hold(
                id_,
                e.HoldKind(kind),
                start,
                min(ends, default=None),
                None if features is None else frozenset(features),
                subscription_id,
                reason,
                author,
                owner_id,
            ),
        )


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for product_id, fact in pairs:
        groups[product_id].append(fact)
    return {product_id: tuple(facts) for product_id, facts in groups.items()}


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
# Columns, not mapped objects: at a million products the identity map would cost more than the rows.
# Those of ownerships, subscriptions and grants are in the order of the fields of the facts.
_PRODUCTS = (
    select(
        Product.id,
        Product.model_number,
        Product.made_at,
        Device.slot,
        Device.device_id,
        Device.enrolled_at,
        Device.revoked_at,
        Device.cohort,
    )
    .select_from(Product)
    .outerjoin(Device)
    .where(Product.id.in_(_IDS))
)
_OWNERSHIP = (
    select(
        o.Ownership.product_id,
        o.Ownership.epoch,
        o.Ownership.owner_id,
        o.Ownership.started_at,
        o.Ownership.ended_at,
    )
    .where(o.Ownership.product_id.in_(_IDS))
    .order_by(o.Ownership.product_id, o.Ownership.epoch)
)
_SUBSCRIPTIONS = (
    select(
        o.Subscription.product_id,
        o.Subscription.id,
        c.Plan.name,
        c.PlanVersion.version,
        o.Subscription.starts_at,
        o.Subscription.trial_end,
        o.Subscription.paid_until,
        o.Subscription.grace_s,
        o.Subscription.cancelled_at,
        o.Subscription.ends_at,
        o.Subscription.epoch,
        o.Subscription.retry_s,
        o.Subscription.paused_at,
        o.Subscription.resumes_at,
        o.Subscription.withdrawn_at,
        o.Subscription.quantity,
    )
    .join(c.PlanVersion, c.PlanVersion.id == o.Subscription.plan_version_id)
    .join(c.Plan, c.Plan.id == c.PlanVersion.plan_id)
    .where(o.Subscription.product_id.in_(_IDS))
    .order_by(o.Subscription.product_id, o.Subscription.starts_at, o.Subscription.id)
)
_HOLD = (
    o.Hold.id,
    o.Hold.kind,
    o.Hold.starts_at,
    o.Hold.ends_at,
    o.Hold.features,
    o.Hold.subscription_id,
    o.Hold.owner_id,
    o.Hold.reason,
    o.Hold.author,
    # When the product ran the firmware of a recall; other holds are not bound to one.
    cast(null(), BigInteger).label("ran_from"),  # typed: PostgreSQL takes a bare NULL for text
    cast(null(), BigInteger).label("ran_to"),
)
_GRANTS = (
    select(
        o.Grant.product_id,
        o.Grant.id,
        o.Grant.feature,
        o.Grant.starts_at,
        o.Grant.ends_at,
        o.Grant.value,
        o.Grant.reason,
        o.Grant.author,
    )
    .where(o.Grant.product_id.in_(_IDS))
    .order_by(o.Grant.product_id, o.Grant.id)
)


def _holds_on(ids: BindParameter[Any] | Select[str]) -> CompoundSelect[*tuple[Any, ...]]:
    itself = select(o.Hold.product_id, *_HOLD).where(o.Hold.product_id.in_(ids))
    account = (
        select(o.Ownership.product_id, *_HOLD)
        .join(o.Hold, o.Hold.owner_id == o.Ownership.owner_id)
        .where(o.Ownership.product_id.in_(ids))
    )
    alike = (
        select(Product.id, *_HOLD)
        .join(o.Hold, o.Hold.model_number == Product.model_number)
        .where(
            Product.id.in_(ids),
            o.Hold.firmware.is_(None),
            or_(o.Hold.hardware_lot.is_(None), o.Hold.hardware_lot == Product.hardware_lot),
        )
    )
    firmware = (
        select(o.Recalled.product_id, *_HOLD[:-2], o.Recalled.starts_at, o.Recalled.ends_at)
        .join(o.Hold, o.Hold.id == o.Recalled.hold_id)
        .where(o.Recalled.product_id.in_(ids))
    )
    return union_all(itself, account, alike, firmware)


_HOLDS = _holds_on(_IDS)
