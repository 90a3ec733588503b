"""Every metric the hub exposes, defined in one place and shared between processes without tricks.

1. One `Metrics` object per process, made by the composition root and handed down; there is no
   global registry.
2. A process other than the API publishes its text to `run/metrics/{process}.prom` (atomic rename,
   mode 0600); the API merges those files with its own and adds the label `process`.
3. Label values come from closed sets (verdicts, codes, operation ids): never device ids, e-mails
   or paths.
4. Hot stages add once per batch, never once per row.
5. A process exposes what it measures and nothing else: a metric of another role takes what it is given in
   silence, so that no scrape holds a zero that nobody measured.
Must never live here: the clock, and anything that decides.
"""

import os
from collections.abc import Iterable
from functools import partial
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
_STAGES_S = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.5)
_HTTP_S = (1e-3, 2.5e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
_PUSH_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_STEPS_S = (1e-3, 5e-3, 25e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_BATCHES = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384)


class Metrics:
    """The metrics of one process.

    Args:
        process: name of the process, for instance `ingest-0` or `control`.
    """

    def __init__(self, process: str) -> None:
        self.process = process
        self._role = process.partition("-")[0]
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="homeport", registry=self.registry)
        self._define_pipeline()
        self._define_outcomes()
        self._define_usage()
        self._define_operation()
        self._define_api()

    def _counter(self, of: str, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, namespace="homeport", registry=self._where(of))

    def _gauge(self, of: str, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, namespace="homeport", registry=self._where(of))

    def _histogram(
        self, of: str, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, meaning, labels, namespace="homeport", buckets=buckets, registry=self._where(of)
        )

    def _where(self, roles: str) -> CollectorRegistry | None:
        return self.registry if self._role in roles.split() else None

    def _define_pipeline(self) -> None:
        counter, gauge = partial(self._counter, "ingest"), partial(self._gauge, "ingest")
        self.stage_seconds = self._histogram(
            "ingest", "stage_seconds", "Time one micro-batch spent in a stage.", _STAGES_S, "stage"
        )
        self.batch_frames = self._histogram(
            "ingest", "batch_frames", "Frames of a micro-batch.", _BATCHES
        )
        self.received_frames = counter("received_frames", "Frames read from the broker.")
        self.received_bytes = counter(
            "received_bytes", "Payload bytes of the frames read from the broker."
        )
        self.lag = gauge("ingest_lag_seconds", "How far the worker is behind the broker.")
        self.shedding = gauge(
            "ingest_shedding",
            "1 while products are told to wait because the worker cannot take all.",
        )
        self.gated_frames = counter("gated_frames", "Frames by verdict.", "verdict")
        self.throttled_frames = counter(
            "throttled_frames", "Frames whose devices were told to wait, by reason.", "reason"
        )
        self.rejected_rows = counter("rejected_rows", "Rows that will never be accepted.", "code")
        self.quarantined_rows = counter(
            "quarantined_rows", "Rows journalled that are not shown for now, by reason.", "reason"
        )
        self.duplicate_rows = counter("duplicate_rows", "Rows received again and stored once.")
        self.unverified_rows = counter(
            "unverified_rows",
            "Those of them that are stored for so long that their content was not compared.",
        )
        self.beyond_rows = counter(
            "beyond_rows",
            "Rows not taken because their device holds too many streams, gaps or rows without receipt.",
        )
        self.ingest_paused = gauge(
            "ingest_paused", "1 while nothing is taken because the disk is full."
        )
        self.journalled_rows = counter("journalled_rows", "Rows journalled and synced.")
        self.journalled_samples = counter("journalled_samples", "Samples journalled and synced.")
        self.journal_offset = gauge("journal_offset_bytes", "End of the synced journal.")
        self.checkpoint_offset = gauge(
            "checkpoint_offset_bytes", "Journal offset from which a restart reads again."
        )
        self.receipts = counter("receipts", "Receipts sent to devices.")
        self.dead_letters = counter("dead_letters", "Messages kept as evidence of a rejection.")
        self.findings = self._counter("ingest", "findings", "Findings of the detector.", "kind")
        self.detector_series = gauge("detector_series", "Series the detector keeps.")
        self.gate_version = gauge("gate_version", "Version of the gate snapshot in force.")
        self.dropped_frames = self._counter(
            "ingest control", "dropped_frames", "Frames dropped before they took effect.", "reason"
        )

    def _define_outcomes(self) -> None:
        counter, gauge = partial(self._counter, "control"), partial(self._gauge, "control")
        self.alerts = counter("alerts", "Changes of alerts, by kind.", "kind", "change")
        self.push_seconds = self._histogram(
            "control",
            "push_seconds",
            "From the end of the turn that received the samples until their findings were in the database and "
            "notices handed to the broker.",
            _PUSH_S,
        )
        self.webhook_deliveries = counter(
            "webhook_deliveries",
            "Tries to tell receivers of events, by what came of them.",
            "outcome",
        )
        self.webhook_oldest = gauge(
            "webhook_oldest_seconds", "Age of the oldest event that a receiver still waits for."
        )
        self.payments_unanswered = gauge(
            "payments_unanswered_seconds",
            "Age of the oldest payment that the provider was asked for without an answer.",
        )
        self.disputes = gauge("payment_disputes", "Payments that banks took back, not decided yet.")
        self.pushes = counter("pushes", "Messages pushed to devices.", "channel", "result")
        self.devices = gauge("devices", "Devices that are enrolled, by presence.", "presence")
        self.log_lag = gauge(
            "log_lag_bytes", "Bytes of a worker's log that are not in the database yet.", "log"
        )
        self.stored_offset = gauge(
            "stored_offset_bytes", "Journal offset that the Parquet files cover.", "journal"
        )
        self.store_files = gauge("store_files", "Parquet files in use.")
        self.disk_bytes = gauge("disk_bytes", "Bytes that a part of the hub takes.", "part")
        self.disk_free = gauge("disk_free_bytes", "Bytes free for the hub's data folder.")
        self.disk_size = gauge("disk_size_bytes", "Size of the disk of the hub's data folder.")

    def _define_usage(self) -> None:
        counter, gauge = partial(self._counter, "meter"), partial(self._gauge, "meter")
        self.meter_rows = counter("meter_rows", "Rows that the meter took from the journals.")
        self.meter_lag = gauge(
            "meter_lag_bytes", "Bytes of a synced journal that the meter has not taken.", "journal"
        )
        self.meter_accounts = gauge("meter_accounts", "Accounts that the meter keeps.")
        self.meter_terms_time = gauge(
            "meter_terms_timestamp_seconds",
            "When the terms by which is counted were taken up, s since 1970 UTC; 0 for not yet.",
        )
        self.meter_recounts = counter(
            "meter_recounts", "Accounts counted anew from the archive, for what came late."
        )
        self.meter_recounts_waiting = gauge(
            "meter_recounts_waiting", "Accounts that wait to be counted anew from the archive."
        )
        self.meter_step_seconds = self._histogram(
            "meter",
            "meter_step_seconds",
            "Time of a step of the meter that took anything.",
            _STEPS_S,
        )
        counter = partial(self._counter, "control")
        self.usage_shares = counter(
            "usage_shares", "Shares of quotas that products reached, or left again.", "change"
        )
        self.limit_seconds = self._histogram(
            "control",
            "limit_seconds",
            "From the receipt of the row that reached a mark of a quota until what follows was in the database and "
            "notices handed to the broker.",
            _PUSH_S,
        )
        self.statements = counter("statements", "Statements of usage made, revisions included.")

    def _define_operation(self) -> None:
        counter, gauge = partial(self._counter, "supervisor"), partial(self._gauge, "supervisor")
        self.process_restarts = counter(
            "process_restarts", "Processes restarted by the supervisor.", "role"
        )
        self.process_up = gauge("process_up", "1 while a process does its job.", "role")
        self.process_memory = gauge(
            "role_resident_memory_bytes",
            "Resident memory of a process and what it started.",
            "role",
        )
        self.process_cpu = gauge(
            "role_cpu_seconds", "CPU time of the present process and what it started.", "role"
        )
        self.backups = self._counter(
            "backup", "backups", "Backups tried by the schedule.", "result"
        )
        for result in ("good", "failed"):
            self.backups.labels(result=result)
        self.backup_time = self._gauge(
            "control",
            "backup_last_success_timestamp_seconds",
            "When the newest good backup by the schedule was taken, s since 1970 UTC; 0 for never.",
        )
        self.backup_bytes = self._gauge(
            "control", "backup_last_size_bytes", "Size of the newest good backup."
        )
        self.backup_seconds = self._gauge(
            "control", "backup_last_duration_seconds", "How long the newest good backup took."
        )

    def _define_api(self) -> None:
        counter = partial(self._counter, "control")
        self.http_requests = counter(
            "http_requests", "Requests answered, by operation.", "operation", "status"
        )
        self.http_seconds = self._histogram(
            "control",
            "http_request_seconds",
            "Time until the answer began, by operation.",
            _HTTP_S,
            "operation",
        )
        self.live_listeners = self._gauge(
            "control", "live_listeners", "Open streams of live events."
        )
        self.sign_ins = counter("sign_ins", "Attempts to sign in.", "result")
        self.enrolments = counter("enrolments", "Enrolments and renewals.", "result")
        for result in ("ok", "refused"):
            self.sign_ins.labels(result)
            self.enrolments.labels(result)

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
        # Of this object alone: a worker and the one that took its place may publish at the same time.
        part = folder / f".{self.process}-{os.getpid()}-{id(self):x}.part"
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


def merged(own: Metrics, folder: Path | None) -> Collector:
    """Return the metrics of all processes, one family per metric and the label `process` on every sample.

    Args:
        own: the metrics of the calling process.
        folder: where the other processes publish theirs; `None` or a missing folder adds nothing.
    """
    texts = {own.process: own.text().decode()}
    for path in sorted(folder.glob("*.prom")) if folder is not None else ():
        if path.stem != own.process:
            texts[path.stem] = path.read_text(encoding="utf-8")
    return _Merged(texts.items())


def merged_text(own: Metrics, folder: Path | None) -> bytes:
    """Return what `merged` returns in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(merged(own, folder))
    return generate_latest(registry)
