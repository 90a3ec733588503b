"""What reaches a collector by OTLP, and what a collector that fails keeps the hub from: nothing."""

import logging
import socket
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest

from hub.config import ConfigurationError, Settings
from hub.metrics import Metrics, merged
from hub.ports.collector.otlp import QUEUE, Endpoint, OtlpCollector
from hub.ports.collector.port import Span
from hub.wiring import compose
from tests.hub.collector.otlp_receiver import Receiver, attributes, receiving

AT = 1_790_000_000_000_000_000
WHO = {"service.name": "homeport"}
TRACE, ONE, TWO = "0123456789abcdef0123456789abcdef", "1111111111111111", "2222222222222222"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_spans_arrive_under_the_names_of_their_rows(receiver: Receiver) -> None:
    collector = OtlpCollector(Endpoint(receiver.url, {"authorization": "Bearer x"}), WHO)
    collector.span(Span("ingest", TRACE, ONE, "", AT, AT + 9, {"homeport.seq": 7}))
    collector.span(Span("ingest decode", TRACE, TWO, ONE, AT + 1, AT + 2))
    collector.close()
    whole, part = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    assert (whole.name, part.name) == ("ingest", "ingest decode")
    assert {span.trace_id.hex() for span in (whole, part)} == {TRACE}
    assert (whole.span_id.hex(), whole.parent_span_id.hex()) == (ONE, "")
    assert (part.span_id.hex(), part.parent_span_id.hex()) == (TWO, ONE)
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (AT, AT + 9)
    assert attributes(whole.attributes) == {"homeport.seq": 7}
    assert receiver.headers["authorization"] == "Bearer x"
    assert receiver.resource["service.name"] == "homeport"


def test_metrics_arrive_as_a_scrape_shows_them(receiver: Receiver, tmp_path: Path) -> None:
    control, worker = Metrics("control"), Metrics("ingest-0")
    worker.receipts.inc(3)
    for seconds in (0.0002, 0.003, 0.004, 9.0):
        worker.stage_seconds.labels("journal").observe(seconds)
    worker.publish(tmp_path)
    control.devices.labels("online").set(12)
    collector = OtlpCollector(Endpoint(receiver.url, {}), WHO)
    collector.metrics(merged(control, tmp_path).collect(), AT)
    collector.close()
    found = receiver.metrics
    (point,) = found["homeport_receipts"].sum.data_points
    assert found["homeport_receipts"].sum.is_monotonic
    assert (point.as_double, point.time_unix_nano) == (3.0, AT)
    assert attributes(point.attributes) == {"process": "ingest-0"}
    families = control.registry.collect()  # of this very process, as are both
    began = next(f for f in families if f.name == "homeport_process_start_time_seconds")
    assert point.start_time_unix_nano == round(began.samples[0].value * 1e9)
    (point,) = found["homeport_devices"].gauge.data_points
    assert attributes(point.attributes) == {"process": "control", "presence": "online"}
    assert point.as_double == 12.0
    (point,) = found["homeport_stage_seconds"].histogram.data_points
    assert attributes(point.attributes) == {"process": "ingest-0", "stage": "journal"}
    assert (point.count, sum(point.bucket_counts)) == (4, 4)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    below = dict(zip(point.explicit_bounds, accumulate(point.bucket_counts), strict=False))
    assert (below[100e-6], below[250e-6], below[5e-3], below[0.5]) == (0, 1, 3, 3)
    assert not point.HasField("min")


def test_a_collector_that_is_not_there_costs_a_warning_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    now = [0.0]
    collector = OtlpCollector(Endpoint(url, {}), WHO, lambda: now[0])
    collector._points._client._timeout = 0.05
    collector._spans._client._timeout = 0.05
    with caplog.at_level(logging.INFO):
        for number in range(3 * QUEUE):
            collector.span(Span("ingest", TRACE, f"{number + 1:016x}", "", AT, AT + 1))
        assert len(collector._queue._batch_processor._queue) <= QUEUE
        for _ in range(3):
            collector.metrics([], AT)
        now[0] = 61.0
        collector.metrics([], AT)
        collector.close()
    said = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.name for one in said] == ["homeport.otlp"] * 2
    assert f"the collector at {url} does not take" in said[0].getMessage()


def test_a_collector_that_refuses_is_told_of_and_asked_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 401
    collector = OtlpCollector(Endpoint(receiver.url, {"authorization": "Bearer secret"}), WHO)
    collector.metrics([], AT)
    assert receiver.requests == 1
    receiver.status = 200
    collector.metrics(merged(Metrics("control"), None).collect(), AT)
    collector.close()
    assert "homeport_live_listeners" in receiver.metrics
    (said,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "secret" not in said.getMessage()


def test_a_hub_without_the_packages_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Settings(data_dir=tmp_path)
    assert compose.collector(quiet, "control") is None
    monkeypatch.delitem(sys.modules, "hub.ports.collector.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    compose.refuse_collector_without_packages(quiet)
    loud = Settings.model_validate({"otlp": {"endpoint": "http://127.0.0.1:1"}})
    with pytest.raises(ConfigurationError, match=r"pip install 'homeport\[otel\]'"):
        compose.refuse_collector_without_packages(loud)


@pytest.mark.parametrize(
    "otlp", [{"endpoint": "127.0.0.1:4318"}, {"headers": "secret"}, {"headers": "a=b,secret"}]
)
def test_settings_that_cannot_be_are_refused_without_their_secrets(otlp: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs"):
        Settings.model_validate({"otlp": otlp})
