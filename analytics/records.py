"""The state of one series: a single contiguous record of fixed size; and the scratch of one step.

1. Everything the detector knows of a series is in its record; nothing refers to anything outside.
2. Records are series-major: a sample touches neighbouring cache lines, never one line per field.
3. Values are kept relative to `anchor`, the first value, so that float32 and squares stay exact
   enough.
4. Changing the layout or its meaning changes `LAYOUT`: older snapshots are refused, never guessed
   at.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

LAYOUT: Final = 5
"""Version of `RECORD` and of what its fields mean.

Add one when a field of `RECORD` comes, goes, moves or changes its type, and also when it keeps its
place but is computed in another way (another unit, another statistic, another decay): a snapshot
of before would then be read without complaint and understood wrongly.
"""

BINS: Final = 48
"""Bins of the daily profile, half an hour each."""

# Accumulated evidence (cumulative sums), by position in `evidence`, `peak`, `began`, `moved`, `count`.
UP: Final = 0
DOWN: Final = 1
LOUDER: Final = 2
QUIETER: Final = 3
DRIFT_UP: Final = 4
DRIFT_DOWN: Final = 5
EVIDENCES: Final = 6

# Tails, by position in `tail`.
TAIL_INNOVATION: Final = 0
TAIL_SHIFT: Final = 1
TAIL_LOUDER: Final = 2
TAIL_QUIETER: Final = 3
TAILS: Final = 4

# Faults that last, by position in `fault_...`.
LOCATION: Final = 0  # level shifts and drifts: values without their daily profile
SCALE: Final = 1  # changes of variance: variances of the innovation
FAULTS: Final = 2

# What is remembered of past evidence, by position in `greatest`: the tails above, and drifts.
DRIFTS: Final = 4
REMEMBERED: Final = 5

JUDGED: Final = 5
"""Kinds with a refractory: `Kind` 1 to 5."""

RECORD: Final[np.dtype[Any]] = np.dtype(
    [
        # What the catalogue says, and the state of its limits.
        ("low", np.float64),  # infinite where there is none
        ("high", np.float64),
        ("limit_time", np.int64),  # when a value was last reported outside its limits
        ("late_limit_time", np.int64),  # the same for late samples
        ("kind", np.uint8),  # SeriesKind
        ("outside", np.uint8),  # 1 while values are outside the limits
        ("late_outside", np.uint8),
        ("ready", np.uint8),  # 1 once the daily profile is in use
        # The severities that faults which last were said with; 0 where there is none. With these
        # the bytes are eight, so that snapshots hold no stray memory.
        ("fault_kind", np.uint8),  # of the one of location
        ("fault_severity", np.uint8, FAULTS),
        ("stuck_severity", np.uint8),
        # The newest sample, and how many.
        ("samples", np.int64),  # in order, whatever became of them
        ("learned", np.int64),  # that the model has learned from
        ("time", np.int64),  # ns; of the newest
        ("value", np.float64),  # as it came
        ("modelled", np.float64),  # as the model saw it: relative to the anchor; counters: a rate
        ("start", np.int64),  # ns; of the first that was learned from
        ("anchor", np.float64),
        # Ordinary life.
        ("cadence", np.float64),  # s
        ("quantum", np.float64),  # smallest step between values
        ("level", np.float64),
        ("reference", np.float64),
        ("residual", np.float64),  # of the newest sample, clipped
        ("product", np.float64),  # mean of residual times residual before
        ("square", np.float64),  # mean square of the residual before
        ("noise", np.float64),  # variance of innovations
        ("spread", np.float64),  # variance of residuals
        ("lowest", np.float64),
        ("highest", np.float64),
        ("memory", np.float64),  # of past scores
        # Runs of equal values.
        ("run", np.int64),
        ("run_since", np.int64),
        ("runs", np.float64),
        ("longest", np.float64),
        # Blocks, for drifts.
        ("block_start", np.int64),
        ("block_sum", np.float64),
        ("block_count", np.float64),
        ("blocks", np.float32),
        # After another cadence or a pause: how many samples more are learned from before any is judged.
        ("settling", np.uint8),  # noise and correlation of another cadence
        ("pausing", np.uint8),  # where it is after a pause
        ("paces", np.int8),  # gaps in a row that were far longer (or, negative, shorter) than usual
        ("reserved", np.uint8),
        ("block_mean", np.float64),  # of the block before, clipped
        ("block_square", np.float64),
        ("block_product", np.float64),
        # Evidence that something changed.
        ("shift_since", np.int64),  # beginning of the newest level shift
        ("evidence", np.float64, EVIDENCES),  # nats
        ("peak", np.float64, EVIDENCES),  # nats, of the present excursion
        ("began", np.int64, EVIDENCES),  # ns
        ("moved", np.float64, EVIDENCES),  # sum since then of what moved
        ("count", np.float32, EVIDENCES),  # and of how many
        ("calm", np.float32, 2),  # spread before an excursion up or down began
        ("tail", np.float64, (TAILS, 3)),  # quantile, mean and mean square of the relative excess
        # Findings made, by kind - 1.
        ("fired", np.int64, JUDGED),
        ("fired_nats", np.float64, JUDGED),
        (
            "greatest",
            np.float64,
            REMEMBERED,
        ),  # evidence in memory that was ordinary in the end; fades
        # Faults that last.
        ("fault_since", np.int64, FAULTS),  # ns
        ("fault_next", np.int64, FAULTS),  # ns; when to look whether they still do
        ("fault_low", np.float64, FAULTS),  # band from before they began
        ("fault_high", np.float64, FAULTS),
        ("fault_sum", np.float64, FAULTS),  # since they were last looked at,
        ("fault_count", np.float32, FAULTS),  # and of how many
        ("fault_scale", np.float32),  # of the one of location: deviation of block means before it,
        ("fault_reference", np.float32),  # and the reference of drifts
        # The daily profile.
        ("seen", np.int64),  # bit b: bin b has a value
        ("profile", np.float32, BINS),
    ],
    align=True,
)

STEP: Final[np.dtype[Any]] = np.dtype(
    [
        ("sample", np.int64),  # position in the batch
        ("index", np.int64),
        ("findings", np.int64),  # written so far in this call
        ("time", np.int64),
        ("value", np.float64),  # relative to the anchor
        ("seconds", np.float64),  # since the sample before
        ("gap", np.float64),  # the same in cadences
        ("left", np.int64),  # bins around the time of day
        ("right", np.int64),
        ("share", np.float64),  # weight of the right one
        ("seasonal", np.float64),
        ("residual", np.float64),
        ("correlation", np.float64),  # of residuals one cadence apart
        ("carried", np.float64),  # part of the residual before that is expected now
        ("growth", np.float64),  # of innovation variance over a gap other than one cadence
        ("floor", np.float64),  # least variance that means anything: rounding and quantisation
        ("sigma", np.float64),  # of the innovation
        ("spread", np.float64),  # of the residual
        ("innovation", np.float64),
        ("z", np.float64),
        ("fade", np.float64),  # what is left of a memory after the gap before this sample
        ("step", np.float64),  # of running quantiles at this age
        ("rate", np.float64),  # of tail shapes at this age
        ("surprise", np.float64, TAILS),  # nats
        ("spike", np.float64),  # nats, of the innovation with a leaner tail
        ("beyond", np.float64),  # nats, of a record
    ],
    align=True,
)
"""What is worked out of one sample on the way; lives for one step only."""


def fresh(count: int) -> npt.NDArray[np.void]:
    """Return `count` records that know nothing yet."""
    records = np.zeros(count, RECORD)
    records["low"] = -np.inf
    records["high"] = np.inf
    return records.view(np.recarray)
