"""Products: made, claimed, looked up, explained, released and revoked.

1. A path names a product by its device id, or by its product id before it has enrolled.
2. What is not the caller's is answered like what does not exist.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from hub.api import decisions
from hub.api import product_bodies as bodies
from hub.api.bodies import ID_PATTERN, DeviceId
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.api.product_detail import ProductDetail, Subscription, detail, shown_plan
from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.services import enrolment, ownership, products, subscriptions
from hub.services import product_detail as details

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])


@ROUTER.post(
    "/products",
    operation_id="register_products",
    summary="Register products that were made",
    status_code=201,
)
def register_products(
    hub: HubDep, caller: CallerDep, body: bodies.RegisterProducts
) -> bodies.RegisteredProducts:
    """Register products, all or none, and show their secrets once."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        made = [
            products.register(
                session,
                caller,
                model=unit.model,
                serial=unit.serial,
                at=at,
                tokens=hub.tokens,
                order_reference=unit.order_reference,
                hardware_lot=unit.hardware_lot,
                region=unit.region,
                zone=unit.zone,
                made_at=unit.made_at,
            )
            for unit in body.products
        ]
    shown = [bodies.RegisteredProduct.model_validate(unit) for unit in made]
    return bodies.RegisteredProducts(products=shown)


@ROUTER.post("/claims", operation_id="claim_product", summary="Claim a product", status_code=201)
def claim_product(hub: HubDep, caller: CallerDep, body: bodies.ClaimProduct) -> bodies.Claimed:
    """Make the caller's household the owner; ten wrong codes within an hour lock for a while."""
    with write_session(hub.engine) as session:
        claimed = ownership.claim(
            session, caller, body.claim_code, hub.clock(), hub.tokens, serial=body.serial
        )
    return bodies.Claimed.model_validate(claimed)


@ROUTER.delete(
    "/claims/{device_id}",
    operation_id="release_product",
    summary="Give a product up",
    status_code=204,
    response_class=Response,
)
def release_product(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> None:
    """End the ownership of a product; its data stays with the owner's time."""
    with write_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        ownership.release(session, caller, named, hub.clock())


@ROUTER.get("/products", operation_id="list_products", summary="List or look up products")
def list_products(
    hub: HubDep,
    caller: CallerDep,
    q: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            description="Beginning of a serial number, an owner's e-mail address, an order, a "
            "device id or a product id. The best matches come in one page.",
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[bodies.ProductSummary]:
    """List the products the caller sees: customers their own, staff all."""
    if q is not None and after is not None:
        raise InvalidInputError(
            "A look-up has one page; make it narrower instead.", parameter="after"
        )
    listing = Listing("list_products", (str,))
    key = listing.key(after)
    with read_session(hub.engine) as session:
        if q is not None:
            found = products.found(session, caller, q, limit=limit)
        else:
            last = None if key is None else str(key[0])
            found = products.listed(session, caller, after=last, limit=limit + 1)
    following = listing.following([(row.product_id,) for row in found], limit)
    items = [bodies.ProductSummary.model_validate(row) for row in found[:limit]]
    return Page(items=items, next=following)


@ROUTER.get(
    "/products/{device_id}", operation_id="get_product", summary="All that is known of a product"
)
def get_product(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> ProductDetail:
    """Return owner, plan, decisions with reasons, firmware, latest values and open alerts."""
    with read_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        return detail(session, hub.store, caller, named, hub.clock())


@ROUTER.get(
    "/products/{device_id}/entitlements/{feature}",
    operation_id="explain_entitlement",
    summary="Why a product may or may not use a feature",
)
def explain_entitlement(
    hub: HubDep,
    caller: CallerDep,
    device_id: DeviceId,
    feature: Annotated[str, Path(pattern="^[a-z][a-z0-9_]{0,47}$")],
    at: Annotated[Instant | None, Query(description="Absent: now.")] = None,
    known_at: Annotated[
        Instant | None,
        Query(
            description="From the facts as the hub knew them then. Absent: then, for an instant of "
            "the past, so that a later payment does not change what was decided; else now."
        ),
    ] = None,
) -> bodies.Explanation:
    """Decide one feature at an instant and show every rung of the ladder of rules."""
    now = hub.clock()
    instant = now if at is None else at
    known = min(instant, now) if known_at is None else known_at
    with read_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        explained = details.explanation(session, caller, named, feature, instant, known)
    return decisions.explanation(explained, instant, known)


@ROUTER.post(
    "/products/{device_id}/revoke",
    operation_id="revoke_device",
    summary="Take a device's identity away for good",
)
def revoke_device(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.RevokeDevice
) -> bodies.RevokedDevice:
    """Revoke a device and end its live connection; a lapse never needs this."""
    with write_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        revoked = enrolment.revoke(session, caller, named, hub.clock(), body.reason)
    # After the commit: the device comes back at once, and must then find itself revoked.
    hub.devices.kick(revoked.device_id)
    return bodies.RevokedDevice(device_id=revoked.device_id)


@ROUTER.post(
    "/owners/{owner_id}/subscriptions",
    operation_id="create_subscription",
    summary="Subscribe an owner's product to a plan",
    status_code=201,
)
def create_subscription(
    hub: HubDep,
    caller: CallerDep,
    owner_id: Annotated[str, Path(pattern=ID_PATTERN)],
    body: bodies.CreateSubscription,
) -> Subscription:
    """Record what was agreed about paying for a plan; status follows from the dates."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        found = products.summary(session, caller, body.product_id)
        if found.owner_id != owner_id:
            raise NotFoundError(
                f"Owner {owner_id} has no product {body.product_id}.",
                owner=owner_id,
                product=body.product_id,
            )
        row = subscriptions.start(
            session,
            caller,
            body.product_id,
            body.plan,
            at,
            hub.tokens,
            version=body.plan_version,
            starts_at=body.starts_at,
            trial_end=body.trial_end,
            paid_until=body.paid_until,
            cancelled_at=body.cancelled_at,
            ends_at=body.ends_at,
            transferable=body.transferable,
        )
        plans = details.plans(session, caller, body.product_id, at)
    (made,) = (plan for plan in plans if plan.subscription_id == row.id)
    return shown_plan(made)
