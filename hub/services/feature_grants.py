"""Grants: features given to one product beside any plan.

1. A grant is a fact with dates; withdrawing it sets its end and removes nothing.
2. Each says who gave it and why.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Grant
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.tokens import Tokens


def give(
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
    caller.require(Scope.ENTITLEMENTS_WRITE)
    products.visible(session, caller, product_id)
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    if ends_at is not None and ends_at <= at:
        raise InvalidInputError("The end lies in the past. Choose a later one or none.")
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
    session.add(row)
    session.flush()
    details = {"feature": feature, "id": row.id, "reason": reason}
    audit.record(session, at, caller.actor, "grant.give", f"product:{product_id}", details)
    changes.note(session, product_id)
    return row


def listed(session: Session, caller: Caller, product_id: str) -> Sequence[Grant]:
    """List the grants of a product, those that are over too, the latest first.

    Raises:
        ForbiddenError: the caller is not staff.
        NotFoundError: no such product.
    """
    caller.require(Scope.RECORDS_READ)
    products.visible(session, caller, product_id)
    query = select(Grant).where(Grant.product_id == product_id)
    return session.scalars(query.order_by(Grant.starts_at.desc(), Grant.id)).all()


def withdraw(session: Session, caller: Caller, grant_id: str, at: int) -> Grant:
    """End a grant now; one that has ended stays as it is.

    Raises:
        NotFoundError: no such grant.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    row = session.get(Grant, grant_id)
    if row is None:
        raise NotFoundError("There is no such grant.", grant=grant_id)
    if row.ends_at is None or row.ends_at > at:
        row.ends_at = max(at, row.starts_at)
        session.flush()
        about = f"product:{row.product_id}"
        audit.record(session, at, caller.actor, "grant.withdraw", about, {"id": row.id})
        changes.note(session, row.product_id)
    return row
