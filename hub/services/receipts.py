"""Receipts: the paper that each side of a change of owner gets, signed by the hub.

1. Each side has its own, which says what they did and nothing of the other but what they knew.
2. The content is JSON, kept as it was signed, with the key that signs states; the signature says that
   it is for a receipt. Whoever has the hub's public keys can check it for as long as they are known.
"""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from device_sdk.wire import cose
from hub.errors import NotFoundError
from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.ownership_tables import Receipt
from hub.ports.database.product_tables import Product
from hub.services.caller import Caller
from hub.services.parties import households
from hub.services.relations import Act
from hub.services.signing_keys import SigningKeys
from hub.services.tokens import Tokens

EXTERNAL: Final = b"homeport/receipt/1"
"""External data of the signature (docs/wire.md, "State"): what it is for."""


def issue(
    session: Session,
    tokens: Tokens,
    keys: SigningKeys,
    product: Product,
    owner_id: str,
    what: str,
    epoch: int,
    at: int,
    *,
    certificate: str | None = None,
) -> Receipt:
    """Write a receipt for a household.

    Args:
        session: a writing session.
        tokens: source of the id.
        keys: sign it.
        product: that changed its owner.
        owner_id: whose receipt it is.
        what: `handed_over` or `taken_over`.
        epoch: owner epoch of the household that it is for.
        at: when the owner changed, ns.
        certificate: of health and coverage, signed, for who takes the product.
    """
    model = session.get_one(ProductModel, product.model_number)
    receipt_id = tokens.new_id()
    facts = {
        "receipt": receipt_id,
        "what": what,
        "product": product.id,
        "serial": product.serial,
        "model": model.name,
        "household": owner_id,
        "owner_epoch": epoch,
        "at_ns": at,
        "certificate": certificate,
    }
    content = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    row = Receipt(
        id=receipt_id,
        product_id=product.id,
        owner_id=owner_id,
        at=at,
        content=content,
        signed=cose.sign1(keys.present(at), content.encode(), EXTERNAL),
    )
    session.add(row)
    session.flush()
    return row


def listed(session: Session, caller: Caller) -> Sequence[Receipt]:
    """List the receipts of the caller's household, the latest first."""
    query = select(Receipt).where(Receipt.owner_id.in_(households(caller, Act.BILLS)))
    return session.scalars(query.order_by(Receipt.at.desc(), Receipt.id)).all()


def one(session: Session, caller: Caller, receipt_id: str) -> Receipt:
    """Return a receipt of the caller's household; staff see all.

    Raises:
        NotFoundError: no such receipt, or not one of theirs.
    """
    row = session.get(Receipt, receipt_id)
    if row is None or not (caller.is_staff or row.owner_id in households(caller, Act.BILLS)):
        raise NotFoundError(f"There is no receipt {receipt_id}.", receipt=receipt_id)
    return row
