"""The telemetry payload: exact columns, zero copies, and inconsistent batches refused."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import StorageError
from hub.ports.journal.telemetry import TelemetryBatch, decode, encode, payload_size


def make(counts: list[int], seed: int = 0) -> TelemetryBatch:
    rng = np.random.default_rng(seed)
    rows, samples = len(counts), sum(counts)
    return TelemetryBatch(
        slot=rng.integers(1, 1 << 32, rows, np.uint32),
        epoch=rng.integers(0, 1 << 32, rows, np.uint32),
        flags=rng.integers(0, 1 << 10, rows, np.uint32),
        count=np.array(counts, np.uint32),
        stream=rng.integers(0, 1 << 64, rows, np.uint64),
        seq=rng.integers(0, 1 << 64, rows, np.uint64),
        raw_time=rng.integers(-(1 << 63), 1 << 63, rows, np.int64),
        time=rng.integers(-(1 << 63), 1 << 63, rows, np.int64),
        metric=rng.integers(0, 1 << 16, samples, np.uint16),
        value=rng.normal(size=samples),
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 1 << 30))
def test_round_trip(counts: list[int], seed: int) -> None:
    batch = make(counts, seed)
    payload = b"".join(encode(batch))
    assert len(payload) == payload_size(len(counts), sum(counts))
    back = decode(payload)
    assert (back.rows, back.samples) == (len(counts), sum(counts))
    for field in fields(TelemetryBatch):
        column = getattr(back, field.name)
        assert column.dtype == getattr(batch, field.name).dtype
        np.testing.assert_array_equal(column, getattr(batch, field.name))


def test_neither_direction_copies() -> None:
    batch = make([2, 3])
    parts = encode(batch)
    batch.value[4] = 42.0
    payload = bytearray(b"".join(parts))
    assert np.frombuffer(payload[-8:], np.float64)[0] == 42.0
    back = decode(payload)
    payload[-8:] = np.float64(7.0).tobytes()
    assert back.value[4] == 7.0
    assert not decode(bytes(payload)).value.flags.writeable


def test_columns_start_at_multiples_of_eight() -> None:
    position = 0
    for part in encode(make([1, 1, 1])):
        if len(part) >= 8:
            assert position % 8 == 0
        position += len(part)
    assert position % 8 == 0


def test_inconsistent_batches_are_refused() -> None:
    batch = make([2, 3])
    with pytest.raises(StorageError, match="count 6 samples but it holds 5"):
        encode(replace(batch, count=np.array([2, 4], np.uint32)))
    with pytest.raises(StorageError, match="Column seq"):
        encode(replace(batch, seq=batch.seq[:1]))


def test_damaged_payloads_are_refused() -> None:
    payload = b"".join(encode(make([2, 3])))
    with pytest.raises(StorageError, match="has no counts"):
        decode(payload[:15])
    for size in range(16, len(payload)):
        with pytest.raises(StorageError, match="cannot hold"):
            decode(payload[:size])
    changed = bytearray(payload)
    changed[16 + 3 * 8] += 1  # count of the first row
    with pytest.raises(StorageError, match="count 6 samples"):
        decode(changed)
