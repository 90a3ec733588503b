"""Metrics and spans to a collector of OpenTelemetry, by OTLP over HTTP with protobuf.

1. Only this module knows the packages of OpenTelemetry (`pip install homeport[otel]`), and it is loaded only where an
   operator named a collector.
2. Spans wait in a queue of fixed length, which a thread of the library empties; in a full one the oldest is dropped.
3. A collector that does not answer is told of once a minute.
4. Metrics are what `/metrics` says, under the same names and labels, so one dashboard serves both ways.
Must never live here: which spans there are.
"""

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import export as model
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from hub.ports.collector.port import Span

QUEUE: Final = 2_048
"""Spans that wait at most."""
_BATCH: Final = 512
_EVERY_MS: Final = 2_000
_TIMEOUT_S: Final = 5.0
_END_S: Final = 1.5
_GRUMBLE_S: Final = 60.0
_SCOPE: Final = InstrumentationScope("homeport")
_CUMULATIVE: Final = model.AggregationTemporality.CUMULATIVE

_log = logging.getLogger("homeport.otlp")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a collector listens.

    Args:
        url: its base address, such as `http://127.0.0.1:4318`.
        headers: sent with each request; may hold secrets.
        ca_file: PEM file of the authorities to trust instead of the system's.
    """

    url: str
    headers: Mapping[str, str]
    ca_file: Path | None = None


class OtlpCollector:
    """Sends to one collector. Spans may come from any thread, metrics from one.

    Args:
        endpoint: where it listens.
        identity: who sends: attributes of the resource, such as `service.name`.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        identity: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # It tells of each failure, and of each try; rule 3 says it better.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        trust = None if endpoint.ca_file is None else str(endpoint.ca_file)
        base, headers = endpoint.url.rstrip("/"), dict(endpoint.headers)
        self._resource = Resource.create(dict(identity))
        self._outcome = _Outcome(base, clock)
        self._spans = OTLPSpanExporter(
            f"{base}/v1/traces",
            trust,
            headers=headers,
            timeout=_TIMEOUT_S,
            compression=Compression.Gzip,
        )
        self._points = OTLPMetricExporter(
            f"{base}/v1/metrics",
            trust,
            headers=headers,
            timeout=_TIMEOUT_S,
            compression=Compression.Gzip,
        )
        self._queue = BatchSpanProcessor(
            _Told(self._spans, self._outcome), QUEUE, _EVERY_MS, _BATCH
        )

    def span(self, span: Span) -> None:
        """See `Collector.span`."""
        self._queue.on_end(
            ReadableSpan(
                span.name,
                _context(span.trace, span.id),
                parent=_context(span.trace, span.parent) if span.parent else None,
                resource=self._resource,
                attributes=dict(span.facts),
                start_time=span.start,
                end_time=span.end,
                instrumentation_scope=_SCOPE,
            )
        )

    def metrics(self, families: Iterable[Metric], at: int) -> None:
        """See `Collector.metrics`."""
        found = [*families]
        began = _starts(found)
        points = [
            model.Metric(family.name, family.documentation, "", data)
            for family in found
            if (data := _data(family, began, at)) is not None
        ]
        scope = model.ScopeMetrics(_SCOPE, points, "")
        resource = model.ResourceMetrics(self._resource, [scope], "")
        result = self._points.export(model.MetricsData([resource]))
        self._outcome.of("metrics", good=result is model.MetricExportResult.SUCCESS)

    def close(self) -> None:
        """See `Collector.close`."""
        ending = threading.Thread(target=self._queue.shutdown, daemon=True)
        ending.start()
        ending.join(_END_S)
        for exporter in (self._spans, self._points):
            exporter.shutdown()  # a try that goes on is given up


class _Outcome:
    """Says once a minute that requests fail; two threads tell it."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._said = -math.inf

    def of(self, signal: str, *, good: bool) -> None:
        if good:
            return
        with self._lock:
            self._failed += 1
            if self._clock() - self._said < _GRUMBLE_S:
                return
            self._said, failed, self._failed = self._clock(), self._failed, 0
        _log.warning(
            "the collector at %s does not take %s; they are dropped. See the setting otlp.endpoint.",
            self._url,
            signal,
            extra={"failed_requests": failed},
        )


class _Told(SpanExporter):
    """An exporter whose outcomes are told."""

    def __init__(self, exporter: SpanExporter, outcome: _Outcome) -> None:
        self._exporter = exporter
        self._outcome = outcome

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._outcome.of("spans", good=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _context(trace: str, span: str) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=sampled)


def _starts(families: Iterable[Metric]) -> dict[str, int]:
    """Return when each process began to count, ns: its counters began at zero then."""
    return {
        sample.labels["process"]: round(sample.value * 1e9)
        for family in families
        if family.name == "homeport_process_start_time_seconds"
        for sample in family.samples
    }


def _data(
    family: Metric, began: Mapping[str, int], at: int
) -> model.Sum | model.Gauge | model.Histogram | None:
    """Return the points of a family; None for a kind that the hub does not have."""

    def point(sample: Sample) -> model.NumberDataPoint:
        start = began.get(sample.labels.get("process", ""), at)
        return model.NumberDataPoint(sample.labels, start, at, sample.value)

    if family.type == "counter":
        return model.Sum([point(one) for one in family.samples], _CUMULATIVE, is_monotonic=True)
    if family.type == "gauge":
        return model.Gauge([point(one) for one in family.samples])
    if family.type == "histogram":
        return model.Histogram(_histograms(family, began, at), _CUMULATIVE)
    return None


def _histograms(
    family: Metric, began: Mapping[str, int], at: int
) -> list[model.HistogramDataPoint]:
    """Put the samples of each histogram of a family together again."""
    found: dict[tuple[tuple[str, str], ...], dict[float | str, float]] = defaultdict(dict)
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        key = sample.name.rpartition("_")[2] if bound is None else float(bound)
        found[tuple(sorted(labels.items()))][key] = sample.value
    points = []
    for labels_of, parts in found.items():
        bounds = sorted(key for key in parts if isinstance(key, float))
        below = [0.0, *(parts[bound] for bound in bounds)]
        counts = [round(after - before) for before, after in pairwise(below)]
        attributes = dict(labels_of)
        points.append(
            model.HistogramDataPoint(
                attributes,
                began.get(attributes.get("process", ""), at),
                at,
                round(parts["count"]),
                parts["sum"],
                counts,
                bounds[:-1],  # the last one is everything
                None,  # type: ignore[arg-type]  # not known: left out of the message
                None,  # type: ignore[arg-type]  # likewise
            )
        )
    return points
