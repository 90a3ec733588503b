"""Decisions on many products at once, looked up in the compiled decisions of the fleet.

1. They say what the facts said when they were last compiled; whoever must see their own change
   waits for it first (`Hub.settle`).
2. Who may know of a product is asked of the database, never of the arrays.
3. A product that has not enrolled has no slot; it is decided by its facts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.codes import Code
from entitlements.decision import Decision, decide
from entitlements.decision_arrays import CODES, Decisions
from entitlements.grants import feature_names
from hub.errors import NotFoundError
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, Product
from hub.services import products
from hub.services.caller import Caller, Scope
from hub.services.facts import load_some
from hub.services.own_time import is_anothers
from hub.services.relations import Act

_AT_ONCE = 65_536
"""Products that are decided at once; what they need of memory stays small."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many products may use a feature at an instant, and why.

    Args:
        feature: its name.
        allowed: so many may use it.
        refused: so many may not.
        codes: how many products each code decides on.
    """

    feature: str
    allowed: int
    refused: int
    codes: dict[str, int]


def of_products(
    session: Session,
    caller: Caller,
    decisions: Decisions,
    product_ids: Sequence[str],
    features: Sequence[str] | None,
    at: int,
) -> dict[str, list[Decision]]:
    """Decide on features of products.

    Args:
        session: any session.
        caller: sees the products.
        decisions: of the fleet.
        product_ids: which, in the order of the answer.
        features: which; None: all that something of the product knows.
        at: the instant, ns; past, present or future.

    Raises:
        NotFoundError: one of the products does not exist, is not one of the caller's, or was another
            household's at the instant.
    """
    caller.require(Scope.PRODUCTS_READ)
    query = (
        select(Product.id, Device.slot)
        .outerjoin(Device, Device.product_id == Product.id)
        .where(Product.id.in_(product_ids), products.permitted(caller, Act.SEE))
    )
    slots = {row.id: row.slot for row in session.execute(query)}
    for product_id in product_ids:
        if product_id not in slots:
            raise NotFoundError(f"There is no product {product_id}.", product=product_id)
    if not caller.is_staff:
        _refuse_anothers(session, list(slots), at)
    known = set(decisions.slots_of([slot for slot in slots.values() if slot]))
    apart = [product_id for product_id, slot in slots.items() if slot not in known]
    facts = load_some(session, apart)  # few: not enrolled yet, or a moment ago
    return {
        product_id: (
            [
                decide(facts[product_id], name, at)
                for name in features or feature_names(facts[product_id])
            ]
            if product_id in facts
            else _looked_up(decisions, slots[product_id], features, at)
        )
        for product_id in product_ids
    }


def tally(
    caller: Caller, decisions: Decisions, features: Sequence[str] | None, at: int
) -> list[Tally]:
    """Count over all enrolled products who may use which feature at an instant.

    Args:
        caller: staff.
        decisions: of the fleet.
        features: which; None: all.
        at: the instant, ns; a future one says what will be on present facts.

    Raises:
        ForbiddenError: the caller is not staff.
    """
    caller.require(Scope.RECORDS_READ)
    names = sorted(decisions.features) if features is None else list(features)
    columns, slots = decisions.columns(names), decisions.slots
    counts = np.zeros((len(names), len(CODES), 2), np.int64)
    for first in range(0, slots.size, _AT_ONCE):
        answers = decisions.decide_all(slots[first : first + _AT_ONCE], columns, at)
        codes = answers.code.reshape(-1, len(names)).astype(np.int64)
        kinds = 2 * codes + answers.allowed.reshape(codes.shape)
        for at_name in range(len(names)):
            found = np.bincount(kinds[:, at_name], minlength=2 * len(CODES))
            counts[at_name] += found.reshape(-1, 2)
    return [
        Tally(
            name,
            int(counted[:, 1].sum()),
            int(counted[:, 0].sum()),
            {str(code): int(n) for code, n in zip(CODES, counted.sum(axis=1), strict=True) if n},
        )
        for name, counted in zip(names, counts, strict=True)
    ]


def _refuse_anothers(session: Session, product_ids: Sequence[str], at: int) -> None:
    query = (
        select(Ownership)
        .where(Ownership.product_id.in_(product_ids))
        .order_by(Ownership.product_id, Ownership.epoch)
    )
    for product_id, rows in groupby(session.scalars(query), key=lambda row: row.product_id):
        if is_anothers(list(rows), at):
            raise NotFoundError(
                f"Product {product_id} was somebody else's then. Ask about your own time.",
                product=product_id,
            )


def _looked_up(
    decisions: Decisions, slot: int, features: Sequence[str] | None, at: int
) -> list[Decision]:
    found = [decisions.decide(slot, name, at) for name in features or sorted(decisions.features)]
    return [one for one in found if features is not None or one.code is not Code.UNKNOWN_FEATURE]
