import subprocess
import sys
from pathlib import Path

import pytest

from firmware_sim import local_hub
from firmware_sim.local_hub import LocalHub, LocalHubError

COMMAND = "import typer; from firmware_sim.replay import command; typer.run(command)"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_broken_line_7000_ends_with_2_and_starts_nothing(tmp_path: Path) -> None:
    lines = [f"2026-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},{n}" for n in range(7_100)]
    lines[6_998] = "2026-01-01 01:56:38,warm"
    file = tmp_path / "broken.csv"
    file.write_text("timestamp,value\n" + "\n".join(lines))
    data = tmp_path / "hub"
    arguments = ["--model", "heat-pump", "--metric", "temp_c", "--data", str(data)]
    done = run(str(file), *arguments)
    assert done.returncode == 2
    assert "broken.csv, line 7000: '2026-01-01 01:56:38,warm'" in done.stderr
    assert "Expected a finite number" in done.stderr
    assert not data.exists()


@pytest.mark.parametrize(
    ("model", "metric", "expected"),
    [
        ("toaster", "temp_c", "Known models: heat-pump"),
        ("heat-pump", "colour", "Its metrics: temp_c, flow_temp_c"),
    ],
)
def test_an_unknown_model_or_metric_ends_with_2(
    tmp_path: Path, model: str, metric: str, expected: str
) -> None:
    done = run(str(tmp_path / "any.csv"), "--model", model, "--metric", metric)
    assert done.returncode == 2
    assert expected in done.stderr


def test_no_hub_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LocalHubError, match="No hub runs"):
        local_hub.find(tmp_path)


def test_a_hub_that_cannot_start_says_why(tmp_path: Path) -> None:
    hub = LocalHub(tmp_path / "hub", {"API__PORT": "99999"})
    with pytest.raises(LocalHubError, match=r"api\.port"):
        hub.start()
    hub.stop()


def test_settings_of_another_hub_in_the_environment_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_API__PORT", "99999")
    hub = LocalHub(tmp_path / "hub", {"NO_SUCH_SETTING": "1"})
    with pytest.raises(LocalHubError, match="NO_SUCH_SETTING"):
        hub.start()
