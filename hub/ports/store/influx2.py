"""InfluxDB 2 as a telemetry store, by Flux. Not run against the server: tested at HTTP level.

1. A mirror like VictoriaMetrics, see `victoria.py`; but values are kept bit by bit.
2. Flux has no arguments that all versions know, so queries are text; whatever enters them is a
   number, or a name from the settings written as a Flux string.
3. Points of one series with one time are one point in InfluxDB; what is sent twice counts once.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from hub.errors import StorageError
from hub.ports.store.columns import Samples
from hub.ports.store.lines import EARLIEST_NS, MEASUREMENT, MS
from hub.ports.store.port import Fidelity, LatestColumns, Visibility
from hub.ports.store.remote import (
    RemoteStore,
    as_samples,
    groups,
    in_ms,
    milliseconds,
    newest_of_each,
    no_samples,
    shown,
)

_TIMEOUT_MS: Final = 60_000
_AHEAD_NS: Final = 3 * 86_400 * 1_000_000_000
_Dialect: Any = Dialect  # untyped
_LABELS: Final = ("s", "m", "e", "r")


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """Where the server is, and what it knows the hub's data by."""

    url: str
    org: str
    bucket: str
    token: str = field(repr=False)


class InfluxStore(RemoteStore):
    """`TelemetryStore` over InfluxDB 2.

    Args:
        address: where it is.
        clock: the present time, ns since 1970 UTC: a Flux range has an end.
    """

    fidelity = Fidelity(MS, identity=False, exact=True, earliest=EARLIEST_NS)

    def __init__(self, address: InfluxAddress, clock: Callable[[], int]) -> None:
        self._address = address
        self._clock = clock
        client: Any = InfluxDBClient(
            address.url, token=address.token, org=address.org, timeout=_TIMEOUT_MS
        )
        self._api = client.query_api()

    def samples(
        self, slots: Sequence[int], metric: int, start: int, end: int, visible: Visibility
    ) -> Samples:
        """See `RemoteStore.samples`."""
        first, last = milliseconds(start, end)
        parts = [no_samples()]
        if first <= last:
            span = (first * MS, (last + 1) * MS)
            for group in groups(slots):
                flux = self._flux("v", span, group, metric) + _keep("_time", "_value", *_LABELS)
                parts += self._series(flux, visible)
        return Samples.concatenate(parts)

    def latest(self, slot: int, *, visible: Visibility) -> LatestColumns:
        """See `TelemetryStore.latest`."""
        found: dict[int, tuple[int, float]] = {}
        for window in in_ms(visible).windows:
            first, last = self._all_time()
            first = first if window.start is None else max(first, window.start)
            last = last if window.end is None else min(last, window.end)
            if first >= last:
                continue
            flux = self._flux("v", (first, last), [slot]) + " |> last()"
            for row in self._rows(flux + _keep("_time", "_value", *_LABELS)):
                if shown(row, Visibility((window,), visible.reasons)):
                    candidate = (int(_times([row["_time"]])[0]) // MS, float(row["_value"]))
                    metric = int(row["m"])
                    found[metric] = max(candidate, found.get(metric, candidate))
        return newest_of_each(found)

    def count(self, slots: Sequence[int] | None = None) -> int:
        """See `TelemetryStore.count`; rows of a device at one instant count once."""
        wanted: list[Sequence[int] | None] = [None] if slots is None else list(groups(slots))
        total = 0
        for group in wanted:
            flux = self._flux("n", self._all_time(), group) + " |> count() |> group() |> sum()"
            total += sum(int(row["_value"]) for row in self._rows(flux))
        return total

    def _flux(
        self,
        name: str,
        span: tuple[int, int],
        slots: Sequence[int] | None,
        metric: int | None = None,
    ) -> str:
        tests = [f'r._measurement == "{MEASUREMENT}"', f'r._field == "{name}"']
        if metric is not None:
            tests.append(f'r.m == "{metric}"')
        if slots is not None:
            tests.append("(" + " or ".join(f'r.s == "{slot}"' for slot in slots) + ")")
        start, stop = span
        return (
            f"from(bucket: {_string(self._address.bucket)})"
            f" |> range(start: time(v: {start}), stop: time(v: {stop}))"
            f" |> filter(fn: (r) => {' and '.join(tests)})"
        )

    def _all_time(self) -> tuple[int, int]:
        return EARLIEST_NS, self._clock() + _AHEAD_NS

    def _series(self, flux: str, visible: Visibility) -> Iterator[Samples]:
        """Give the visible samples, a piece for each set of labels."""
        found: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in self._rows(flux):
            found.setdefault(tuple(row[name] for name in _LABELS), []).append(row)
        for labels, rows in found.items():
            named = dict(zip(_LABELS, labels, strict=True))
            if shown(named, visible):
                times = _times([row["_time"] for row in rows]) // MS
                values = [float(row["_value"]) for row in rows]
                yield as_samples(times.tolist(), values, named, visible)

    def _rows(self, flux: str) -> Iterator[dict[str, str]]:
        """Run a query; tables of a CSV answer each begin with their header."""
        dialect = _Dialect(header=True, annotations=[], date_time_format="RFC3339Nano")
        header: list[str] = []
        try:
            for row in self._api.query_csv(flux, dialect=dialect):
                if "_value" in row:
                    header = row
                elif len(row) == len(header):
                    yield dict(zip(header, row, strict=True))
                elif any(row):
                    raise StorageError(f"InfluxDB answered a query with an error: {row[-1]}.")
        except (ApiException, HTTPError, OSError) as error:
            status = getattr(error, "status", None)
            said = f"status {status}" if status else type(error).__name__
            raise StorageError(
                f"InfluxDB at {self._address.url} did not answer a query ({said}). Check the "
                "settings store.url, store.org, store.bucket and store.token."
            ) from error


def _keep(*columns: str) -> str:
    return f" |> keep(columns: {json.dumps(columns)})"


def _string(text: str) -> str:
    """Write a Flux string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _times(texts: Sequence[str]) -> Any:
    """Read RFC 3339 instants in UTC; i64[N] ns since 1970."""
    return np.array([text.removesuffix("Z") for text in texts], "datetime64[ns]").astype(np.int64)
