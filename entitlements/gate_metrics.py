"""The metrics of the catalogue as the columns that a gate snapshot carries to the pipeline."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from entitlements.facts import MetricKind, Model

NAME_BYTES = 48
UNIT_BYTES = 48

Arrays = dict[str, npt.NDArray[np.generic]]

_METRIC_KIND = {MetricKind.GAUGE: 0, MetricKind.COUNTER: 1, MetricKind.STATE: 2}


def metrics_of(models: Iterable[Model]) -> Arrays:
    """Return the metrics of all models, in the order of models and indices.

    Raises:
        ValueError: a name or unit does not fit; the message names it.
    """
    rows = sorted(
        ((model.number, metric.index, metric) for model in models for metric in model.metrics),
        key=lambda row: row[:2],
    )
    names = [fixed(metric.name, NAME_BYTES, exact=False) for _, _, metric in rows]
    units = [fixed(metric.unit, UNIT_BYTES, exact=False) for _, _, metric in rows]
    nan = float("nan")
    lows = [nan if metric.low is None else metric.low for _, _, metric in rows]
    highs = [nan if metric.high is None else metric.high for _, _, metric in rows]
    return {
        "metric_model": np.array([number for number, _, _ in rows], np.uint16),
        "metric_index": np.array([index for _, index, _ in rows], np.uint16),
        "metric_name": texts(names, NAME_BYTES),
        "metric_unit": texts(units, UNIT_BYTES),
        "metric_low": np.array(lows, np.float64),
        "metric_high": np.array(highs, np.float64),
        "metric_kind": np.array([_METRIC_KIND[metric.kind] for _, _, metric in rows], np.uint8),
    }


def fixed(text: str, size: int, *, exact: bool) -> bytes:
    """Return ASCII text as `size` bytes, padded with zeros; with `exact`, it must fill them."""
    data = text.encode("ascii", "replace")
    if len(data) > size or (exact and len(data) != size) or not text.isascii():
        raise ValueError(f"{text!r} does not fit the {size} ASCII bytes that the gate has for it")
    return data.ljust(size, b"\0")


def texts(rows: list[bytes], size: int) -> npt.NDArray[np.uint8]:
    """Return texts of one size as u8[N, size]."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size)
