import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = "import typer; from firmware_sim.replay import command; typer.run(command)"
pytestmark = pytest.mark.hub


def test_every_row_is_stored_exactly_once_with_repeats_and_a_step_backwards(tmp_path: Path) -> None:
    """Two days at five minutes, one hour told twice, one line repeated to the letter."""
    lines = ["timestamp,value"]
    for number in range(576):
        hours, minutes = divmod(number * 5, 60)
        lines.append(
            f"2024-02-{1 + hours // 24:02} {hours % 24:02}:{minutes:02}:00,{number % 97}.5"
        )
    lines[400] = lines[400].split(",")[0] + ",499.5"  # far above the model's limit
    lines[301:301] = lines[289:301]  # a step backwards: twelve instants come again
    lines.insert(500, lines[499])
    file = tmp_path / "machine.csv"
    file.write_text("\n".join(lines) + "\n")
    data = tmp_path / "hub"
    options = ["--model", "heat-pump", "--metric", "temp_c", "--data", str(data)]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(file), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every row is stored exactly once" in done.stdout
    cells = [line.replace("│", "|").split("|") for line in done.stdout.splitlines()]
    counts = {row[1].strip(): row[2].strip() for row in cells if len(row) == 4}
    assert counts["in the file"] == counts["stored"] == "589"
    assert counts["missing"] == "0"
    assert counts["of these not later than a row before"] == "13"
    assert counts["of these earlier than the row before"] == "1"
    assert "out_of_limits" in done.stdout
    assert not (data / "run" / "hub.json").exists()  # the hub it started has ended
