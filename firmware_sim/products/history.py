"""A product's past in columns: many instants of one product at once.

1. The rows are those that `step` gives one after the other; columns are only another shape of them.
2. What could not be read at an instant is NaN in its column, and left out of its row.
3. Never here: how rows travel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_sim.products.product import Product

NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Columns:
    """What a product measured at many instants.

    Attributes:
        time: int64[N], ns since 1970 UTC, rising.
        values: float64[N] by metric name, in the units of the catalogue; NaN where not read.
    """

    time: npt.NDArray[np.int64]
    values: Mapping[str, npt.NDArray[np.float64]]

    def __len__(self) -> int:
        """Return how many instants there are."""
        return len(self.time)

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield instant and readings, one row after the other."""
        names = tuple(self.values)
        lists = [column.tolist() for column in self.values.values()]
        for instant, *readings in zip(self.time.tolist(), *lists, strict=True):
            pairs = zip(names, readings, strict=True)
            yield instant, {name: value for name, value in pairs if value == value}  # noqa: PLR0124  not NaN


def live_through(product: Product, start_ns: int, end_ns: int, step_s: float) -> Columns:
    """Let a product live from one instant to another without waiting.

    Args:
        product: it is older afterwards.
        start_ns: ns since 1970 UTC; the first row is one step later.
        end_ns: the last row is not after it.
        step_s: seconds between two rows.

    Returns:
        What it measured.
    """
    step_ns = int(step_s * NS_PER_S)
    time = np.arange(start_ns + step_ns, end_ns + 1, step_ns, dtype=np.int64)
    step = product.step
    rows = [step(step_s, now_ns) for now_ns in time.tolist()]
    names = dict.fromkeys(name for row in rows for name in row)
    missing = float("nan")
    values = {
        name: np.fromiter((row.get(name, missing) for row in rows), np.float64, len(rows))
        for name in names
    }
    return Columns(time, values)
