import stat
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from hub.metrics import Metrics, merged_text


def test_processes_are_merged_under_one_family(tmp_path: Path) -> None:
    worker, control = Metrics("ingest-0"), Metrics("control")
    worker.dropped_frames.labels("malformed").inc(3)
    control.dropped_frames.labels("malformed").inc()
    control.findings.labels("spike").inc()  # not its own: neither an error nor exposed
    folder = tmp_path / "run" / "metrics"
    worker.publish(folder)
    families = list(text_string_to_metric_families(merged_text(control, folder).decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    found = {
        sample.labels["process"]: sample.value
        for family in families
        if family.name == "homeport_dropped_frames"
        for sample in family.samples
    }
    assert found == {"ingest-0": 3.0, "control": 1.0}
    assert 'homeport_findings_total{kind="spike"' not in merged_text(control, folder).decode()


def test_published_metrics_are_private_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    Metrics("ingest-0").publish(folder)
    (path,) = folder.iterdir()
    assert path.name == "ingest-0.prom"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_missing_folder_adds_nothing(tmp_path: Path) -> None:
    text = merged_text(Metrics("control"), tmp_path / "none").decode()
    assert 'process="control"' in text
