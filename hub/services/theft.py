"""The theft lock: the owner of a product that was stolen blocks it, and lifts the block.

1. It is a hold of kind `theft` on the whole product, placed by somebody of the household. Safe
   functions go on, and so does telemetry: it is kept, and staff see where the product was last heard.
2. While it stands nobody claims, disputes or hands on the product, and its owner cannot give it up.
3. The owner lifts what the household placed; a theft hold of staff is lifted by staff.
"""

from collections.abc import Sequence

from sqlalchemy import exists, literal, or_, select
from sqlalchemy.orm import Session

from entitlements.facts import HoldKind
from hub.errors import ConflictError
from hub.ports.database.ownership_tables import Hold
from hub.ports.database.people_tables import Membership
from hub.services import audit, changes
from hub.services.caller import Caller
from hub.services.parties import own_product
from hub.services.relations import Act, Relation
from hub.services.tokens import Tokens

_REASON = "reported stolen by its owner"


def lock(session: Session, caller: Caller, product_id: str, at: int, tokens: Tokens) -> Hold:
    """Block a product that was stolen; doing it again changes nothing.

    Args:
        session: a writing session.
        caller: an owner of the household that has it.
        product_id: which product.
        at: now, ns.
        tokens: source of the id.

    Raises:
        NotFoundError: no such product, or not one of theirs.
    """
    product, present = own_product(session, caller, product_id, Act.RELEASE)
    standing = _standing(session, product.id, present.owner_id, at)
    if standing:
        return standing[0]
    row = Hold(
        id=tokens.new_id(),
        product_id=product.id,
        kind=str(HoldKind.THEFT),
        starts_at=at,
        ends_at=None,
        features=None,
        reason=_REASON,
        author=caller.actor,
    )
    session.add(row)
    session.flush()
    _record(session, caller, product.id, row, "theft.lock", at)
    return row


def unlock(session: Session, caller: Caller, product_id: str, at: int) -> None:
    """Lift the household's own theft lock.

    Raises:
        ConflictError: there is none that the household placed.
        NotFoundError: no such product, or not one of theirs.
    """
    product, present = own_product(session, caller, product_id, Act.RELEASE)
    standing = _standing(session, product.id, present.owner_id, at)
    if not standing:
        raise ConflictError(
            f"Product {product.serial} has no theft lock of yours. What staff placed, they lift.",
            serial=product.serial,
        )
    for row in standing:
        row.ends_at = max(at, row.starts_at)
        _record(session, caller, product.id, row, "theft.unlock", at)
    session.flush()


def _standing(session: Session, product_id: str, owner_id: str, at: int) -> Sequence[Hold]:
    # Who was an owner of it when they placed the lock; its owners have households of their own, too.
    by_household = (
        exists()
        .where(
            Membership.owner_id == owner_id,
            Membership.relation == Relation.OWNER,
            literal("person:") + Membership.person_id == Hold.author,
            Membership.starts_at <= Hold.starts_at,
            or_(Membership.ended_at.is_(None), Membership.ended_at >= Hold.starts_at),
        )
        .correlate(Hold)
    )
    return session.scalars(
        select(Hold).where(
            Hold.product_id == product_id,
            Hold.kind == str(HoldKind.THEFT),
            by_household,
            or_(Hold.ends_at.is_(None), Hold.ends_at > at),
        )
    ).all()


def _record(
    session: Session, caller: Caller, product_id: str, row: Hold, action: str, at: int
) -> None:
    audit.record(session, at, caller.actor, action, f"product:{product_id}", {"hold": row.id})
    changes.note(session, product_id)
