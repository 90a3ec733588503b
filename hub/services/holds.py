"""Holds: reversible blocks on a product, on an account, or on all products that were built alike.

1. A hold is a fact with dates: it cancels nothing, and lifting it sets its end and removes nothing.
2. Each says who placed it, why, and what it rests on. The same evidence about a product leads to one
   hold of a kind, also after that one was lifted.
3. An account that owes money loses only what is not paid for at the instant; what is held for any
   other reason is held whole. Safe functions go on whatever is held.
4. A recall by firmware holds a product for as long as it says that it runs that firmware.

Which holds decide, and what, is the business of `entitlements`.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import and_, insert, literal, null, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from entitlements.facts import HoldKind
from entitlements.grants import feature_names
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.catalogue_tables import Feature, ProductModel
from hub.ports.database.ownership_tables import Hold, Ownership, Recalled, Subscription
from hub.ports.database.people_tables import Owner
from hub.ports.database.product_tables import Device, Product
from hub.services import audit, changes, products
from hub.services.caller import HUB, Caller, Scope
from hub.services.facts import load_one
from hub.services.tokens import Tokens

ON_ACCOUNTS: Final = frozenset({HoldKind.PAYMENT, HoldKind.FRAUD, HoldKind.THEFT})
"""Kinds of holds that an account can have; what was built alike is recalled."""


def place(
    session: Session,
    caller: Caller,
    product_id: str,
    kind: HoldKind,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    features: Collection[str] | None = None,
    subscription_id: str | None = None,
    evidence: str | None = None,
    ends_at: int | None = None,
) -> Hold:
    """Block a product, some of its features, or what one subscription grants, from now on.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product.
        kind: why, as a word.
        reason: why, as support writes it down.
        at: now, ns.
        tokens: source of the id.
        features: which features; None: all.
        subscription_id: block only what this subscription of the product grants; None: all.
        evidence: what it rests on, such as the number of a police report.
        ends_at: when it ends by itself, ns.

    Raises:
        ConflictError: the product has or had a hold of this kind by the same evidence.
        InvalidInputError: no reason, an end in the past, features that are none of the product, or
            a subscription of another one.
        NotFoundError: no such product.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    products.visible(session, caller, product_id)
    _check(reason, at, ends_at, features)
    if features is not None:
        _check_features(session, product_id, features)
    if subscription_id is not None:
        subscribed = session.get(Subscription, subscription_id)
        if subscribed is None or subscribed.product_id != product_id:
            raise InvalidInputError(
                f"The product has no subscription {subscription_id}.", subscription=subscription_id
            )
    return _place(
        session,
        caller,
        at,
        Hold(
            id=tokens.new_id(),
            product_id=product_id,
            kind=str(kind),
            starts_at=at,
            ends_at=ends_at,
            features=None if features is None else sorted(features),
            subscription_id=subscription_id,
            evidence=evidence,
            reason=reason,
            author=caller.actor,
        ),
    )


def place_on_account(
    session: Session,
    caller: Caller,
    owner_id: str,
    kind: HoldKind,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    evidence: str | None = None,
    ends_at: int | None = None,
) -> Hold:
    """Block an account from now on: all products for as long as this owner has them.

    Of an account that owes money only what is not paid for at the instant is blocked.

    Raises:
        InvalidInputError: no reason, an end in the past, or a kind that is not one of accounts.
        NotFoundError: no such owner.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    if session.get(Owner, owner_id) is None:
        raise NotFoundError(f"There is no owner {owner_id}.", owner=owner_id)
    if kind not in ON_ACCOUNTS:
        raise InvalidInputError(
            f"An account can be held for {', '.join(sorted(ON_ACCOUNTS))}; place a {kind} hold on "
            "products or a model.",
            kind=str(kind),
        )
    _check(reason, at, ends_at, None)
    row = Hold(
        id=tokens.new_id(),
        owner_id=owner_id,
        kind=str(kind),
        starts_at=at,
        ends_at=ends_at,
        evidence=evidence,
        reason=reason,
        author=caller.actor,
    )
    return _place(session, caller, at, row)


def recall(
    session: Session,
    caller: Caller,
    model: str,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    firmware: str | None = None,
    hardware_lot: str | None = None,
    features: Collection[str] | None = None,
    evidence: str | None = None,
    ends_at: int | None = None,
) -> Hold:
    """Block all products of a model, of one of its lots, or with one firmware, from now on.

    Products that are made, or come to run that firmware, later are held too.

    Raises:
        InvalidInputError: no reason, an end in the past, both a firmware and a lot, or features
            that the model does not have or that are safe functions.
        NotFoundError: no such model.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    number = _model_number(session, model)
    _check(reason, at, ends_at, features)
    if firmware is not None and hardware_lot is not None:
        raise InvalidInputError("A recall names a firmware or a hardware lot, not both.")
    if features is not None:
        rows = session.scalars(select(Feature).where(Feature.model_number == number))
        known = {row.name: row.safe for row in rows}
        _check_known(model, features, known, {name for name, safe in known.items() if safe})
    row = Hold(
        id=tokens.new_id(),
        model_number=number,
        firmware=firmware,
        hardware_lot=hardware_lot,
        kind=str(HoldKind.RECALL),
        starts_at=at,
        ends_at=ends_at,
        features=None if features is None else sorted(features),
        evidence=evidence,
        reason=reason,
        author=caller.actor,
    )
    session.add(row)
    session.flush()
    if firmware is not None:
        running = (
            select(Product.id, literal(row.id), literal(at), null())
            .join(Device, Device.product_id == Product.id)
            .where(Product.model_number == number, Device.firmware == firmware)
        )
        columns = ["product_id", "hold_id", "starts_at", "ends_at"]
        session.execute(insert(Recalled).from_select(columns, running))
    return _place(session, caller, at, row)


def suspect_clone(session: Session, product_id: str, evidence: str, at: int) -> Hold | None:
    """Hold a product of which two copies seem to be alive; the hub does this by itself.

    Args:
        session: a writing session.
        product_id: which product.
        evidence: what shows it; the same evidence leads to one hold, also after it was lifted.
        at: now, ns.

    Returns:
        The hold; None where there is one already, or support has lifted one by this evidence.
    """
    present = select(Hold.id).where(
        Hold.product_id == product_id,
        Hold.kind == HoldKind.CLONE,
        or_(Hold.evidence == evidence, Hold.ends_at.is_(None), Hold.ends_at > at),
    )
    if session.scalar(present.limit(1)) is not None:
        return None
    about = f"clone/{product_id}/{evidence}"
    row = Hold(
        id=hashlib.sha256(about.encode()).hexdigest()[:16],
        product_id=product_id,
        kind=str(HoldKind.CLONE),
        starts_at=at,
        evidence=evidence,
        reason="Two copies of this product seem to be alive.",
        author=HUB.actor,
    )
    return _place(session, HUB, at, row)


def follow_firmware(session: Session, device: Device, at: int) -> None:
    """Bring the recalls by firmware to what a device now says that it runs.

    Args:
        session: a writing session.
        device: with its new firmware.
        at: now, ns.
    """
    recalls = (
        select(Hold.id, Hold.firmware)
        .join(Product, Product.model_number == Hold.model_number)
        .where(
            Product.id == device.product_id,
            Hold.firmware.is_not(None),
            or_(Hold.ends_at.is_(None), Hold.ends_at > at),
        )
    )
    named = {row.id: row.firmware for row in session.execute(recalls)}
    if not named:
        return
    open_ones = select(Recalled).where(
        Recalled.product_id == device.product_id,
        Recalled.hold_id.in_(named),
        Recalled.ends_at.is_(None),
    )
    held = {row.hold_id: row for row in session.scalars(open_ones)}
    for hold_id, firmware in named.items():
        if firmware == device.firmware and hold_id not in held:
            session.add(Recalled(product_id=device.product_id, hold_id=hold_id, starts_at=at))
        elif firmware != device.firmware and hold_id in held:
            held[hold_id].ends_at = max(at, held[hold_id].starts_at)
        else:
            continue
        changes.note(session, device.product_id)
    session.flush()


def listed(session: Session, caller: Caller, product_id: str) -> Sequence[Hold]:
    """List the holds on a product, those that are over too, the latest first.

    Those on its present owner's account and on all that was built like it are among them.

    Raises:
        ForbiddenError: the caller is not staff.
        NotFoundError: no such product.
    """
    caller.require(Scope.RECORDS_READ)
    product = products.visible(session, caller, product_id)
    owner = select(Ownership.owner_id).where(
        Ownership.product_id == product_id, Ownership.ended_at.is_(None)
    )
    recalled = select(Recalled.hold_id).where(Recalled.product_id == product_id)
    alike = and_(
        Hold.model_number == product.model_number,
        Hold.firmware.is_(None),
        or_(Hold.hardware_lot.is_(None), Hold.hardware_lot == product.hardware_lot),
    )
    return _latest(
        session,
        or_(Hold.product_id == product_id, Hold.owner_id.in_(owner), Hold.id.in_(recalled), alike),
    )


def on_account(session: Session, caller: Caller, owner_id: str) -> Sequence[Hold]:
    """List the holds on an account, the latest first.

    Raises:
        NotFoundError: no such owner.
    """
    caller.require(Scope.RECORDS_READ)
    if session.get(Owner, owner_id) is None:
        raise NotFoundError(f"There is no owner {owner_id}.", owner=owner_id)
    return _latest(session, Hold.owner_id == owner_id)


def recalls(session: Session, caller: Caller, model: str) -> Sequence[Hold]:
    """List the recalls of a model, its lots and firmwares, the latest first.

    Raises:
        NotFoundError: no such model.
    """
    caller.require(Scope.RECORDS_READ)
    return _latest(session, Hold.model_number == _model_number(session, model))


def lift(session: Session, caller: Caller, hold_id: str, at: int) -> Hold:
    """End a hold now; one that has ended stays as it is.

    Raises:
        NotFoundError: no such hold.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    row = session.get(Hold, hold_id)
    if row is None:
        raise NotFoundError("There is no such hold.", hold=hold_id)
    if row.ends_at is None or row.ends_at > at:
        row.ends_at = max(at, row.starts_at)
        session.flush()
        audit.record(session, at, caller.actor, "hold.lift", _about(row), {"id": row.id})
        _note(session, row)
    return row


def _place(session: Session, caller: Caller, at: int, row: Hold) -> Hold:
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise ConflictError(
            f"There is a {row.kind} hold on this product by the evidence {row.evidence!r}, or "
            "there was and it was lifted. Say what is new.",
            evidence=row.evidence,
        ) from error
    details: dict[str, Any] = {"kind": row.kind, "id": row.id, "reason": row.reason}
    for name in ("evidence", "firmware", "hardware_lot", "subscription_id"):
        if (value := getattr(row, name)) is not None:
            details[name] = value
    audit.record(session, at, caller.actor, "hold.place", _about(row), details)
    _note(session, row)
    return row


def _about(row: Hold) -> str:
    if row.product_id is not None:
        return f"product:{row.product_id}"
    return f"owner:{row.owner_id}" if row.owner_id is not None else f"model:{row.model_number}"


def _note(session: Session, row: Hold) -> None:
    """Note every product that the hold is on now."""
    if row.product_id is not None:
        changes.note(session, row.product_id)
        return
    if row.owner_id is not None:
        query = select(Ownership.product_id).where(
            Ownership.owner_id == row.owner_id, Ownership.ended_at.is_(None)
        )
    elif row.firmware is not None:
        query = select(Recalled.product_id).where(Recalled.hold_id == row.id)
    else:
        query = select(Product.id).where(Product.model_number == row.model_number)
        if row.hardware_lot is not None:
            query = query.where(Product.hardware_lot == row.hardware_lot)
    for product_id in session.scalars(query):
        changes.note(session, product_id)


def _latest(session: Session, condition: Any) -> Sequence[Hold]:
    query = select(Hold).where(condition).order_by(Hold.starts_at.desc(), Hold.id)
    return session.scalars(query).all()


def _model_number(session: Session, model: str) -> int:
    number = session.scalar(select(ProductModel.number).where(ProductModel.name == model))
    if number is None:
        raise NotFoundError(f"There is no product model {model!r}.", model=model)
    return number


def _check(reason: str, at: int, ends_at: int | None, features: Collection[str] | None) -> None:
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    if ends_at is not None and ends_at <= at:
        raise InvalidInputError("The end lies in the past. Choose a later one or none.")
    if features is not None and not features:
        raise InvalidInputError("The hold names no feature. Leave them out to hold all.")


def _check_features(session: Session, product_id: str, features: Collection[str]) -> None:
    facts = load_one(session, product_id)
    known, model = feature_names(facts), facts.model
    safe = {name for name, feature in model.features.items() if feature.safe}
    _check_known(model.code, features, known, safe)


def _check_known(
    model: str, features: Collection[str], known: Collection[str], safe: Collection[str]
) -> None:
    for name in sorted(features):
        if name not in known:
            raise InvalidInputError(f"A {model} has no feature {name!r}.", feature=name)
        if name in safe:
            raise InvalidInputError(
                f"The feature {name!r} is a safe function, which no hold takes away.", feature=name
            )
