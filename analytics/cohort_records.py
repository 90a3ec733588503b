"""What is known of a series' place in its cohort, and of a cohort's values: records and parameters.

1. A series has one record of 64 bytes, in the numbers of the detector; a sample touches one cache line.
2. A cell is one metric of one cohort: a panel of at most `SEATS` products whose newest values stand
   for all. Memory is bounded by cells, whatever the number of products.
3. Changing a layout or its meaning changes `records.LAYOUT`: snapshots of before are refused.
4. A place in the cohort is in units of the cohort's own spread: 0 is the median.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

SEATS: Final = 128
"""Products in the panel of a cell."""
LEAST_MEMBERS: Final = 10
"""Fewer products are no cohort."""
NO_SEAT: Final = 255

PLACE: Final[np.dtype[Any]] = np.dtype(
    [
        ("time", np.int64),  # ns, of the newest sample that was compared
        ("value", np.float64),  # as it came; counters need the one before
        ("since", np.int64),  # ns, beginning of the present excursion
        ("cell", np.int32),  # -1: not compared with anything
        ("evidence", np.float32),  # cumulative sum of what exceeds the slack; negative: below
        ("peak", np.float32),  # the most of it in the present excursion,
        ("greatest", np.float32),  # and in those before; fades
        ("near", np.float32),  # place, averaged over the last samples
        ("home", np.float32),  # place that has been reported; 0: none
        ("run", np.uint16),  # samples of the present excursion
        ("calm", np.uint16),  # samples without a deviation since one was reported
        ("samples", np.uint16),  # compared so far, as far as that matters
        ("seat", np.uint8),  # in the panel
        ("counter", np.uint8),
        ("severity", np.uint8),  # reported; 0: not deviating
        ("reserved", np.uint8, 7),
    ],
    align=True,
)

CELL: Final[np.dtype[Any]] = np.dtype(
    [
        ("due", np.int64),  # ns, time of receipt from which the panel is looked at again
        ("fed", np.int64),  # ns, when the middle was last handed out
        ("eased", np.int64),  # ns, when `strict` was last eased
        ("middle", np.float64),
        ("above", np.float64),  # spread above the middle, as a standard deviation
        ("below", np.float64),
        ("interval", np.float64),  # s, between arrivals of one product
        ("strict", np.float64),  # at least 1: evidence asked for where many products deviate
        ("series", np.int64),  # series compared with this cell
        ("looks", np.int64),  # at the panel, with enough members
        ("members", np.int32),  # with a fresh value at the last look
        ("reserved", np.uint8, 4),
        ("value", np.float64, SEATS),
        ("heard", np.int64, SEATS),  # ns, time of receipt; 0: free
        ("holder", np.int64, SEATS),  # index of the series
    ],
    align=True,
)


def fresh_places(count: int) -> npt.NDArray[np.void]:
    """Return records of series that belong to no cohort."""
    places = np.zeros(count, PLACE)
    places["cell"], places["seat"] = -1, NO_SEAT
    return places


def fresh_cells(count: int) -> npt.NDArray[np.void]:
    """Return cells that know no product yet."""
    cells = np.zeros(count, CELL)
    cells["strict"], cells["interval"] = 1.0, 60.0
    return cells
