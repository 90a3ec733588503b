"""What a person's products measured in their time, as files: rows, and aggregates of the time whose rows are gone.

1. Of each series there is what the store keeps: rows where it has them, before those whole buckets of the finest level
   that is left. What is quarantined is in it too.
2. A series takes the memory of one page, however long it is.
3. Rows are read before aggregates: what becomes too old meanwhile is in both, never in neither.
What must never live here: records of the database.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, Product
from hub.ports.store.port import BucketColumns, Cursor, TelemetryStore, Visibility
from hub.services.column_files import Columns, csv_pages, parquet_pages
from hub.services.own_time import own_time
from hub.services.telemetry import EVERYTHING, MetricView, metrics_of

_ROWS: Final = 100_000
_BUCKETS: Final = 32 * 1_440
"""Of a page; so many minutes, hours or days end with a day, and no bucket is on two pages."""
_ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)
_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one device, and what of it is the person's.

    Args:
        folder: named after the product.
        slot: device slot.
        metric: of its model.
        visible: what was measured in their time.
        facts: what a file is about, kept in it.
    """

    folder: str
    slot: int
    metric: MetricView
    visible: Visibility
    facts: Mapping[str, str]


def series_of(session: Session, owner_ids: Sequence[str]) -> Iterator[Series]:
    """Yield the series that households have measured in their time.

    Args:
        session: any session.
        owner_ids: the households.
    """
    query = (
        select(Device.slot, Device.device_id, Product, Ownership.owner_id)
        .join(Product, Product.id == Device.product_id)
        .join(Ownership, Ownership.product_id == Product.id)
        .where(Ownership.owner_id.in_(owner_ids), Ownership.undone_at.is_(None))
        .distinct()
        .order_by(Device.slot)
    )
    windows: dict[int, list[Any]] = {}
    about: dict[int, tuple[str, Product]] = {}
    for slot, device_id, product, owner_id in session.execute(query):
        own = own_time(session, product.id, owner_id)
        if own is not None:
            windows.setdefault(slot, []).extend(own.windows)
            about[slot] = device_id, product
    for slot, (device_id, product) in about.items():
        visible = Visibility(tuple(windows[slot]), EVERYTHING.reasons)
        for metric in metrics_of(session, product.model_number):
            folder = re.sub(r"[^A-Za-z0-9_.-]", "_", product.serial) or device_id
            facts = {"device_id": device_id, "metric": metric.name, "unit": metric.unit}
            yield Series(folder, slot, metric, visible, facts)


def files_of(store: TelemetryStore, one: Series) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the files of a series, path and content, each to be read before the next; none if nothing is kept.

    Args:
        store: where telemetry is.
        one: the series.

    Raises:
        StorageError: the store's files are damaged or cannot be read.
    """
    for folder, pages in (("telemetry", _rows), ("aggregates", _buckets)):
        first = next(pages(store, one), None)
        if first is None or not next(iter(first.values())).size:
            continue
        for suffix, form in _forms(one):
            yield f"{folder}/{one.folder}/{one.metric.name}.{suffix}", form(pages(store, one))


def _forms(one: Series) -> list[tuple[str, Callable[[Iterator[Columns]], Iterator[bytes]]]]:
    return [("csv", csv_pages), ("parquet", lambda pages: parquet_pages(pages, one.facts))]


def _rows(store: TelemetryStore, one: Series) -> Iterator[Columns]:
    after: Cursor | None = None
    while True:
        rows = store.range(
            one.slot, one.metric.index, *_ALWAYS, visible=one.visible, limit=_ROWS, after=after
        )
        yield {"time": rows.time, "value": rows.value, "stream": rows.stream, "seq": rows.seq}
        after = rows.following
        if after is None:
            return


def _buckets(store: TelemetryStore, one: Series) -> Iterator[Columns]:
    """Yield the buckets of the time whose rows are gone; an empty page only if there are none."""
    page: Columns = {}
    empty = True
    for rolled in store.rolled(one.slot):
        width = rolled.step * _BUCKETS
        for start in range(rolled.start, rolled.end, width):
            end = min(start + width, rolled.end)
            found = store.buckets(
                one.slot, one.metric.index, start, end, rolled.step, visible=one.visible
            )
            page = _bucket_columns(found)
            if found.start.size:
                empty = False
                yield page
    if empty and page:
        yield page


def _bucket_columns(found: BucketColumns) -> Columns:
    return {
        "start": found.start,
        "step_s": np.full(found.start.size, found.step // _S),
        "count": found.count,
        "min": found.min,
        "max": found.max,
        "mean": found.mean,
        "first": found.first,
        "last": found.last,
    }
