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

from analytics.findings import Severity
from benchmarks.injection import watch
from benchmarks.ordinary import DAY_S, NS, Floats, Ints
from firmware_sim.products.fault import Fault, FaultKind
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.products.product import Product

_WINTER: Final = 1_767_225_600 * NS  # 1 January 2026
_SUMMER: Final = 1_782_864_000 * NS  # 1 July 2026
_DAYS: Final = 21
_ONSET_DAYS: Final = 10
_ILL_DAYS: Final = 4
_SAME_NS: Final = 12 * 3_600 * NS  # what the twin says within so long says nothing of the fault


@dataclass(frozen=True, slots=True)
class Species:
    """A kind of product to watch.

    Attributes:
        make: makes one from a seed.
        counters: metrics that only rise.
        faults: severity gained in an hour, and the metrics that show it.
    """

    make: Callable[[int], Product]
    counters: tuple[str, ...]
    faults: dict[FaultKind, tuple[float, tuple[str, ...]]]


PRODUCTS: Final = {
    "heat_pumps": Species(
        HeatPump,
        ("energy_kwh",),
        {
            FaultKind.BEARING_WEAR: (0.02, ("vibration_mm_s",)),
            FaultKind.STUCK_SENSOR: (np.inf, ("flow_temp_c",)),
            FaultKind.LEAK: (
                0.02,
                ("power_w", "energy_kwh", "compressor_hz", "indoor_temp_c"),
            ),
        },
    ),
}


def live(
    species: Species, seed: int, start: int, days: int, fault: Fault | None = None
) -> tuple[tuple[str, ...], Ints, Floats]:
    """Let one product live; returns metrics, times, and what it reported each minute, [metrics, N]."""
    product = species.make(seed)
    if fault is not None:
        product.inject(fault)
    time = start + np.arange(1, days * 1440 + 1) * 60 * NS
    rows = [product.step(60.0, int(now)) for now in time]
    return tuple(rows[0]), time, np.array([list(row.values()) for row in rows]).T


def observe(
    species: Species, metrics: tuple[str, ...], time: Ints, values: Floats
) -> npt.NDArray[np.void]:
    """Run the detector over all metrics of one product; `index` is the position of the metric."""
    said = []
    for counter in (False, True):
        rows = [i for i, name in enumerate(metrics) if (name in species.counters) == counter]
        if rows:
            findings = watch(time, values[rows], counter=counter)
            findings["index"] = np.array(rows)[findings["index"]]
            said.append(findings)
    return np.concatenate(said)


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
            life = live(species, number, start, _DAYS)
            said = observe(species, *life)
            series += len(life[0])
            findings += len(said)
            alerts += int(np.count_nonzero(said["severity"] >= Severity.WARNING))
        onset = _WINTER + _ONSET_DAYS * DAY_S * NS
        days = _ONSET_DAYS + _ILL_DAYS
        twin = observe(species, *live(species, number, _WINTER, days))
        for kind, (rate, telling) in species.faults.items():
            life = live(species, number, _WINTER, days, Fault(kind, onset, rate))
            rows = [life[0].index(metric) for metric in telling]
            waits[kind.value].append(delay(observe(species, *life), twin, rows, onset))
    weeks = series * _DAYS / 7
    return {
        "findings_per_series_week": round(findings / weeks, 4),
        "alerts_per_series_week": round(alerts / weeks, 4),
        "recall": {k: round(float(np.mean(np.isfinite(w))), 4) for k, w in waits.items()},
        "median_delay_h": {k: _median_hours(w) for k, w in waits.items()},
        "series_weeks": weeks,
    }


def delay(
    ill: npt.NDArray[np.void], twin: npt.NDArray[np.void], telling: list[int], onset: int
) -> float:
    """Return after how long a telling metric gets a finding its twin does not get, s, or infinity."""
    for finding in ill[(ill["time"] >= onset) & np.isin(ill["index"], telling)]:
        same = twin[(twin["index"] == finding["index"]) & (twin["kind"] == finding["kind"])]
        if not (np.abs(same["time"] - finding["time"]) <= _SAME_NS).any():
            return float(finding["time"] - onset) / NS
    return float(np.inf)


def _median_hours(waits: list[float]) -> float | None:
    """Return the median of the delays of faults that were found, h."""
    in_time = [wait for wait in waits if np.isfinite(wait)]
    return round(float(np.median(in_time)) / 3_600, 1) if in_time else None
