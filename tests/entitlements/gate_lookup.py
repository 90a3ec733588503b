"""What it means that two gate snapshots say the same."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from entitlements.gate import limits_at, verdict_at

DTYPES = {
    "device_id": "uint8",
    "model": "uint16",
    "epoch": "uint32",
    "cohort": "uint32",
    "span": "uint32",
    "span_from": "int64",
    "span_verdict": "uint8",
    "span_reason": "uint8",
    "span_budget": "uint16",
    "owner": "uint32",
    "budget": "int64",
    "metric_model": "uint16",
    "metric_index": "uint16",
    "metric_name": "uint8",
    "metric_unit": "uint8",
    "metric_low": "float64",
    "metric_high": "float64",
    "metric_kind": "uint8",
}


def assert_same_snapshot(
    one: Mapping[str, npt.NDArray[Any]], other: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Equal but for the places of spans, the numbers of owners, and slots that nobody has."""
    slots = np.arange(max(len(one["model"]), len(other["model"])) + 1, dtype=np.uint32)
    for name in DTYPES:
        assert one[name].dtype == other[name].dtype
        if name.startswith("metric_"):
            np.testing.assert_array_equal(one[name], other[name])
        elif not name.startswith("span") and name not in {"budget", "owner"}:
            shared = min(len(one[name]), len(other[name]))
            np.testing.assert_array_equal(one[name][:shared], other[name][:shared])
            assert not one[name][shared:].any()
            assert not other[name][shared:].any()
    for at in {*one["span_from"].tolist(), *other["span_from"].tolist()}:
        np.testing.assert_array_equal(
            verdict_at(dict(one), slots, at), verdict_at(dict(other), slots, at)
        )
        np.testing.assert_array_equal(
            limits_at(dict(one), slots, at), limits_at(dict(other), slots, at)
        )
    shared = min(len(one["owner"]), len(other["owner"]))
    assert _renumbered(one["owner"][:shared]) == _renumbered(other["owner"][:shared])


def _renumbered(owners: npt.NDArray[Any]) -> list[int]:
    """Numbers of owners by the order in which they occur; nobody stays 0."""
    numbers = {0: 0}
    return [numbers.setdefault(owner, len(numbers)) for owner in owners.tolist()]
