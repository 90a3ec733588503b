"""Every metric the hub exposes, defined in one place and shared between processes without tricks.

1. One `Metrics` object per process, made by the composition root and handed down; there is no
   global registry.
2. A process other than the API publishes its text to `run/metrics/{process}.prom` (atomic rename,
   mode 0600); the API merges those files with its own and adds the label `process`.
3. Label values come from closed sets (verdicts, codes, operation ids): never device ids, e-mails
   or paths.
4. Hot stages add once per batch, never once per row.
Must never live here: the clock, and anything that decides.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. A group commit is milliseconds, a kernel call microseconds, an export minutes.
_STAGE_BUCKETS = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.5)
_HTTP_BUCKETS = (1e-3, 2.5e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The metrics of one process.

    Args:
        process: name of the process, for instance `ingest-0` or `control`.
    """

    def __init__(self, process: str) -> None:
        self.process = process
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="homeport", registry=self.registry)
        self._define_pipeline()
        self._define_outcomes()
        self._define_api()

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, namespace="homeport", registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, namespace="homeport", registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, meaning, labels, namespace="homeport", buckets=buckets, registry=self.registry
        )

    def _define_pipeline(self) -> None:
        self.stage_seconds = self._histogram(
            "stage_seconds", "Time one micro-batch spent in a stage.", _STAGE_BUCKETS, "stage"
        )
        self.received_frames = self._counter("received_frames", "Frames read from the broker.")
        self.received_bytes = self._counter(
            "received_bytes", "Payload bytes of the frames read from the broker."
        )
        self.dropped_frames = self._counter(
            "dropped_frames", "Frames dropped before decoding.", "reason"
        )
        self.gated_frames = self._counter("gated_frames", "Frames by verdict.", "verdict")
        self.throttled_frames = self._counter(
            "throttled_frames", "Frames whose devices were told to wait, by reason.", "reason"
        )
        self.decoded_rows = self._counter("decoded_rows", "Rows decoded, by encoding.", "source")
        self.rejected_rows = self._counter(
            "rejected_rows", "Rows that will never be accepted.", "code"
        )
        self.duplicate_rows = self._counter(
            "duplicate_rows", "Rows received again and stored once."
        )
        self.unverified_rows = self._counter(
            "unverified_rows",
            "Those of them that are stored for so long that their content was not compared.",
        )
        self.beyond_rows = self._counter(
            "beyond_rows",
            "Rows not taken because their device holds too many streams, gaps or rows without receipt.",
        )
        self.ingest_paused = self._gauge(
            "ingest_paused", "1 while nothing is taken because the disk is full."
        )
        self.journalled_rows = self._counter("journalled_rows", "Rows journalled and synced.")
        self.journalled_samples = self._counter(
            "journalled_samples", "Samples journalled and synced."
        )
        self.journal_bytes = self._counter("journal_bytes", "Bytes appended to the journal.")
        self.journal_offset = self._gauge("journal_offset_bytes", "End of the synced journal.")
        self.receipts = self._counter("receipts", "Receipts sent to devices.")
        self.findings = self._counter("findings", "Findings of the detector.", "kind")
        self.detector_series = self._gauge("detector_series", "Series the detector keeps.")
        self.stored_offset = self._gauge(
            "stored_offset_bytes", "Journal offset that the time-series store covers."
        )
        self.gate_version = self._gauge("gate_version", "Version of the gate snapshot in force.")

    def _define_outcomes(self) -> None:
        self.dead_letters = self._counter("dead_letters", "Payloads kept as evidence.", "reason")
        self.alerts_opened = self._counter("alerts_opened", "Alerts opened.", "kind")
        self.pushes = self._counter("pushes", "Messages pushed to devices.", "channel", "result")
        self.devices_connected = self._gauge("devices_connected", "Devices with a live session.")
        self.compacted_segments = self._counter(
            "compacted_segments", "Journal segments turned into Parquet."
        )
        self.process_restarts = self._counter(
            "process_restarts", "Processes restarted by the supervisor.", "role"
        )

        self.backups = self._counter("backups", "Backups tried by the schedule.", "result")
        self.backup_time = self._gauge(
            "backup_last_success_timestamp_seconds",
            "When the newest good backup was taken, s since 1970 UTC; 0 for never.",
        )
        self.backup_bytes = self._gauge("backup_last_size_bytes", "Size of the newest good backup.")
        self.backup_seconds = self._gauge(
            "backup_last_duration_seconds", "How long the newest good backup took."
        )

    def _define_api(self) -> None:
        self.http_requests = self._counter(
            "http_requests", "Requests answered, by operation.", "operation", "status"
        )
        self.http_seconds = self._histogram(
            "http_request_seconds",
            "Time until the answer began, by operation.",
            _HTTP_BUCKETS,
            "operation",
        )
        self.live_listeners = self._gauge("live_listeners", "Open streams of live events.")
        self.sign_ins = self._counter("sign_ins", "Attempts to sign in.", "result")
        self.enrolments = self._counter("enrolments", "Enrolments and renewals.", "result")

    def text(self) -> bytes:
        """Return this process's metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def publish(self, folder: Path) -> None:
        """Write this process's metrics where the API finds them.

        Args:
            folder: `run/metrics` of the data folder; made with mode 0700 if missing.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = folder / f"{self.process}.prom"
        part = folder / f".{self.process}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.text())
        part.replace(target)


class _Merged(Collector):
    """All processes' families, each sample labelled with its process.

    Args:
        texts: pairs of process name and its text.
    """

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        self._texts = tuple(texts)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for process, text in self._texts:
            for family in text_string_to_metric_families(text):
                if family.name.endswith("_created"):
                    continue  # a series per series that says only when the process began
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    labels = {**sample.labels, "process": process}
                    merged.samples.append(sample._replace(labels=labels))
        return families.values()


def merged_text(own: Metrics, folder: Path | None) -> bytes:
    """Return the metrics of all processes in the Prometheus text format.

    Args:
        own: the metrics of the calling process.
        folder: where the other processes publish theirs; `None` or a missing folder adds nothing.

    Returns:
        Text with one family per metric and the label `process` on every sample.
    """
    texts = {own.process: own.text().decode()}
    for path in sorted(folder.glob("*.prom")) if folder is not None else ():
        if path.stem != own.process:
            texts[path.stem] = path.read_text(encoding="utf-8")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(texts.items()))
    return generate_latest(registry)
