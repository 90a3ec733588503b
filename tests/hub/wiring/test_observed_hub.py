"""A real hub, observed: what it exposes, and what it says of itself when a part fails."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT, RunningHub, hub_environment, reach, start_hub, stop_hub
from tests.hub.collector.otlp_receiver import Receiver, attributes, receiving

OPERATIONS = ROOT / "docs" / "operations"
PATIENCE_S = 120.0

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, collector: Receiver) -> Iterator[RunningHub]:
    """A hub of our own, as its processes are hurt; it takes backups of itself and tells a collector how it is."""
    folder = tmp_path_factory.mktemp("observed")
    (folder / "backups").mkdir()
    environment = hub_environment(
        folder / "data",
        BACKUP__FOLDER=str(folder / "backups"),
        OTLP__ENDPOINT=collector.url,
        OTLP__METRICS_EVERY_S="1",
    )
    process = start_hub(folder / "data", environment)
    running = reach(folder / "data", process)
    try:
        yield running
    finally:
        running.client.close()
        assert stop_hub(process) == 0


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def samples(hub: RunningHub) -> dict[tuple[str, str], float]:
    """Value of each sample by name and its own label (role, part, stage), of the newest scrape."""
    found = {}
    for family in text_string_to_metric_families(hub.client.get("/metrics").text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k not in {"process", "le"}}
            found[sample.name, ",".join(labels.values())] = sample.value
    return found


def exposed(hub: RunningHub) -> set[str]:
    """Every name that has samples, also of what has not happened yet."""
    names = set()
    for family in text_string_to_metric_families(hub.client.get("/metrics").text):
        assert family.documentation, family.name
        names |= {sample.name for sample in family.samples}
    return names


def queried(file: Path) -> set[str]:
    text = file.read_text()
    if file.suffix == ".json":
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for p in panels for target in p.get("targets", ()))
    else:
        text = "\n".join(line for line in text.splitlines() if "homeport_" in line)
    return set(re.findall(r"homeport_[a-z_]+", text))


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "alert-rules.yaml"])
def test_every_metric_that_is_queried_is_exposed(observed: RunningHub, file: str) -> None:
    wanted = queried(OPERATIONS / file)
    assert len(wanted) > 10
    eventually(lambda: wanted <= exposed(observed))  # each process publishes now and then


def test_a_collector_is_told_what_a_scrape_shows(observed: RunningHub, collector: Receiver) -> None:
    def processes() -> set[str]:
        family = collector.metrics.get("homeport_process_start_time_seconds")
        points = family.gauge.data_points if family else ()
        return {attributes(point.attributes)["process"] for point in points}

    expected = {"supervisor", "control", "ingest-0", "meter", "backup"}
    collector.wait_for(lambda: expected <= processes())
    assert collector.resource["service.name"] == "homeport"
    scraped = {name.removesuffix("_total") for name in exposed(observed)}
    told = set(collector.metrics)
    assert {name for name in scraped if not name.endswith(("_bucket", "_sum", "_count"))} <= told


def test_gauges_say_what_is_true(observed: RunningHub) -> None:
    eventually(lambda: ("homeport_disk_bytes", "database") in samples(observed))
    found = eventually(
        lambda: (s := samples(observed)) and s.get(("homeport_process_up", "ingest-0")) == 1 and s
    )
    for role in ("broker", "authd", "control", "ingest-0", "compactor", "backup"):
        assert found["homeport_process_up", role] == 1
        assert found["homeport_role_resident_memory_bytes", role] > 5e6
    # The broker's own server counts with the process that started it.
    assert found["homeport_role_resident_memory_bytes", "broker"] > 5e6
    assert found["homeport_disk_bytes", "database"] > 100_000
    assert 0 < found["homeport_disk_free_bytes", ""] <= found["homeport_disk_size_bytes", ""]
    taken = eventually(
        lambda: samples(observed).get(("homeport_backup_last_success_timestamp_seconds", ""))
    )
    assert abs(taken - time.time()) < 3_600


def readiness(hub: RunningHub) -> dict[str, Any]:
    answer = hub.client.get("/readyz")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["status"] == ("degraded" if body["problems"] else "ok")
    return body


def pid_of(hub: RunningHub, role: str) -> int:
    path = hub.data_dir / "run" / f"{role}.pid"
    return int(eventually(lambda: path.exists() and path.read_text().strip()))


@pytest.mark.parametrize("role", ["ingest-0", "broker"])
def test_a_part_that_fails_is_named_until_it_is_back(observed: RunningHub, role: str) -> None:
    eventually(lambda: not readiness(observed)["problems"])
    before = samples(observed).get(("homeport_process_restarts_total", role), 0.0)
    os.killpg(pid_of(observed, role), signal.SIGKILL)
    eventually(lambda: [p for p in readiness(observed)["problems"] if f" {role} " in p])
    assert observed.client.get("/healthz").json() == {"status": "ok"}
    eventually(lambda: not readiness(observed)["problems"])
    eventually(lambda: samples(observed)["homeport_process_restarts_total", role] == before + 1)


def test_a_worker_that_is_stopped_is_told(observed: RunningHub) -> None:
    pid = pid_of(observed, "ingest-0")
    os.killpg(pid, signal.SIGSTOP)
    try:
        problems = eventually(lambda: readiness(observed)["problems"])
        assert any("Worker 0 has not turned for" in one for one in problems)
    finally:
        os.killpg(pid, signal.SIGCONT)
    eventually(lambda: not readiness(observed)["problems"])
