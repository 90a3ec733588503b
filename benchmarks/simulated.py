"""Simulated products under watch: what is said of healthy ones, and whether their faults are found.

1. Products cycle, in winter and in summer, and none of that is a fault.
2. A fault is found if a metric that shows it gets a finding that its healthy twin does not get.
3. One `Kind` a product in `PRODUCTS`. The physics are `firmware_sim`'s; nothing here may be fitted to
   the detector.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.detector import Detector
from analytics.findings import SeriesKind, Severity
from benchmarks.ordinary import DAY_S, NS, Floats, Ints
from firmware_sim.products.ev_charger import EvCharger
from firmware_sim.products.fault import Fault, FaultKind
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.products.product import Product
from firmware_sim.products.robot_vacuum import RobotVacuum

_WINTER: Final = 1_767_225_600 * NS  # 1 January 2026
_SUMMER: Final = 1_782_864_000 * NS  # 1 July 2026
_DAYS: Final = 21
_ONSET_DAYS: Final = 10
_ILL_DAYS: Final = 4
_SAME_NS: Final = 12 * 3_600 * NS  # what the twin says within so long says nothing of the fault


Life = dict[str, tuple[Ints, Floats]]
"""By metric, the times (ns) at which it was reported and its values; what rests may not be reported."""


@dataclass(frozen=True, slots=True)
class Species:
    """A kind of product to watch.

    Attributes:
        make: makes one from a seed.
        kinds: metrics that are not gauges.
        faults: severity gained in an hour, and the metrics that show it.
    """

    make: Callable[[int], Product]
    kinds: dict[str, SeriesKind]
    faults: dict[FaultKind, tuple[float, tuple[str, ...]]]


PRODUCTS: Final = {
    "heat_pumps": Species(
        HeatPump,
        {"energy_kwh": SeriesKind.COUNTER},
        {
            FaultKind.BEARING_WEAR: (0.02, ("vibration_mm_s",)),
            FaultKind.STUCK_SENSOR: (np.inf, ("flow_temp_c",)),
            FaultKind.LEAK: (
                0.02,
                ("power_w", "energy_kwh", "compressor_hz", "indoor_temp_c"),
            ),
        },
    ),
    "ev_chargers": Species(
        EvCharger,
        {"energy_kwh": SeriesKind.COUNTER, "connector_state": SeriesKind.STATE},
        {
            FaultKind.STUCK_SENSOR: (np.inf, ("connector_temp_c",)),
            FaultKind.LEAK: (0.02, ("residual_ma",)),
        },
    ),
    "robot_vacuums": Species(
        RobotVacuum,
        {"area_m2": SeriesKind.COUNTER, "docked": SeriesKind.STATE},
        {
            FaultKind.BEARING_WEAR: (0.02, ("suction_current_a", "motor_temp_c")),
            FaultKind.STUCK_SENSOR: (np.inf, ("filter_pressure_pa",)),
        },
    ),
}


def live(species: Species, seed: int, start: int, days: int, fault: Fault | None = None) -> Life:
    """Let one product live; returns what it reported each minute."""
    product = species.make(seed)
    if fault is not None:
        product.inject(fault)
    times: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for now in (start + np.arange(1, days * 1440 + 1) * 60 * NS).tolist():
        for name, value in product.step(60.0, now).items():
            times.setdefault(name, []).append(now)
            values.setdefault(name, []).append(value)
    return {
        name: (np.array(times[name], np.int64), np.array(values[name], np.float64))
        for name in times
    }


def observe(species: Species, life: Life) -> dict[str, npt.NDArray[np.void]]:
    """Run the detector over all metrics of one product; returns the findings of each."""
    said = {}
    for name, (time, values) in life.items():
        detector = Detector(1)
        index = np.full(len(time), detector.allocate(1), np.int64)
        detector.configure(0, np.nan, np.nan, species.kinds.get(name, SeriesKind.GAUGE))
        said[name] = detector.update(index, time, values, np.zeros(len(time), np.bool_))
    return said


def measure(name: str, seed: int, count: int) -> dict[str, Any]:
    """Watch `count` healthy products in winter and in summer, and in winter one of each fault.

    Args:
        name: of the product, see `PRODUCTS`.
        seed: of the first product; the others have the seeds that follow.
        count: how many.

    Returns:
        Findings and alerts per series-week of healthy products; recall and median delay of each
        fault within four days.
    """
    species = PRODUCTS[name]
    findings = alerts = series = 0
    waits: dict[str, list[float]] = {kind.value: [] for kind in species.faults}
    for number in range(seed, seed + count):
        for start in (_WINTER, _SUMMER):
            said = observe(species, live(species, number, start, _DAYS))
            series += len(said)
            for of_metric in said.values():
                findings += len(of_metric)
                alerts += int(np.count_nonzero(of_metric["severity"] >= Severity.WARNING))
        onset = _WINTER + _ONSET_DAYS * DAY_S * NS
        days = _ONSET_DAYS + _ILL_DAYS
        twin = observe(species, live(species, number, _WINTER, days))
        for kind, (rate, telling) in species.faults.items():
            life = live(species, number, _WINTER, days, Fault(kind, onset, rate))
            waits[kind.value].append(delay(observe(species, life), twin, telling, onset))
    weeks = series * _DAYS / 7
    return {
        "findings_per_series_week": round(findings / weeks, 4),
        "alerts_per_series_week": round(alerts / weeks, 4),
        "recall": {k: round(float(np.mean(np.isfinite(w))), 4) for k, w in waits.items()},
        "median_delay_h": {k: _median_hours(w) for k, w in waits.items()},
        "series_weeks": weeks,
    }


def delay(
    ill: dict[str, npt.NDArray[np.void]],
    twin: dict[str, npt.NDArray[np.void]],
    telling: tuple[str, ...],
    onset: int,
) -> float:
    """Return after how long a telling metric gets a finding its twin does not get, s, or infinity."""
    first = np.inf
    for metric in telling:
        for finding in ill[metric][ill[metric]["time"] >= onset]:
            same = twin[metric][twin[metric]["kind"] == finding["kind"]]
            if not (np.abs(same["time"] - finding["time"]) <= _SAME_NS).any():
                first = min(first, float(finding["time"] - onset) / NS)
                break
    return first


def _median_hours(waits: list[float]) -> float | None:
    """Return the median of the delays of faults that were found, h."""
    in_time = [wait for wait in waits if np.isfinite(wait)]
    return round(float(np.median(in_time)) / 3_600, 1) if in_time else None
