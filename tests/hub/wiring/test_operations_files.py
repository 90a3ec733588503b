"""The files that operators copy: what they name must be there, and mean what the hub means by it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from hub.config import PREFIX, Settings, load
from hub.wiring.cli import app
from tests.conftest import ROOT

OPERATIONS = ROOT / "docs" / "operations"
COMPOSE = (OPERATIONS / "compose.yaml").read_text()
IMAGE = (OPERATIONS / "Dockerfile").read_text()
UNIT = OPERATIONS / "homeport.service"
FILES = sorted(path for path in OPERATIONS.rglob("*") if path.is_file() and path.suffix != ".json")


def settings_of(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    """One that the hub does not know would end it at its start."""
    names = {name for name in settings_of(path.read_text()) if not name.endswith("_")}
    load(None, dict.fromkeys(names, ""))  # names are checked against what is given, values are not


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of `homeport` that a unit or an image runs, without the program's name."""
    for line in re.findall(r"^(?:Exec\w+=|CMD )(.+)$", text, re.MULTILINE):
        for command in re.findall(r"\bhomeport ([^&;\"\]]+)", line):
            yield command.split()


@pytest.mark.parametrize("text", [UNIT.read_text(), IMAGE], ids=["unit", "image"])
def test_every_command_is_one_of_the_hub(text: str) -> None:
    known = typer.main.get_command(app)
    assert isinstance(known, TyperGroup)
    found = list(commands(text))
    assert {words[0] for words in found} == {"upgrade", "serve"}
    for name, *arguments in found:
        options = {option for one in known.commands[name].params for option in one.opts}
        assert {word for word in arguments if word.startswith("--")} <= options


def test_the_container_publishes_what_the_hub_listens_on() -> None:
    chosen = Settings()
    ports = {str(chosen.api.port), str(chosen.mqtt.port)}
    assert set(re.findall(r'- "(\d+):\1"', COMPOSE)) == ports
    exposed = re.search(r"^EXPOSE (.+)$", IMAGE, re.MULTILINE)
    assert exposed is not None
    assert set(exposed[1].split()) == ports
    folders = set(re.findall(r"^ +- \w+:(/\w+)$", COMPOSE, re.MULTILINE))
    listed = re.search(r"^VOLUME \[(.+)\]$", IMAGE, re.MULTILINE)
    assert listed is not None
    assert folders == {part.strip(' "') for part in listed[1].split(",")}
    chosen = load(None, {}).model_copy(update={"data_dir": Path("/data")})
    assert str(chosen.pki_dir / "ca.pem") in COMPOSE
    assert "/healthz" in COMPOSE


def test_the_unit_gives_a_stop_the_time_that_it_takes() -> None:
    def seconds(text: str, pattern: str) -> int:
        found = re.search(pattern, text)
        assert found is not None
        return int(found[1])

    assert seconds(UNIT.read_text(), r"TimeoutStopSec=(\d+)") > 10
    assert seconds(COMPOSE, r"stop_grace_period: (\d+)s") > 10


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = shutil.which("true")
    assert program is not None
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/homeport/bin/homeport", program))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
    assert done.returncode == 0
