"""Backups that take themselves: when, what of failures, and what people are told."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.app.backup import take
from hub.app.backup.check import examine
from hub.app.backup.schedule import HOUR_NS, Schedule, Standing
from hub.app.backup.shelf import kept
from hub.app.gauges import Gauges
from hub.metrics import Metrics
from hub.wiring.doctor import backups
from hub.wiring.doctor.case import Case
from tests.hub.backup.hub_folder import NOW, HubFolder


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now

    def wait_hours(self, hours: float) -> None:
        self.now += int(hours * HOUR_NS)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[HubFolder]:
    made = HubFolder(tmp_path / "data")
    made.settings.run_dir.mkdir(mode=0o700)
    made.live(3)
    yield made
    made.close()


def schedule(folder: HubFolder, shelf: Path, clock: Clock, secret: bytes | None = None) -> Schedule:
    return Schedule(
        folder.source,
        shelf,
        24.0,
        3,
        passphrase=lambda: secret,
        clock=clock,
        metrics=Metrics("backup"),
    )


def test_one_is_taken_when_the_newest_is_old_and_as_many_stay_as_wanted(
    folder: HubFolder, tmp_path: Path
) -> None:
    shelf, clock = tmp_path / "shelf", Clock()
    shelf.mkdir()
    made = schedule(folder, shelf, clock, b"secret")
    taken = 0
    for _ in range(24 * 6):
        taken += made.step()
        clock.wait_hours(1.0)
    assert taken == 6
    assert len(kept(shelf)) == 3
    assert examine(kept(shelf)[-1].path, b"secret").blocks > 0
    assert made.standing.good_ns == kept(shelf)[-1].taken_ns
    assert Standing.read(folder.settings.run_dir) == made.standing

    again = schedule(folder, shelf, clock, b"secret")  # as after a restart
    assert again.standing.good_ns == made.standing.good_ns
    assert not schedule(folder, shelf, _at(made.standing.good_ns + HOUR_NS)).step()


def _at(now: int) -> Clock:
    clock = Clock()
    clock.now = now
    return clock


def test_a_folder_that_is_not_there_is_told_and_not_made(folder: HubFolder, tmp_path: Path) -> None:
    shelf, clock = tmp_path / "not-mounted", Clock()
    made = schedule(folder, shelf, clock)
    assert made.step()
    assert not shelf.exists()
    problem = made.standing.problem(clock.now, 24.0)
    assert problem is not None
    assert "There is no good backup" in problem
    assert "is not there" in problem
    assert not made.step()  # it pauses before it tries again
    shelf.mkdir()
    clock.wait_hours(1.0)
    assert made.step()
    assert made.standing.problem(clock.now, 24.0) is None
    assert len(kept(shelf)) == 1


def test_a_failure_deletes_nothing_and_is_told_when_the_last_good_one_is_old(
    folder: HubFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, clock = tmp_path / "shelf", Clock()
    shelf.mkdir()
    made = schedule(folder, shelf, clock)
    made.step()
    monkeypatch.setattr(take, "free_bytes", lambda _: 1_000)
    clock.wait_hours(25.0)
    assert made.step()
    assert "MB are free" in made.standing.error
    assert made.standing.problem(clock.now, 24.0) is None
    clock.wait_hours(25.0)
    problem = made.standing.problem(clock.now, 24.0)
    assert problem is not None
    assert problem.startswith("The last good backup is 50 hours old. The last try failed: A backup")
    assert [one.name for one in shelf.iterdir()] == [kept(shelf)[0].path.name]


def test_metrics_say_how_it_stands(folder: HubFolder, tmp_path: Path) -> None:
    shelf, clock = tmp_path / "shelf", Clock()
    shelf.mkdir()
    stop = threading.Event()
    control = Metrics("control")
    gauges = Gauges(folder.settings, folder.source.engine, control, lambda: 0)

    def newest(name: str) -> float | None:
        gauges.look()
        return control.registry.get_sample_value(f"homeport_backup_last_{name}")

    assert newest("success_timestamp_seconds") == 0  # never: that is a number too, for an alert
    made = schedule(folder, shelf, clock)
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    while not kept(shelf):
        stop.wait(0.01)
    stop.set()
    thread.join()
    text = (folder.settings.run_dir / "metrics" / "backup.prom").read_text()
    samples = {
        sample.labels["result"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "homeport_backups_total"
    }
    assert samples == {"good": 1, "failed": 0}
    assert newest("success_timestamp_seconds") == NOW / 1e9
    assert newest("size_bytes") == made.standing.size


def test_the_doctor_looks_at_the_folder(folder: HubFolder, tmp_path: Path) -> None:
    def lines(**backup: object) -> dict[str, tuple[str, str]]:
        settings = folder.settings.model_copy(
            update={"backup": folder.settings.backup.model_copy(update=backup)}
        )
        found = backups.check(Case(settings, {}, running=True, now_ns=NOW + HOUR_NS))
        return {line.check: (line.level.value, line.seen) for line in found}

    shelf = tmp_path / "shelf"
    assert lines()["backup"][0] == "warning"
    assert lines(folder=shelf)["backup"][0] == "problem"
    shelf.mkdir()
    schedule(folder, shelf, Clock()).step()
    seen = lines(folder=shelf, passphrase_file=tmp_path / "secret")
    assert seen["backup"][0] == "ok"
    assert "the newest 1 hours old" in seen["backup"][1]
    assert "backup disk" in seen
    assert "backup secrecy" not in seen
    assert "backup secrecy" in lines(folder=shelf)
