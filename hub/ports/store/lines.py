"""Samples as InfluxDB line protocol, built in columns: a Python object per sample costs 6 times more.

1. One line a sample: `homeport,s=SLOT,m=METRIC,e=EPOCH,r=REASON v=VALUE MS`. Labels are bounded: a
   device has few metrics and owners, and there are eight reasons. `stream` and `seq` would be a
   series for each row, so they are not written.
2. One line a row, `homeport,s=SLOT,e=EPOCH,r=REASON n=1 MS`, so that rows can be counted.
3. Times are cut down to milliseconds; values are the shortest decimals that read back the same.
What must never live here: a connection.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hub.ports.journal.telemetry import REASON_MASK, REASON_SHIFT
from hub.ports.store.columns import FIRST_OF_ROW, Columns

MEASUREMENT: Final = "homeport"
MS: Final = 1_000_000  # ns
_YEAR_S: Final = 31_536_000
EARLIEST_NS: Final = _YEAR_S * 1_000_000_000
"""Rows before 1971 are not written: nothing was measured then, and stores refuse negative times."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Line protocol, and how many samples of it there are."""

    text: bytes
    samples: int


def lines_of(columns: Columns, measurement: str = MEASUREMENT) -> Lines:
    """Build line protocol with millisecond times.

    Args:
        columns: samples in long form.
        measurement: name of the measurement, `[a-z_]+`.
    """
    columns = columns.take(columns.time >= EARLIEST_NS)
    if not len(columns):
        return Lines(b"", 0)
    reason = (columns.flags & np.uint32(REASON_MASK)) >> np.uint32(REASON_SHIFT)
    slot, epoch, why = _text(columns.slot), _text(columns.epoch), _text(reason)
    time = _text(columns.time // MS)
    samples = pc.binary_join_element_wise(
        f"{measurement},s=",
        slot,
        ",m=",
        _text(columns.metric),
        ",e=",
        epoch,
        ",r=",
        why,
        " v=",
        _text(columns.value),
        " ",
        time,
        "\n",
        "",
    )
    first = pa.array((columns.flags & np.uint32(FIRST_OF_ROW)) != 0)
    rows = pc.binary_join_element_wise(
        f"{measurement},s=",
        slot.filter(first),
        ",e=",
        epoch.filter(first),
        ",r=",
        why.filter(first),
        " n=1 ",
        time.filter(first),
        "\n",
        "",
    )
    return Lines(_joined(samples) + _joined(rows), len(columns))


def _text(array: Any) -> Any:
    return pc.cast(pa.array(array), pa.string())


def _joined(lines: Any) -> bytes:
    """Give the bytes of all strings of an array, one after the other: they lie so in memory."""
    if not len(lines):
        return b""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return bytes(memoryview(data)[ends[0] : ends[-1]])
