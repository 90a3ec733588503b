"""Holds and grants: reversible blocks, and features given beside any plan.

1. Both are facts with dates; lifting or withdrawing sets their end and removes nothing.
2. Each says who placed it and why.
"""

from collections.abc import Collection, Sequence
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.facts import HoldKind
from entitlements.grants import feature_names
from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Grant, Hold
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.facts import load_one
from hub.services.tokens import Tokens

R = TypeVar("R", Hold, Grant)


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
    ends_at: int | None = None,
) -> Hold:
    """Block a product, or some of its features, from now on.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product.
        kind: why, as a word.
        reason: why, as support writes it down.
        at: now, ns.
        tokens: source of the id.
        features: which features; None: all.
        ends_at: when it ends by itself, ns.

    Raises:
        InvalidInputError: no reason, an end in the past, or features that are none of the product.
        NotFoundError: no such product.
    """
    _check(session, caller, product_id, reason, at, ends_at)
    if features is not None and not features:
        raise InvalidInputError("The hold names no feature. Leave them out to hold all.")
    if features is not None:
        _check_features(session, product_id, features)
    row = Hold(
        id=tokens.new_id(),
        product_id=product_id,
        kind=str(kind),
        starts_at=at,
        ends_at=ends_at,
        features=None if features is None else sorted(features),
        reason=reason,
        author=caller.actor,
    )
    _keep(session, caller, row, "hold.place", at, {"kind": str(kind)})
    return row


def listed(session: Session, caller: Caller, product_id: str) -> Sequence[Hold]:
    """List the holds of a product, those that are over too, the latest first.

    Raises:
        ForbiddenError: the caller is not staff.
        NotFoundError: no such product.
    """
    caller.require(Scope.RECORDS_READ)
    products.visible(session, caller, product_id)
    query = select(Hold).where(Hold.product_id == product_id)
    return session.scalars(query.order_by(Hold.starts_at.desc(), Hold.id)).all()


def lift(session: Session, caller: Caller, hold_id: str, at: int) -> Hold:
    """End a hold now; one that has ended stays as it is.

    Raises:
        NotFoundError: no such hold.
    """
    return _end(session, caller, session.get(Hold, hold_id), "hold.lift", at)


def grant(
    session: Session,
    caller: Caller,
    product_id: str,
    feature: str,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    value: bool | int | str | None = None,
    ends_at: int | None = None,
) -> Grant:
    """Give a feature to a product from now on.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product.
        feature: name of the feature.
        reason: why, as support writes it down.
        at: now, ns.
        tokens: source of the id.
        value: setting or quota; None takes the model's default.
        ends_at: when it ends, ns; None: for good.

    Raises:
        InvalidInputError: no reason, or an end in the past.
        NotFoundError: no such product.
    """
    _check(session, caller, product_id, reason, at, ends_at)
    row = Grant(
        id=tokens.new_id(),
        product_id=product_id,
        feature=feature,
        starts_at=at,
        ends_at=ends_at,
        value=value,
        reason=reason,
        author=caller.actor,
    )
    _keep(session, caller, row, "grant.give", at, {"feature": feature})
    return row


def withdraw(session: Session, caller: Caller, grant_id: str, at: int) -> Grant:
    """End a grant now; one that has ended stays as it is.

    Raises:
        NotFoundError: no such grant.
    """
    return _end(session, caller, session.get(Grant, grant_id), "grant.withdraw", at)


def _check(
    session: Session, caller: Caller, product_id: str, reason: str, at: int, ends_at: int | None
) -> None:
    caller.require(Scope.ENTITLEMENTS_WRITE)
    products.visible(session, caller, product_id)
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    if ends_at is not None and ends_at <= at:
        raise InvalidInputError("The end lies in the past. Choose a later one or none.")


def _check_features(session: Session, product_id: str, features: Collection[str]) -> None:
    facts = load_one(session, product_id)
    known, model = feature_names(facts), facts.model
    for name in sorted(features):
        if name not in known:
            raise InvalidInputError(f"A {model.code} has no feature {name!r}.", feature=name)
        if name in model.features and model.features[name].safe:
            raise InvalidInputError(
                f"The feature {name!r} is a safe function, which no hold takes away.", feature=name
            )


def _keep(
    session: Session,
    caller: Caller,
    row: Hold | Grant,
    action: str,
    at: int,
    details: dict[str, str],
) -> None:
    session.add(row)
    session.flush()
    about = {**details, "id": row.id, "reason": row.reason}
    audit.record(session, at, caller.actor, action, f"product:{row.product_id}", about)
    changes.note(session, row.product_id)


def _end(session: Session, caller: Caller, row: R | None, action: str, at: int) -> R:
    caller.require(Scope.ENTITLEMENTS_WRITE)
    if row is None:
        raise NotFoundError("There is no such hold or grant.")
    if row.ends_at is None or row.ends_at > at:
        row.ends_at = max(at, row.starts_at)
        session.flush()
        audit.record(session, at, caller.actor, action, f"product:{row.product_id}", {"id": row.id})
        changes.note(session, row.product_id)
    return row
