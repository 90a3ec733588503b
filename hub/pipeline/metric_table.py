"""Metric names of all product models, looked up by bytes from inside a kernel.

1. Open addressing over FNV-1a of model and name, verified by full comparison.
2. Built once per gate snapshot from the catalogue columns (docs/architecture.md, "Gate snapshot").
What must never live here: what a metric means. Limits belong to detection, units to the decoders.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hub.pipeline.frames import I64, U8, U16

NAME_SIZE = 48
_SEED = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)


@njit("u8(u1[::1], i8, i8, i8)", cache=True, nogil=True)
def hash_name(data, at, size, model):  # type: ignore[no-untyped-def]
    """FNV-1a (Fowler, Noll, Vo) over the model number and the name's bytes."""
    h = (_SEED ^ np.uint64(model)) * _PRIME
    for i in range(size):
        h = (h ^ np.uint64(data[at + i])) * _PRIME
    return h ^ (h >> np.uint64(32))


@njit("b1(u1[::1], i8, i8, u1[:, ::1], i8[::1], i8)", cache=True, nogil=True)
def name_equals(data, at, size, names, sizes, row):  # type: ignore[no-untyped-def]
    """Whether catalogue row `row` has exactly these bytes as its name."""
    if sizes[row] != size:
        return False
    for i in range(size):
        if names[row, i] != data[at + i]:
            return False
    return True


@njit("i8(u1[::1], i8, i8, i8, u1[:, ::1], i8[::1], i8[::1], i8[::1])", cache=True, nogil=True)
def find_metric(data, at, size, model, names, sizes, models, table):  # type: ignore[no-untyped-def]
    """Catalogue row of a model's metric by name, or -1."""
    mask = np.uint64(table.size - 1)
    probe = hash_name(data, at, size, model) & mask
    while table[probe] >= 0:
        row = table[probe]
        if models[row] == model and name_equals(data, at, size, names, sizes, row):
            return row
        probe = (probe + np.uint64(1)) & mask
    return np.int64(-1)


@dataclass(frozen=True, slots=True)
class MetricTable:
    """The catalogue as kernels see it; M metrics.

    Attributes:
        names: u8[M, 48], zero padded. sizes: i64[M], bytes of each name. models: i64[M].
        index: u16[M], metric index in its model. low, high: f64[M], limits (NaN: none). kind: u8[M].
        units: u8[M, 16], UCUM code, zero padded.
        table: i64[2^k], hash table of rows, -1 where empty.
        by_name: (model, name) to catalogue row, for the reference decoders.
    """

    names: U8
    sizes: I64
    models: I64
    index: U16
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    kind: U8
    units: tuple[str, ...]
    table: I64
    by_name: Mapping[tuple[int, str], int]

    @classmethod
    def build(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "MetricTable":
        """Build from the `metric_*` columns of a gate snapshot."""
        names = np.ascontiguousarray(arrays["metric_name"], dtype=np.uint8)
        count = names.shape[0]
        sizes = (names != 0).sum(axis=1).astype(np.int64)
        models = arrays["metric_model"].astype(np.int64)
        size = 16
        while size < 4 * count:
            size *= 2
        table = np.full(size, -1, np.int64)
        flat = names.reshape(-1)
        by_name: dict[tuple[int, str], int] = {}
        for row in range(count):
            at = int(hash_name(flat, row * NAME_SIZE, int(sizes[row]), int(models[row]))) & (
                size - 1
            )
            while table[at] >= 0:
                at = (at + 1) & (size - 1)
            table[at] = row
            by_name[int(models[row]), bytes(names[row, : sizes[row]]).decode()] = row
        return cls(
            names=names,
            sizes=sizes,
            models=models,
            index=arrays["metric_index"].astype(np.uint16),
            low=arrays["metric_low"].astype(np.float64),
            high=arrays["metric_high"].astype(np.float64),
            kind=arrays["metric_kind"].astype(np.uint8),
            units=tuple(bytes(u).rstrip(b"\0").decode() for u in arrays["metric_unit"]),
            table=table,
            by_name=by_name,
        )
