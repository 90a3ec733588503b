"""Tells who must know that the facts of products changed: the gate, the signed states and the meter.

1. A service that changes a fact notes the product in its session.
2. Listeners hear of it after the transaction committed, once, and never if it did not.
3. What changes only what is decided, or only what is counted, says so: the others need not look.
"""

from collections.abc import Callable, Mapping
from enum import Flag, auto
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hub.ports.database.engine import after_commit

EVERY_PRODUCT = "*"
"""Noted when the catalogue changed."""

_KEY = "changed_products"


class About(Flag):
    """What a change may alter."""

    DECISIONS = auto()
    """What a product may do and is to be: the gate and its signed state."""
    COUNTING = auto()
    """What is counted of it, and how much it may use."""
    BOTH = DECISIONS | COUNTING


def note(session: Session, product_id: str, about: About = About.BOTH) -> None:
    """Note that facts or the desired state of a product change in this transaction."""
    noted: dict[str, About] = session.info.setdefault(_KEY, {})
    noted[product_id] = noted.get(product_id, about) | about


def listen(
    engine: Engine, hear: Callable[[frozenset[str]], None], about: About = About.BOTH
) -> None:
    """Call `hear` with the products (or `EVERY_PRODUCT`) of each transaction that changed some.

    It is called on the thread that committed and must be quick and not raise.

    Args:
        engine: the database.
        hear: told the products.
        about: changes of which kind are told.
    """

    def committed(info: Mapping[Any, Any]) -> None:
        noted: Mapping[str, About] = info.get(_KEY, {})
        if products := frozenset(name for name, kind in noted.items() if kind & about):
            hear(products)

    after_commit(engine, committed)
