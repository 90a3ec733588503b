"""Letters: what a household must know about who owns a product, kept until its people read it.

1. A letter is a code plus arguments; sentences are made where people read them.
2. It is written in the transaction that it tells of, and live listeners hear of it after the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from hub.ports.database.engine import after_commit
from hub.ports.database.ownership_tables import Letter
from hub.ports.database.product_tables import Product
from hub.services.caller import Caller
from hub.services.events import Event
from hub.services.parties import households
from hub.services.relations import Act

_KEY = "letters"


def write(
    session: Session,
    owner_id: str,
    product: Product,
    code: str,
    at: int,
    **arguments: str | int | None,
) -> None:
    """Write to a household.

    Args:
        session: a writing session.
        owner_id: the household.
        product: that it is about.
        code: such as `transfer.received`.
        at: now, ns.
        arguments: of the code; names that end in `_at` are instants in ns.
    """
    about: dict[str, Any] = {"serial": product.serial, **arguments}
    session.add(Letter(owner_id=owner_id, product_id=product.id, at=at, code=code, arguments=about))
    session.flush()
    told = Event("letter", at, product.id, owner_id, {"code": code, "arguments": about})
    session.info.setdefault(_KEY, []).append(told)


def listed(
    session: Session, caller: Caller, *, before: int | None = None, limit: int = 50
) -> Sequence[Letter]:
    """List the letters to the caller's household, the newest first.

    Args:
        session: any session.
        caller: a customer.
        before: only with smaller ids (the last one of the page before).
        limit: at most so many.
    """
    query = select(Letter).where(Letter.owner_id.in_(households(caller, Act.BILLS)))
    if before is not None:
        query = query.where(Letter.id < before)
    return session.scalars(query.order_by(Letter.id.desc()).limit(limit)).all()


def announce(engine: Engine, publish: Callable[[Event], None]) -> None:
    """Have live listeners told of each letter after the transaction that wrote it committed."""

    def committed(info: Mapping[Any, Any]) -> None:
        for event in info.get(_KEY, ()):
            publish(event)

    after_commit(engine, committed)
