"""Products beside the products like them: who deviates from its cohort, and which cohort moved.

1. A cohort is named by a number of the caller's (say, model and firmware); 0 is none.
2. A new product is judged from its first samples: the cohort knows what is usual.
3. A cohort's middle is a series like any other and watched by the same detector: if it moves, that is
   one finding about the cohort, and no product's fault.
4. State is arrays; snapshots continue bit for bit, and the split into calls changes nothing.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from analytics import cohort_kernel
from analytics.cohort_records import (
    CELL,
    PLACE,
    fresh_cells,
    fresh_places,
)
from analytics.detector import Detector
from analytics.findings import FINDING, Kind, Severity

_ROOM: Final = 256
_MOVED: Final = 1.0  # spreads of the cohort that its middle must have moved by

Batch = tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.bool_],
]
"""Series, time, value and lateness of samples, as the detector takes them."""


class Shifts(NamedTuple):
    """Findings of kind `COHORT_SHIFT`.

    Attributes:
        findings: FINDING[F]; `sample` is -1, `index` the cell.
        cohort: u32[F]. metric: u16[F]. members: u32[F], products that were looked at.
    """

    findings: npt.NDArray[np.void]
    cohort: npt.NDArray[np.uint32]
    metric: npt.NDArray[np.uint16]
    members: npt.NDArray[np.uint32]


class CohortWatch:
    """Compares series with their cohorts; series have the numbers they have in the detector."""

    def __init__(self) -> None:
        self._places: npt.NDArray[np.void] = fresh_places(1024)
        self._cells: npt.NDArray[np.void] = fresh_cells(4)
        self._names: dict[tuple[int, int], int] = {}
        self._middles = Detector(4)

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self._names)

    def reach(self, series: int) -> None:
        """Make room for series below `series`."""
        if series > len(self._places):
            more = max(series, 2 * len(self._places)) - len(self._places)
            self._places = np.concatenate([self._places, fresh_places(more)])

    def join(self, index: int, cohort: int, metric: int, *, counter: bool = False) -> None:
        """Say which cohort a series belongs to; joining another one starts it afresh.

        Args:
            index: of the series.
            cohort: number of the cohort, 0 for none.
            metric: what is comparable within a cohort.
            counter: values only rise; rates are compared.
        """
        self.reach(index + 1)
        place = self._places[index]
        cell = self._cell(cohort, metric) if cohort else -1
        place["counter"] = counter
        if place["cell"] == cell:
            return
        if place["cell"] >= 0:
            self._cells[place["cell"]]["series"] -= 1
        self._places[index] = fresh_places(1)[0]
        self._places[index]["counter"] = counter
        self._places[index]["cell"] = cell
        if cell >= 0:
            self._cells[cell]["series"] += 1

    def update(self, batch: Batch, received: int) -> tuple[npt.NDArray[np.void], Shifts]:
        """Take the samples of one block.

        Args:
            batch: the samples, in journal order.
            received: time of receipt of the block, ns; never falls.

        Returns:
            Findings of kind `COHORT` in the order of the samples (severity `OVER` ends one), and of
            cohorts that moved.
        """
        found: list[npt.NDArray[np.void]] = []
        shifts: list[Shifts] = []
        start = 0
        while start < len(batch[0]):
            room = np.zeros(_ROOM, FINDING)
            fed: npt.NDArray[np.int64] = np.empty(_ROOM, np.int64)
            middle = np.empty(_ROOM)
            start, count, middles = cohort_kernel.compare(
                self._places, self._cells, *batch, received, start, room, fed, middle
            )
            if count:
                found.append(room[:count])
            if middles:
                shifts.append(self._follow(fed[:middles], middle[:middles], received))
        return np.concatenate([np.empty(0, FINDING), *found]), _gathered(shifts)

    def middle(self, cohort: int, metric: int) -> tuple[float, float, float, int]:
        """Return median, spread below and above, and members of a cell; NaN if it is not known."""
        cell = self._names.get((cohort, metric))
        if cell is None or self._cells[cell]["looks"] == 0:
            return np.nan, np.nan, np.nan, 0
        c = self._cells[cell]
        return float(c["middle"]), float(c["below"]), float(c["above"]), int(c["members"])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the whole state; `restore` continues from it."""
        used = len(self._names)
        names = np.array([name for name, _ in _in_order(self._names)], np.int64)
        state: npt.NDArray[np.uint8] = np.frombuffer(self._middles.dump(), np.uint8)
        return {
            "cohort_places": self._places.view(np.uint8),
            "cohort_cells": self._cells[:used].view(np.uint8),
            "cohort_names": names.reshape(-1, 2),
            "cohort_middles": state,
        }

    @classmethod
    def restore(cls, arrays: dict[str, npt.NDArray[Any]]) -> "CohortWatch":
        """Return the watch that `arrays` described.

        Raises:
            SnapshotError: the middles were saved by another version.
        """
        watch = cls()
        watch._middles = Detector.load(arrays["cohort_middles"].tobytes())
        watch._places = arrays["cohort_places"].copy().view(PLACE)
        cells = arrays["cohort_cells"].copy().view(CELL)
        if len(cells):
            watch._cells = cells
        watch._names = {
            (cohort, metric): cell
            for cell, (cohort, metric) in enumerate(arrays["cohort_names"].tolist())
        }
        return watch

    def _cell(self, cohort: int, metric: int) -> int:
        cell = self._names.setdefault((cohort, metric), len(self._names))
        if cell >= len(self._cells):
            self._cells = np.concatenate([self._cells, fresh_cells(len(self._cells))])
        if cell >= len(self._middles):
            self._middles.allocate(1)
        return cell

    def _follow(
        self, cells: npt.NDArray[np.int64], middle: npt.NDArray[np.float64], received: int
    ) -> Shifts:
        """Watch the middles of cells; keep what says that a cohort moved by more than it spreads."""
        time: npt.NDArray[np.int64] = np.full(len(cells), received, np.int64)
        late: npt.NDArray[np.bool_] = np.zeros(len(cells), np.bool_)
        said = self._middles.update(cells, time, middle, late)
        usual = 0.5 * (said["expected_low"] + said["expected_high"])
        of = self._cells[said["index"]]
        spread = np.where(said["observed"] > usual, of["above"], of["below"])
        moved = np.isin(said["kind"], (Kind.LEVEL_SHIFT, Kind.DRIFT)) & (
            np.abs(said["observed"] - usual) >= _MOVED * spread
        )
        said, of = said[moved], of[moved]
        names = [name for name, _ in _in_order(self._names)]
        place = np.array([names[cell] for cell in said["index"]], np.int64).reshape(-1, 2)
        said["kind"], said["sample"] = Kind.COHORT_SHIFT, -1
        said["severity"] = np.minimum(said["severity"], Severity.WARNING)
        return Shifts(
            said,
            place[:, 0].astype(np.uint32),
            place[:, 1].astype(np.uint16),
            of["members"].astype(np.uint32),
        )


def _in_order(names: dict[tuple[int, int], int]) -> list[tuple[tuple[int, int], int]]:
    return sorted(names.items(), key=lambda item: item[1])


def _gathered(parts: list[Shifts]) -> Shifts:
    empty = Shifts(
        np.empty(0, FINDING),
        np.empty(0, np.uint32),
        np.empty(0, np.uint16),
        np.empty(0, np.uint32),
    )
    return Shifts(*(np.concatenate(column) for column in zip(empty, *parts, strict=True)))
