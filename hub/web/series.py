"""What a chart draws: one metric over a range, aggregated to the pixels it has.

1. The store gives least, greatest and mean value per pixel column; a chart never gets more points
   than pixels, however many samples there are. Zooming in asks again.
2. Every chart comes with a sentence and a table that say the same in words and numbers.
3. What of it the visitor may see is decided by the services at the moment of the query.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from fastapi import APIRouter, Path, Query
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session
from hub.ports.store.port import BucketColumns, TelemetryStore
from hub.services import alert_desk, telemetry
from hub.services.alert_desk import FindingView
from hub.services.telemetry import MetricView, Series
from hub.web.context import hub_of
from hub.web.formats import NS, Formats, machine
from hub.web.guard import PageRoute, visitor_of
from hub.web.languages import N_
from hub.web.sentences import Sentences
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MS = 1_000_000
HOUR = 3_600 * NS
DAY = 24 * HOUR
RANGES = {"1h": HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "365d": 365 * DAY}
DEFAULT_RANGE = "1d"
MAX_COLUMNS = 2_000
MIN_SPAN = NS
TABLE_ROWS = 24
MAX_FINDINGS = 100

ID = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]

_NOTHING = N_("{title}: nothing was measured in this time.")
_SUMMARY = N_(
    "{title}: {count} values from {start} to {end}, between {low} and {high}, {mean} on average."
)
_LEVELS = {
    "minute": N_("Of the earlier part there are values by minute only."),
    "hour": N_("Of the earlier part there are values by hour only."),
    "day": N_("Of the earlier part there are values by day only."),
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A range of a metric, ready to show; `step` and the range are ns."""

    metric: MetricView
    start: int
    end: int
    step: int
    buckets: BucketColumns

    def coarser(self, rows: int) -> Self:
        """Return at most about so many rows of the same range, put together from its columns."""
        factor = max(1, -(-(self.end - self.start) // (rows * self.step)))
        step, b = factor * self.step, self.buckets
        if not b.start.size:
            return self
        start = b.start // step * step
        edges = np.flatnonzero(np.append(True, start[1:] != start[:-1]))
        count = np.add.reduceat(b.count, edges)
        buckets = BucketColumns(
            start=start[edges],
            count=count,
            min=np.minimum.reduceat(b.min, edges),
            max=np.maximum.reduceat(b.max, edges),
            mean=np.add.reduceat(b.mean * b.count, edges) / count,
            first=b.first[edges],
            last=b.last[np.append(edges[1:], start.size) - 1],
            step=step,
            level=b.level,
        )
        return replace(self, step=step, buckets=buckets)

    def sentence(self, visitor: Visitor) -> str:
        """Say what the chart shows."""
        formats, metric, b = visitor.formats, self.metric, self.buckets
        text = visitor.language.text
        if not b.count.size:
            return text(_NOTHING, title=metric.title)
        count = int(b.count.sum())
        mean = float((b.mean * b.count).sum() / count)
        coarse = _LEVELS.get(b.level)
        summary = text(
            _SUMMARY,
            title=metric.title,
            count=formats.whole(count),
            start=formats.minute(int(b.start[0])),
            end=formats.minute(min(int(b.start[-1]) + self.step, self.end)),
            low=formats.quantity(float(b.min.min()), metric.unit),
            high=formats.quantity(float(b.max.max()), metric.unit),
            mean=formats.quantity(mean, metric.unit),
        )
        return summary if coarse is None else f"{summary} {text(coarse)}"

    def rows(self, formats: Formats) -> list[dict[str, str]]:
        """Return the rows of the chart's table, those of time first."""
        b = self.buckets
        return [
            {
                "at": machine(int(b.start[i])),
                "time": formats.minute(int(b.start[i])),
                "min": formats.quantity(float(b.min[i]), self.metric.unit),
                "mean": formats.quantity(float(b.mean[i]), self.metric.unit),
                "max": formats.quantity(float(b.max[i]), self.metric.unit),
            }
            for i in range(b.start.size)
        ]


@ROUTER.get("/products/{product_id}/series", operation_id="get_series")
def get_series(
    request: Request,
    product_id: ID,
    metric: Annotated[str, Query(pattern="^[a-z][a-z0-9_]{1,47}$")],
    start: Annotated[int, Query(ge=0, le=9_000_000_000_000)],
    end: Annotated[int, Query(ge=0, le=9_000_000_000_000)],
    columns: Annotated[int, Query(ge=1, le=MAX_COLUMNS)] = 600,
) -> Response:
    """Return the points of a chart; instants in the address and the answer are ms."""
    hub, visitor = hub_of(request), visitor_of(request)
    if end * MS - start * MS < MIN_SPAN:
        raise InvalidInputError("The range is shorter than a second.")
    with read_session(hub.engine) as session:
        at = hub.clock()
        series = telemetry.series(session, visitor.known, product_id, metric, at)
        findings = marked(session, visitor, product_id, metric, start * MS, end * MS, at)
    chart = drawn(hub.store, series, start * MS, end * MS, columns)
    table = chart.coarser(TABLE_ROWS)
    b = chart.buckets
    counters = frozenset({metric} if series.metric.kind == "counter" else ())
    said = Sentences(visitor.language, visitor.formats, counters)
    answer: dict[str, Any] = {
        "title": series.metric.title,
        "start": start,
        "end": end,
        "time": ((b.start + chart.step // 2) // MS).tolist(),
        "min": _plain(b.min),
        "max": _plain(b.max),
        "mean": _plain(b.mean),
        "level": b.level,
        "sentence": chart.sentence(visitor),
        "rows": table.rows(visitor.formats),
        "findings": [
            {
                "since": finding.since // MS,
                "at": finding.at // MS,
                "severity": finding.severity,
                "sentence": said.found(finding, series.metric.title),
                "when": visitor.formats.minute(finding.at),
            }
            for finding in findings
        ],
    }
    return JSONResponse(answer)


def drawn(store: TelemetryStore, series: Series, start: int, end: int, columns: int) -> Chart:
    """Aggregate a range to so many columns.

    Args:
        store: where the samples are.
        series: which ones.
        start: first instant, ns.
        end: end, exclusive, ns.
        columns: pixels, or rows of a table.
    """
    step = max(MS, -(-(end - start) // columns))
    step = -(-step // NS) * NS if step > NS else step  # whole seconds read better
    buckets = store.buckets(
        series.slot, series.metric.index, start, end, step, visible=series.visible
    )
    return Chart(series.metric, start, end, buckets.step, buckets)


def marked(
    session: Session, visitor: Visitor, product_id: str, metric: str, start: int, end: int, at: int
) -> list[FindingView]:
    """Return the latest findings on a metric within a range; `at` is now (ns)."""
    found = alert_desk.findings(
        session, visitor.known, at=at, product_id=product_id, after=(end, b""), limit=MAX_FINDINGS
    )
    return [one for one in found if one.metric == metric and one.at >= start]


def _plain(values: Any) -> list[float | None]:
    return [round(value, 6) if np.isfinite(value) else None for value in values.tolist()]
