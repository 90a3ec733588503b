"""Proof that somebody has a product in hand: a window for claiming, opened on the device itself.

1. A press of a button on the device opens it; the device says so by the event `claim_window`. The
   hub's time of receipt counts, never the device's clock.
2. A window is used up by the claim that it allowed, and by a dispute that was opened in it.
3. Models whose products have no button are marked `possession = "label"` in the catalogue: there the
   code on the label is all there is, and nobody can dispute a claim without support.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.ownership_tables import ClaimWindow
from hub.ports.database.product_tables import Product

EVENT: Final = "claim_window"
"""Reserved name of the device's event (docs/wire.md)."""
LONGEST_S: Final = 900
USUAL_S: Final = 300
_S: Final = 1_000_000_000


def open_window(session: Session, product_id: str, arguments: Mapping[str, Any], at: int) -> None:
    """Keep that somebody pressed the button of a product.

    Args:
        session: a writing session.
        product_id: which product.
        arguments: of the event; `seconds` says how long the window is open, 0 closes it.
        at: time of receipt, ns.
    """
    seconds = arguments.get("seconds", USUAL_S)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        seconds = USUAL_S
    until = at + min(seconds, LONGEST_S) * _S
    session.merge(ClaimWindow(product_id=product_id, opened_at=at, until=until))
    session.flush()


def opened_at(session: Session, product_id: str, at: int) -> int | None:
    """Return when the window of a product was opened that is open now (ns), None if none is."""
    return session.scalar(
        select(ClaimWindow.opened_at).where(
            ClaimWindow.product_id == product_id,
            ClaimWindow.opened_at <= at,
            ClaimWindow.until > at,
        )
    )


def use_up(session: Session, product_id: str) -> None:
    """Close the window of a product."""
    session.execute(delete(ClaimWindow).where(ClaimWindow.product_id == product_id))


def needed(session: Session, product: Product) -> bool:
    """Say whether a product can be claimed in a window only."""
    model = session.get_one(ProductModel, product.model_number)
    return model.possession != "label"
