"""VictoriaMetrics as a telemetry store: a mirror of the journal, for queries and dashboards.

1. The archive of record stays the journal and its Parquet files. VictoriaMetrics keeps milliseconds,
   no identity of rows, and values as decimals that share an exponent within a block of a series: 17
   digits of the largest, so next to 1e300 a 1 reads as 0. `FIDELITY` says so.
2. It needs `-dedup.minScrapeInterval=1ms`, so that what is sent twice counts once, and a
   retention. It drops times before 1970 and those more than two days ahead.
3. Owner epoch and quarantine reason are labels; who may see what is decided at the query.
4. It has no write-ahead log: `mirror.py` rewinds. `boot` tells a restart.
What must never live here: the journal.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from hub.errors import StorageError
from hub.ports.store.columns import Samples
from hub.ports.store.lines import EARLIEST_NS, MEASUREMENT, MS
from hub.ports.store.port import Fidelity, LatestColumns, Visibility, Window
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

FIDELITY: Final = Fidelity(MS, identity=False, exact=False, earliest=EARLIEST_NS)
_TIMEOUT_S: Final = 60.0
_AHEAD_S: Final = 3 * 86_400  # beyond what the server keeps of the future
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class VictoriaAddress:
    """Where the server is.

    Attributes:
        url: base address.
        token: bearer token of a proxy before it; empty for none.
        measurement: name before the label set; several hubs may share a server by it.
    """

    url: str
    token: str = ""
    measurement: str = MEASUREMENT


class VictoriaStore(RemoteStore):
    """`TelemetryStore` over VictoriaMetrics (single node 1.79 or later).

    Args:
        address: where it is.
        clock: the present time, ns since 1970 UTC: an instant query needs one.
    """

    fidelity = FIDELITY

    def __init__(self, address: VictoriaAddress, clock: Callable[[], int]) -> None:
        self._address = address
        self._clock = clock
        headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
        self._client = httpx.Client(
            base_url=address.url, timeout=_TIMEOUT_S, headers=headers, trust_env=False
        )

    def latest(self, slot: int, *, visible: Visibility) -> LatestColumns:
        """See `TelemetryStore.latest`; the server reads all that it has of the device."""
        selector = self._selector("v", [slot])
        found: dict[int, tuple[int, float]] = {}
        for window in in_ms(visible).windows:
            at, back = self._lookback(window)
            if back <= 0:
                continue
            times = self._by_series(f"tlast_over_time({selector}[{back}ms])", at)
            values = self._by_series(f"last_over_time({selector}[{back}ms])", at)
            for key, seconds in times.items():
                labels = dict(key)
                if key in values and shown(labels, Visibility((window,), visible.reasons)):
                    candidate = (round(float(seconds) * 1_000), float(values[key]))
                    metric = int(labels["m"])
                    found[metric] = max(candidate, found.get(metric, candidate))
        return newest_of_each(found)

    def count(self, slots: Sequence[int] | None = None) -> int:
        """See `TelemetryStore.count`; rows of a device at one instant count once."""
        wanted: list[Sequence[int] | None] = [None] if slots is None else list(groups(slots))
        total = 0
        for group in wanted:
            selector = self._selector("n", group)
            query = f"sum(count_over_time({selector}[{self._all_time()}s]))"
            total += sum(int(float(row["value"][1])) for row in self._instant(query))
        return total

    def flush(self) -> None:
        """Have the server put what it has accepted where queries see it.

        Raises:
            StorageError: it cannot be reached.
        """
        self._get("/internal/force_flush")

    def boot(self) -> str:
        """Return what changes when the server starts again.

        Raises:
            StorageError: it cannot be reached.
        """
        for line in self._get("/metrics").text.splitlines():
            if line.startswith("vm_app_start_timestamp "):
                return line.split()[1]
        return ""

    def samples(
        self, slots: Sequence[int], metric: int, start: int, end: int, visible: Visibility
    ) -> Samples:
        """See `RemoteStore.samples`."""
        first, last = milliseconds(start, end)
        parts: list[Samples] = []
        if first <= last:
            for group in groups(slots):
                selector = self._selector("v", group, metric)
                parts += self._export(selector, first, last, visible)
        return Samples.concatenate([no_samples(), *parts])

    def _export(
        self, selector: str, first: int, last: int, visible: Visibility
    ) -> Iterator[Samples]:
        """Read whole series by the export API; the times are in ms, both inclusive."""
        asked = {"match[]": selector, "start": _seconds(first), "end": _seconds(last)}
        for line in self._post("/api/v1/export", asked).iter_lines():
            series = _decoded(line)
            labels = series["metric"]
            if shown(labels, visible):
                yield as_samples(series["timestamps"], series["values"], labels, visible)

    def _lookback(self, window: Window) -> tuple[int, int]:
        """Return the last ms of a window, and how many ms back from it, inclusive, it begins."""
        at, start = self._now_s() * 1_000, EARLIEST_NS // MS - _DAY_S * 1_000
        if window.end is not None:
            at = min(at, window.end // MS - 1)
        if window.start is not None:
            start = max(start, -(-window.start // MS))
        return at, at - start + 1

    def _by_series(self, query: str, at_ms: int) -> dict[frozenset[tuple[str, str]], str]:
        rows = self._instant(query, at_ms)
        return {
            frozenset((k, v) for k, v in row["metric"].items() if k != "__name__"): row["value"][1]
            for row in rows
        }

    def _instant(self, query: str, at_ms: int | None = None) -> list[dict[str, Any]]:
        time = str(self._now_s()) if at_ms is None else _seconds(at_ms)
        asked = {"query": query, "time": time, "nocache": "1"}
        return list(self._ask("/api/v1/query", asked)["data"]["result"])

    def _now_s(self) -> int:
        return self._clock() // 1_000_000_000 + _AHEAD_S

    def _all_time(self) -> int:
        """Seconds back to shortly before the earliest row; reaching 1970, the server finds nothing."""
        return self._now_s() - EARLIEST_NS // 1_000_000_000 + _DAY_S

    def _selector(self, field: str, slots: Sequence[int] | None, metric: int | None = None) -> str:
        labels = []
        if slots is not None:
            labels.append('s=~"' + "|".join(str(slot) for slot in slots) + '"')
        if metric is not None:
            labels.append(f'm="{metric}"')
        return f"{self._address.measurement}_{field}{{{','.join(labels)}}}"

    def _ask(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        answer = _decoded(self._post(path, asked).text)
        if answer.get("status") != "success":
            raise StorageError(
                f"VictoriaMetrics refused a query: {answer.get('error', 'unknown')}."
            )
        return answer

    def _post(self, path: str, asked: Mapping[str, str]) -> httpx.Response:
        return self._checked(lambda: self._client.post(path, data=dict(asked)))

    def _get(self, path: str) -> httpx.Response:
        return self._checked(lambda: self._client.get(path))

    def _checked(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            response = send()
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise StorageError(
                f"VictoriaMetrics at {self._address.url} answered with status "
                f"{error.response.status_code}. Its log says why."
            ) from error
        except httpx.HTTPError as error:
            raise StorageError(
                f"VictoriaMetrics at {self._address.url} does not answer "
                f"({type(error).__name__}). Start it, or correct the setting store.url."
            ) from error
        return response


def _seconds(ms: int) -> str:
    return f"{ms // 1_000}.{ms % 1_000:03d}"


def _decoded(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise StorageError("VictoriaMetrics gave an answer that is no JSON.") from error
    if not isinstance(answer, dict):
        raise StorageError("VictoriaMetrics gave an answer that is no object.")
    return answer
