"""What detection costs: time a sample, bytes a series, beside River's scorer on the same samples.

1. 20,000 series with ordinary life behind them, so that every path of the kernel is in use.
2. `run` of 12 samples a series in a batch is how packs arrive; `scattered` is one sample a series.
"""

import argparse
import json
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.detector import Detector

_SERIES: Final = 20_000
_RUN: Final = 12
_CADENCE_NS: Final = 60_000_000_000
_ORIGIN_NS: Final = 1_772_323_200_000_000_000


def _batch(
    rng: np.random.Generator, series: int, run: int, at: int
) -> tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]
]:
    """Make `run` samples of each series, series after series in shuffled order."""
    index = np.repeat(rng.permutation(series), run)
    tick = np.tile(np.arange(at, at + run), series)
    moment = _ORIGIN_NS + tick * _CADENCE_NS
    value = 20 + np.sin(tick * 2 * np.pi / 1440 + index) + 0.2 * rng.standard_normal(len(index))
    return index, moment, value, np.zeros(len(index), np.bool_)


def _nanoseconds(
    detector: Detector, rng: np.random.Generator, series: int, run: int, at: int, repeats: int
) -> float:
    """Return the least time a sample over `repeats` batches, ns: other work only ever adds."""
    taken = []
    for k in range(repeats):
        batch = _batch(rng, series, run, at + k * run)
        begin = time.perf_counter_ns()
        detector.update(*batch)
        taken.append((time.perf_counter_ns() - begin) / len(batch[0]))
    return min(taken)


def _river(values: list[float]) -> float | None:
    """Return what River's GaussianScorer takes a sample, ns; None where River is not installed."""
    try:
        from river import anomaly
    except ImportError:
        return None
    make: Any = anomaly.GaussianScorer  # River is untyped
    scorer = make(window_size=100)
    begin = time.perf_counter_ns()
    for value in values:
        scorer.score_one(None, value)
        scorer.learn_one(None, value)
    return (time.perf_counter_ns() - begin) / len(values)


def run(quick: bool) -> dict[str, Any]:
    """Measure; `quick` takes fewer repeats.

    Returns:
        `ns_per_sample`, `ns_per_sample_scattered`, `bytes_per_series`, and with River
        `river_ratio`.
    """
    rng = np.random.default_rng(1)
    detector = Detector(_SERIES)
    detector.allocate(_SERIES)
    repeats = 3 if quick else 9
    at = 0
    for _ in range(6):  # past warm-up and the compiler
        detector.update(*_batch(rng, _SERIES, 40, at))
        at += 40
    runs = _nanoseconds(detector, rng, _SERIES, _RUN, at, repeats)
    at += repeats * _RUN
    scattered = _nanoseconds(detector, rng, _SERIES, 1, at, repeats)
    result: dict[str, Any] = {
        "series": _SERIES,
        "run": _RUN,
        "ns_per_sample": round(runs, 1),
        "ns_per_sample_scattered": round(scattered, 1),
        "bytes_per_series": Detector.RECORD.itemsize,
    }
    values = _batch(rng, _SERIES, _RUN, at)[2]
    river = _river(values[: 2_000 if quick else 20_000].tolist())
    if river is not None:
        result["river_ratio"] = round(river / runs, 1)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(run(parser.parse_args().quick), indent=2))
