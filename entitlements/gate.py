"""Compiles the facts of all products to the arrays of the gate snapshot."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from entitlements.facts import Facts, Model


def compile_gate(
    facts: Iterable[Facts], models: Iterable[Model], at: int
) -> dict[str, npt.NDArray[np.generic]]:
    """Compile the arrays of the "Gate snapshot" table of docs/architecture.md.

    Args:
        facts: the facts of every enrolled product, in any order.
        models: the catalogue, for its metrics.
        at: the instant (ns UTC) of the compile. Spans begin with the one that holds at it.

    Raises:
        ValueError: two products have one slot, or a slot is 0.
    """
    raise NotImplementedError
