"""What a telemetry request may ask for, checked before the store is asked.

1. A range is `[from, to)`; without one it is the last 24 hours.
2. With a step the answer is buckets, of which there are at most `MAX_BUCKETS`; without one it is
   the rows themselves, paged in JSON and streamed whole in the other formats.
3. Nothing here knows whose telemetry it is.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from hub.api.instants import Instant
from hub.api.paging import Key
from hub.errors import InvalidInputError
from hub.ports.store.port import BucketColumns, Cursor, RawColumns, TelemetryStore, Visibility
from hub.services.column_files import Columns

MAX_BUCKETS = 20_000
MAX_ROWS = 100_000
DEFAULT_ROWS = 10_000
EXPORT_PAGE_ROWS = 100_000

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_UNITS = {"ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3_600 * _SECOND, "d": _DAY}
_STEP = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h|d)")
_NUMBER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_MAX_STEP = 366 * _DAY

From = Annotated[
    Instant | None, Query(alias="from", description="First instant; absent: a day before `to`.")
]
To = Annotated[Instant | None, Query(description="End, exclusive; absent: now.")]
Step = Annotated[
    str | None,
    Query(
        pattern=f"^{_STEP.pattern}$",
        description="Width of a bucket, such as `500ms`, `30s`, `5m`, `1h` or `1d`. Buckets are "
        "aligned to multiples of it since 1970 UTC. Absent: the rows themselves.",
        examples=["5m"],
    ),
]
Metric = Annotated[str, Query(pattern=r"^[a-z][a-z0-9_]{1,47}$", description="Name of the metric.")]


@dataclass(frozen=True, slots=True)
class Span:
    """A checked range; ns since 1970 UTC, `end` exclusive, `step` in ns or `None` for rows."""

    start: int
    end: int
    step: int | None


def checked(start: int | None, end: int | None, step: str | None, at: int) -> Span:
    """Fill in and check a range.

    Args:
        start: `from` of the request.
        end: `to` of the request.
        step: `step` of the request.
        at: the present instant, ns.

    Raises:
        InvalidInputError: the range is empty, or has too many buckets.
    """
    end = at if end is None else end
    start = max(end - _DAY, -(2**63)) if start is None else start
    if start >= end:
        raise InvalidInputError("The range is empty: `from` must be before `to`.", parameter="from")
    width = None if step is None else _width(step)
    if width is not None:
        if -(-(end - start) // width) > MAX_BUCKETS:
            needed = -(-(end - start) // MAX_BUCKETS // _SECOND) or 1
            raise InvalidInputError(
                f"The range has more than {MAX_BUCKETS} buckets of {step}. Shorten it, or take a "
                f"step of at least {needed}s.",
                parameter="step",
                max_buckets=MAX_BUCKETS,
            )
        if start - width < -(2**63):
            raise InvalidInputError(
                "The first bucket would begin before the year 1677. Begin later.",
                parameter="from",
            )
    return Span(start, end, width)


def _width(step: str) -> int:
    match = _STEP.fullmatch(step)
    width = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < width <= _MAX_STEP:
        raise InvalidInputError(
            "The step must be between 1ms and 366d, such as `5m`.", parameter="step"
        )
    return width


def step_text(step: int) -> str:
    """Return a width in ns as requests give it, in the largest unit that fits."""
    unit = max((u for u in _UNITS if step % _UNITS[u] == 0), key=lambda u: _UNITS[u])
    return f"{step // _UNITS[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one device, as one caller may see it."""

    slot: int
    metric: int
    visible: Visibility


def row_pages(
    store: TelemetryStore, series: Series, span: Span, limit: int | None
) -> Iterator[Columns]:
    """Yield all rows of a range page by page; at least one page, which may be empty.

    Args:
        store: where they are.
        series: which ones.
        span: the range.
        limit: rows at most; `None` for all.
    """
    after: Cursor | None = None
    left = limit
    while True:
        size = EXPORT_PAGE_ROWS if left is None else min(left, EXPORT_PAGE_ROWS)
        rows = store.range(
            series.slot,
            series.metric,
            span.start,
            span.end,
            visible=series.visible,
            limit=size,
            after=after,
        )
        yield row_columns(rows)
        after = rows.following
        if left is not None:
            left -= len(rows.time)
        if after is None or left == 0:
            return


def row_columns(rows: RawColumns) -> Columns:
    """Return rows as named columns."""
    return {"time": rows.time, "value": rows.value, "stream": rows.stream, "seq": rows.seq}


def bucket_columns(buckets: BucketColumns) -> Columns:
    """Return buckets as named columns."""
    return {
        "start": buckets.start,
        "count": buckets.count,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "first": buckets.first,
        "last": buckets.last,
    }


def cursor_key(cursor: Cursor) -> tuple[int, str, str, int]:
    """Return a store's cursor as the key of a page; u64 numbers go as text."""
    found = asdict(cursor)
    return found["time"], str(found["stream"]), str(found["seq"]), found["skip"]


def cursor_of(key: Key | None) -> Cursor | None:
    """Return the store's cursor that `cursor_key` made a key of.

    Raises:
        InvalidInputError: the numbers in it are not those of a row.
    """
    if key is None:
        return None
    time, stream, seq, skip = (int(part) if _NUMBER.fullmatch(str(part)) else -1 for part in key)
    if not (0 <= stream < 2**64 and 0 <= seq < 2**64 and 1 <= skip < 2**31):
        raise InvalidInputError(
            "The value of `after` is not a cursor of this list. Start again without it.",
            parameter="after",
        )
    return Cursor(time, stream, seq, skip)


class Telemetry(BaseModel):
    """A series, column by column: rows (`time`, `value`, ...) or buckets (`start`, `min`, ...)."""

    device_id: str | None = Field(default=None, description="Absent for a fleet.")
    model: str
    metric: str
    unit: str = Field(description="UCUM code.")
    from_: Instant = Field(alias="from")
    to: Instant
    step: str | None = Field(
        default=None,
        description="Width of a bucket; wider than asked for where only coarser ones are kept.",
    )
    level: str | None = Field(
        default=None,
        description="The coarsest that buckets are made from: `raw`, `minute`, `hour` or `day`.",
    )
    next: str | None = Field(default=None, description="Rows only: `after` for the next page.")
    time: list[Instant] | None = None
    value: list[float] | None = None
    stream: list[str] | None = None
    seq: list[int] | None = None
    start: list[Instant] | None = None
    count: list[int] | None = None
    min: list[float | None] | None = None
    max: list[float | None] | None = None
    mean: list[float | None] | None = None
    first: list[float | None] | None = None
    last: list[float | None] | None = None

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "device_id": "kx3q8m0d5c7r2v1z",
                    "model": "heat-pump",
                    "metric": "temp_c",
                    "unit": "Cel",
                    "from": "2026-01-31T08:00:00Z",
                    "to": "2026-01-31T08:10:00Z",
                    "step": "5m",
                    "level": "raw",
                    "start": ["2026-01-31T08:00:00Z", "2026-01-31T08:05:00Z"],
                    "count": [300, 300],
                    "min": [20.9, 21.0],
                    "max": [21.4, 21.6],
                    "mean": [21.1, 21.3],
                    "first": [20.9, 21.0],
                    "last": [21.2, 21.6],
                }
            ]
        }
    )
