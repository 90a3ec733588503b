"""Telemetry of one product and of a fleet, as JSON, CSV or Parquet.

1. Whose it is and what of it shows is decided by the services at the moment of the query.
2. An export is read page by page while it is sent; its first page is read before the answer
   begins, so that what goes wrong there is still a problem and not a broken file.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse

from hub.api import columns, description
from hub.api import telemetry_query as query
from hub.api.bodies import DeviceId
from hub.api.columns import MEDIA_TYPES, Format
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import text_of
from hub.api.lookup import product_id_of
from hub.api.paging import After, Listing
from hub.api.telemetry_query import Span, Telemetry
from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session
from hub.ports.store.port import BucketColumns
from hub.services import telemetry
from hub.services.column_files import Columns, csv_pages, parquet_pages

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["telemetry"])

FormatDep = Annotated[
    Format | None, Query(alias="format", description="Stronger than the header Accept.")
]
Accept = Annotated[str | None, Header(include_in_schema=False)]
Rows = Annotated[
    int | None,
    Query(
        ge=1,
        le=query.MAX_ROWS,
        description=f"Rows at most. JSON without it has {query.DEFAULT_ROWS}, exports have all.",
    ),
]


@dataclass(frozen=True, slots=True)
class _About:
    """What a table is about."""

    device_id: str | None
    model: str
    metric: str
    unit: str

    def head(self, span: Span, step: str | None) -> dict[str, Any]:
        """Return the members that stand before the columns in JSON."""
        return {
            "device_id": self.device_id,
            "model": self.model,
            "metric": self.metric,
            "unit": self.unit,
            "from": text_of(span.start),
            "to": text_of(span.end),
            "step": step,
        }

    def facts(self) -> dict[str, str]:
        """Return what stands in the metadata of a Parquet file."""
        facts = {"model": self.model, "metric": self.metric, "unit": self.unit}
        return facts if self.device_id is None else {"device_id": self.device_id, **facts}

    @property
    def file_name(self) -> str:
        """Name of a downloaded file, without its suffix."""
        return f"{self.device_id or self.model}-{self.metric}"


@ROUTER.get(
    "/products/{device_id}/telemetry",
    operation_id="get_telemetry",
    summary="What a product measured",
    response_class=Response,
    responses=description.tables(Telemetry, "Rows, or buckets where a step is given."),
)
def get_telemetry(
    hub: HubDep,
    caller: CallerDep,
    device_id: DeviceId,
    metric: query.Metric,
    from_: query.From = None,
    to: query.To = None,
    step: query.Step = None,
    form: FormatDep = None,
    limit: Rows = None,
    after: After = None,
    accept: Accept = None,
) -> Response:
    """Return one metric of a product over a range of time."""
    at = hub.clock()
    chosen = columns.chosen(form, accept)
    span = query.checked(from_, to, step, at)
    with read_session(hub.engine) as session:
        found = telemetry.series(session, caller, product_id_of(session, device_id), metric, at)
    about = _About(found.device_id, found.model, found.metric.name, found.metric.unit)
    series = query.Series(found.slot, found.metric.index, found.visible)
    if span.step is not None:
        buckets = hub.store.buckets(
            series.slot, series.metric, span.start, span.end, span.step, visible=series.visible
        )
        return _bucket_answer(about, span, buckets, chosen)
    if chosen is not Format.JSON:
        if after is not None:
            raise InvalidInputError(
                "An export has all rows at once; leave `after` out.", parameter="after"
            )
        return _export(about, chosen, query.row_pages(hub.store, series, span, limit))
    listing = Listing(
        "get_telemetry",
        (int, str, str, int),
        series=[found.device_id, metric],
        start=from_,
        end=to,
    )
    rows = hub.store.range(
        series.slot,
        series.metric,
        span.start,
        span.end,
        visible=series.visible,
        limit=limit or query.DEFAULT_ROWS,
        after=query.cursor_of(listing.key(after)),
    )
    head = about.head(span, None)
    following = rows.following
    head["next"] = following and listing.cursor(query.cursor_key(following))
    return _json(columns.json_text(head, query.row_columns(rows)))


@ROUTER.get(
    "/fleet/telemetry",
    operation_id="get_fleet_telemetry",
    summary="One metric over all products of a model",
    response_class=Response,
    responses=description.tables(Telemetry, "Buckets over all products of the model."),
)
def get_fleet_telemetry(
    hub: HubDep,
    caller: CallerDep,
    model: Annotated[str, Query(min_length=1, max_length=48)],
    metric: query.Metric,
    step: query.Step = "1h",
    from_: query.From = None,
    to: query.To = None,
    region: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    form: FormatDep = None,
    accept: Accept = None,
) -> Response:
    """Aggregate one metric over all products of a model, or those of a region."""
    chosen = columns.chosen(form, accept)
    step = step or "1h"
    span = query.checked(from_, to, step, hub.clock())
    with read_session(hub.engine) as session:
        found = telemetry.fleet(session, caller, model, metric, region=region)
    buckets = hub.store.fleet(found.slots, found.metric.index, span.start, span.end, span.step or 0)
    about = _About(None, found.model, found.metric.name, found.metric.unit)
    return _bucket_answer(about, span, buckets, chosen)


def _bucket_answer(about: _About, span: Span, buckets: BucketColumns, form: Format) -> Response:
    table = query.bucket_columns(buckets)
    if form is Format.JSON:
        head = {**about.head(span, query.step_text(buckets.step)), "level": buckets.level}
        return _json(columns.json_text(head, table))
    return _export(about, form, iter([table]))


def _json(text: bytes) -> Response:
    return Response(text, media_type=MEDIA_TYPES[Format.JSON], headers=_headers())


def _export(about: _About, form: Format, pages: Iterator[Columns]) -> Response:
    first = next(pages)
    whole: Iterable[Columns] = itertools.chain([first], pages)
    text = csv_pages(whole) if form is Format.CSV else parquet_pages(whole, about.facts())
    headers = _headers(
        {"Content-Disposition": f'attachment; filename="{about.file_name}.{form.value}"'}
    )
    return StreamingResponse(text, media_type=MEDIA_TYPES[form], headers=headers)


def _headers(further: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"Vary": "Accept, Authorization, Cookie", **(further or {})}
