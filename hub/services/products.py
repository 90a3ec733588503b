"""Products as things somebody made, owns and looks up.

1. A product is registered when it is made; its enrolment secret and claim code are shown then and
   never again.
2. A caller sees the products that their ties reach now; staff see all. Anything else is not found,
   and an act on what they see that their relation does not permit is forbidden: ask `visible`.
3. Look-ups go by indexed columns only: there are millions of products.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true, union_all
from sqlalchemy.orm import Session

from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Membership, Person
from hub.ports.database.product_tables import Device, Product
from hub.services import audit
from hub.services.caller import Caller, Scope
from hub.services.people import normal_email
from hub.services.relations import Act, Relation, Tie
from hub.services.tokens import Tokens, secret_hash

_SERIAL = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class Manufactured:
    """A product that was just registered; secret and code are shown now and never again."""

    product_id: str
    model: str
    serial: str
    enrolment_secret: str
    claim_code: str


@dataclass(frozen=True, slots=True)
class ProductSummary:
    """A product in a list. `device_id` and `slot` are None until it enrols.

    `epoch` is the owner epoch now (0: nobody's); instants are ns.
    """

    product_id: str
    serial: str
    model: str
    model_title: str
    name: str | None
    zone: str
    order_reference: str | None
    hardware_lot: str | None
    region: str | None
    made_at: int
    owner_id: str | None
    epoch: int
    device_id: str | None
    slot: int | None
    online: bool
    firmware: str | None
    last_contact: int | None
    revoked_at: int | None


def register(
    session: Session,
    caller: Caller,
    *,
    model: str,
    serial: str,
    at: int,
    tokens: Tokens,
    order_reference: str | None = None,
    hardware_lot: str | None = None,
    region: str | None = None,
    zone: str = "UTC",
    made_at: int | None = None,
) -> Manufactured:
    """Register a product that was made.

    Args:
        session: a writing session.
        caller: needs `products:register`.
        model: name of the model.
        serial: serial number.
        at: now, ns.
        tokens: source of ids and secrets.
        order_reference: order that it was made for.
        hardware_lot: lot of its hardware.
        region: where it is sold.
        zone: IANA time zone where it will stand.
        made_at: when it was made, ns; None: now.

    Raises:
        ConflictError: the model has a product with this serial.
        InvalidInputError: the serial is not 1 to 64 visible ASCII characters, or it would have
            been made in the future.
        NotFoundError: no such model.
    """
    caller.require(Scope.PRODUCTS_REGISTER)
    if not _SERIAL.fullmatch(serial):
        raise InvalidInputError(
            f"The serial number {serial!r} must be 1 to 64 visible ASCII characters."
        )
    if made_at is not None and not 0 <= made_at <= at:
        raise InvalidInputError(f"{serial} would have been made in the future. Correct the date.")
    number = session.scalar(select(ProductModel.number).where(ProductModel.name == model))
    if number is None:
        raise NotFoundError(
            f"There is no product model {model!r}. Add it to the catalogue first.", model=model
        )
    if _by_serial(session, number, serial) is not None:
        raise ConflictError(
            f"{model} {serial} is registered already. Its secrets are not shown again.",
            model=model,
            serial=serial,
        )
    secret, code = tokens.secret(), tokens.claim_code()
    product = Product(
        id=tokens.new_id(),
        model_number=number,
        serial=serial,
        zone=zone,
        order_reference=order_reference,
        hardware_lot=hardware_lot,
        region=region,
        enrolment_secret_hash=secret_hash(secret),
        claim_code_hash=tokens.claim_hash(code),
        made_at=at if made_at is None else made_at,
    )
    session.add(product)
    session.flush()
    details = {"model": model, "serial": serial}
    audit.record(session, at, caller.actor, "product.register", f"product:{product.id}", details)
    return Manufactured(product.id, model, serial, secret, code)


def visible(session: Session, caller: Caller, product_id: str, act: Act = Act.SEE) -> Product:
    """Return a product with which the caller may do something.

    Raises:
        ForbiddenError: the caller sees the product, but may not do this.
        NotFoundError: no such product, or not one of the caller's.
    """
    query = select(Product, permitted(caller, act)).where(
        Product.id == product_id, permitted(caller, Act.SEE)
    )
    row = session.execute(query).first()
    if row is None:
        raise missing(product_id)
    product, may = row
    if not may:
        raise ForbiddenError(
            f"Your role does not permit this for product {product.serial}: {act}. Ask an owner of "
            "its household.",
            product=product_id,
            act=str(act),
        )
    return product


def visible_device(session: Session, caller: Caller, product_id: str, act: Act = Act.SEE) -> Device:
    """Return the device of a product with which the caller may do something.

    Raises:
        ConflictError: it has not enrolled yet.
        ForbiddenError: the caller sees the product, but may not do this.
        NotFoundError: no such product, or not one of the caller's.
    """
    return enrolled_device(session, visible(session, caller, product_id, act).id)


def enrolled_device(session: Session, product_id: str) -> Device:
    """Return the device of a product; whether the caller may know of it was checked before.

    Raises:
        ConflictError: it has not enrolled yet.
    """
    device = session.scalar(select(Device).where(Device.product_id == product_id))
    if device is None:
        serial = session.get_one(Product, product_id).serial
        raise ConflictError(
            f"Product {serial} has not connected yet. Power it on and let it enrol first.",
            product=product_id,
        )
    return device


def permits(session: Session, caller: Caller, product_id: str, act: Act) -> bool:
    """Whether the caller may do something with a product."""
    query = select(Product.id).where(Product.id == product_id, permitted(caller, act))
    return session.scalar(query) is not None


def acts(session: Session, caller: Caller, product_id: str) -> frozenset[Act]:
    """Return all that the caller may do with a product that exists."""
    if caller.is_staff:
        return frozenset(Act)
    ties = [tie.acts for tie in caller.ties if reaches(session, tie, product_id)]
    return frozenset[Act]().union(*ties)


def permitted(caller: Caller, act: Act) -> ColumnElement[bool]:
    """Return the condition, on `Product`, under which a caller may do something with it."""
    if caller.is_staff:
        return true()
    ties = [tie for tie in caller.ties if act in tie.acts]
    households = sorted({str(tie.owner_id) for tie in ties if tie.plain})
    ways = [_reached(tie) for tie in ties if not tie.plain]
    if households:
        ways.append(Product.id.in_(_owned(Ownership.owner_id.in_(households))))
    return or_(false(), *ways)


def reached(tie: Tie) -> Select[str]:
    """Return a query for the ids of the products that a tie reaches."""
    return select(Product.id).where(_reached(tie))


def tie_to(session: Session, caller: Caller, product_id: str, act: Act) -> Tie:
    """Return the tie by which somebody who is not staff may do something with a product.

    Of several the one that looks back the furthest.

    Raises:
        NotFoundError: there is none.
    """
    for tie in sorted(caller.ties, key=lambda tie: tie.since):
        if act in tie.acts and reaches(session, tie, product_id):
            return tie
    raise missing(product_id)


def reaches(session: Session, tie: Tie, product_id: str) -> bool:
    """Whether a tie reaches a product now."""
    query = select(Product.id).where(Product.id == product_id, _reached(tie))
    return session.scalar(query) is not None


def listed(
    session: Session, caller: Caller, *, after: str | None = None, limit: int = 50
) -> list[ProductSummary]:
    """List the products that the caller sees, in the order of their ids.

    Args:
        session: any session.
        caller: staff get all, others those that their ties reach.
        after: id of the last product of the page before.
        limit: at most so many.
    """
    caller.require(Scope.PRODUCTS_READ)
    query = _SUMMARIES.where(permitted(caller, Act.SEE)).order_by(Product.id).limit(limit)
    if after is not None:
        query = query.where(Product.id > after)
    return [_summary(*row) for row in session.execute(query)]


def found(session: Session, caller: Caller, text: str, *, limit: int = 50) -> list[ProductSummary]:
    """Look products up by what somebody on the phone can say.

    Args:
        session: any session.
        caller: who is not staff finds only among the products they see.
        text: a serial number or its beginning, an e-mail address of an owner, an order reference,
            a device id, or a product id.
        limit: at most so many.

    Raises:
        InvalidInputError: nothing to look for.
    """
    caller.require(Scope.PRODUCTS_READ)
    text = text.strip()
    if not text:
        raise InvalidInputError(
            "Say what to look for: a serial number, e-mail address, order or device id."
        )
    seen = permitted(caller, Act.SEE)
    ids = _owned_by(session, text, limit) if "@" in text else _named(session, text, seen, limit)
    if not ids:
        return []
    query = _SUMMARIES.where(Product.id.in_(ids), seen).order_by(Product.serial).limit(limit)
    return [_summary(*row) for row in session.execute(query)]


def summary(session: Session, caller: Caller, product_id: str) -> ProductSummary:
    """Return one product as lists show it.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.PRODUCTS_READ)
    query = _SUMMARIES.where(Product.id == product_id, permitted(caller, Act.SEE))
    row = session.execute(query).first()
    if row is None:
        raise missing(product_id)
    return _summary(*row)


def missing(product_id: str) -> NotFoundError:
    """Return the error for a product that does not exist, or is not the caller's."""
    return NotFoundError(f"There is no product {product_id}.", product=product_id)


def by_slot(session: Session, slots: Sequence[int]) -> dict[int, str]:
    """Return the product ids of device slots."""
    query = select(Device.slot, Device.product_id).where(Device.slot.in_(slots))
    return {row.slot: row.product_id for row in session.execute(query)}


def _owned_by(session: Session, email: str, limit: int) -> Sequence[str]:
    """Return the products that the households of an e-mail address own now.

    A step of its own: as part of the look-up, planners walk all products instead.
    """
    query = (
        select(Ownership.product_id)
        .join(Membership, Membership.owner_id == Ownership.owner_id)
        .join(Person, Person.id == Membership.person_id)
        .where(
            Person.email == normal_email(email),
            Membership.ended_at.is_(None),
            Membership.relation != Relation.INSTALLER,
            Ownership.ended_at.is_(None),
        )
        .limit(limit)
    )
    return session.scalars(query).all()


def _named(session: Session, text: str, seen: ColumnElement[bool], limit: int) -> Sequence[str]:
    """Return products that a text names, at most so many for each way of naming one."""
    ways = (
        select(Product.id).where(Product.id == text, seen),
        select(Device.product_id)
        .join(Product, Product.id == Device.product_id)
        .where(Device.device_id == text, seen),
        select(Product.id).where(Product.order_reference == text, seen),
        # A range instead of LIKE: both databases use the index for it.
        select(Product.id).where(Product.serial >= text, Product.serial < text + "\x7f", seen),
    )
    # One part a way: each walks its own index; an OR over two tables walks none.
    parts = [select(way.limit(limit).subquery()) for way in ways]
    return session.scalars(union_all(*parts)).all()


def _by_serial(session: Session, number: int, serial: str) -> Product | None:
    return session.scalars(
        select(Product).where(Product.model_number == number, Product.serial == serial)
    ).first()


_SUMMARIES: Select[*tuple[Any, ...]] = (
    select(Product, ProductModel, Device, Ownership)
    .join(ProductModel, ProductModel.number == Product.model_number)
    .outerjoin(Device, Device.product_id == Product.id)
    .outerjoin(Ownership, and_(Ownership.product_id == Product.id, Ownership.ended_at.is_(None)))
)


def _reached(tie: Tie) -> ColumnElement[bool]:
    """The condition, on `Product`, under which a tie reaches it."""
    ways: list[ColumnElement[bool]] = []
    if tie.owner_id is not None:
        ways.append(Product.id.in_(_owned(Ownership.owner_id == tie.owner_id)))
    if tie.product_ids is not None:
        ways.append(Product.id.in_(sorted(tie.product_ids)))
    if tie.model is not None:
        ways.append(Product.model_number == tie.model)
    if tie.region is not None:
        ways.append(Product.region == tie.region)
    if tie.order_prefix is not None:
        # Not LIKE, which takes upper for lower case in SQLite.
        length = len(tie.order_prefix)
        ways.append(func.substr(Product.order_reference, 1, length) == tie.order_prefix)
        ways.append(Product.order_reference >= tie.order_prefix)  # the index
        ways.append(Product.order_reference < tie.order_prefix + "\x7f")
    return and_(*ways) if ways else false()


def _owned(whose: ColumnElement[bool]) -> Select[str]:
    return select(Ownership.product_id).where(whose, Ownership.ended_at.is_(None))


def _summary(
    product: Product, model: ProductModel, device: Device | None, ownership: Ownership | None
) -> ProductSummary:
    return ProductSummary(
        product_id=product.id,
        serial=product.serial,
        model=model.name,
        model_title=model.title,
        name=product.name,
        zone=product.zone,
        order_reference=product.order_reference,
        hardware_lot=product.hardware_lot,
        region=product.region,
        made_at=product.made_at,
        owner_id=ownership.owner_id if ownership else None,
        epoch=ownership.epoch if ownership else 0,
        device_id=device.device_id if device else None,
        slot=device.slot if device else None,
        online=device.online if device else False,
        firmware=device.firmware if device else None,
        last_contact=device.last_contact if device else None,
        revoked_at=device.revoked_at if device else None,
    )
