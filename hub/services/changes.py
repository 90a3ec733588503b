"""Tells who must know that the facts of products changed: the gate and the signed states.

1. A service that changes a fact notes the product in its session.
2. Listeners hear of it after the transaction committed, once, and never if it did not.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hub.ports.database.engine import after_commit

EVERY_PRODUCT = "*"
"""Noted when the catalogue changed."""

_KEY = "changed_products"


def note(session: Session, product_id: str) -> None:
    """Note that facts or the desired state of a product change in this transaction."""
    session.info.setdefault(_KEY, set()).add(product_id)


def listen(engine: Engine, hear: Callable[[frozenset[str]], None]) -> None:
    """Call `hear` with the products (or `EVERY_PRODUCT`) of each transaction that changed some.

    It is called on the thread that committed and must be quick and not raise.
    """

    def committed(info: Mapping[Any, Any]) -> None:
        if products := info.get(_KEY):
            hear(frozenset(products))

    after_commit(engine, committed)
