"""How much a product, and all products of one owner together, may send.

1. A budget is a rate and a burst: so many seconds of the rate may come at once.
2. Messages and bytes are counted, not rows: both are known before anything is decoded.
3. A plan's budget comes before the model's, and that before the hub's own, term by term.
4. What an owner's products send is taken from one allowance: each message takes that share of a
   second which the plan of its product says. So products on different plans can share it.

No clock and no counting here: the pipeline's kernels do that.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Limits(NamedTuple):
    """A budget with every term filled in; 0 means no limit.

    Args:
        messages_per_s: messages of one product.
        bytes_per_s: payload bytes of one product.
        owner_messages_per_s: messages of all products of its owner.
        owner_bytes_per_s: payload bytes of all products of its owner.
        burst_s: seconds of each rate that may come at once.
    """

    messages_per_s: int
    bytes_per_s: int
    owner_messages_per_s: int
    owner_bytes_per_s: int
    burst_s: int


UNLIMITED = Limits(0, 0, 0, 0, 1)
DEFAULT = Limits(500, 2_097_152, 5_000, 20_971_520, 10)
"""What holds where neither plan nor model says otherwise: far above what a healthy product sends, so
that only a fault or an attack meets it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a model or a plan says of a budget; `None` leaves a term to the next in line.

    Args:
        messages_per_s: see `Limits`.
        bytes_per_s: see `Limits`.
        owner_messages_per_s: see `Limits`.
        owner_bytes_per_s: see `Limits`.
        burst_s: see `Limits`.
    """

    messages_per_s: int | None = None
    bytes_per_s: int | None = None
    owner_messages_per_s: int | None = None
    owner_bytes_per_s: int | None = None
    burst_s: int | None = None


def limits(*budgets: Budget | None) -> Limits:
    """Fill in a budget from several, the most particular first, and from `DEFAULT`."""
    if not any(budgets):
        return DEFAULT
    return Limits(
        *(
            next((term for term in terms if term is not None), otherwise)
            for *terms, otherwise in zip(*map(_terms, filter(None, budgets)), DEFAULT, strict=True)
        )
    )


def _terms(budget: Budget) -> tuple[int | None, ...]:
    return (
        budget.messages_per_s,
        budget.bytes_per_s,
        budget.owner_messages_per_s,
        budget.owner_bytes_per_s,
        budget.burst_s,
    )
