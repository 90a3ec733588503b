"""The command line without a running hub."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from hub.config import Settings
from hub.services.pki import CertificateAuthority
from hub.wiring import cli

ROOT = Path(__file__).parents[3]


def homeport(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
    return subprocess.run(
        [sys.executable, "-m", "hub", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_config_shows_the_effective_settings_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "homeport.toml").write_text('log_level = "debug"\n')
    url = "postgresql://hub:hunter2@db.example.org/hub"
    done = homeport(tmp_path, "config", HOMEPORT_MQTT__PORT="0", HOMEPORT_DATABASE__URL=url)
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert (shown["log_level"], shown["mqtt"]["port"]) == ("debug", 0)
    assert "hunter2" not in done.stdout


def test_a_wrong_setting_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    done = homeport(tmp_path, "serve", HOMEPORT_MQTT__PROT="0")
    assert done.returncode == 1
    assert done.stderr.startswith("The environment variable HOMEPORT_MQTT__PROT names no setting")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [("product", "add", "heat-pump", "HP-1"), ("revoke", "abcdefgh12345678", "--reason", "lost")],
)
def test_commands_that_change_something_need_a_running_hub(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = homeport(tmp_path, *arguments)
    assert done.returncode == 1
    assert "Start it with: homeport serve" in done.stderr
    assert not (tmp_path / "data").exists()


def left_behind(folder: Path, **facts: str) -> None:
    """A hub that was killed leaves its files."""
    run = folder / "data" / "run"
    run.mkdir(parents=True)
    token = run / "operator.token"
    token.write_text("token")
    token.chmod(0o600)
    authority = CertificateAuthority.load_or_create(folder / "data" / "pki", 1_900_000_000 * 10**9)
    (folder / "ca.pem").write_text(authority.trust_bundle_pem)
    card = {"operator_token_file": str(token), "ca_file": str(folder / "ca.pem"), **facts}
    (run / "hub.json").write_text(json.dumps(card))


def test_a_hub_that_was_killed_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as holder:  # bound but not listening: nobody answers there
        holder.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{holder.getsockname()[1]}"
        left_behind(tmp_path, api_url=address)
        done = homeport(tmp_path, "product", "add", "heat-pump", "HP-1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"The hub does not answer at {address}")
    assert "start it with: homeport serve" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"api_url": 1, "operator_token_file": "x"}'])
def test_files_of_a_hub_that_cannot_be_used_are_one_sentence(tmp_path: Path, card: str) -> None:
    left_behind(tmp_path)
    (tmp_path / "data" / "run" / "hub.json").write_text(card)
    done = homeport(tmp_path, "product", "add", "heat-pump", "HP-1")
    assert done.returncode == 1
    assert "hub.json says of the hub cannot be used" in done.stderr
    assert done.stderr.count("\n") == 1


def test_verifying_the_audit_makes_no_database(tmp_path: Path) -> None:
    done = homeport(tmp_path, "audit", "verify")
    assert done.returncode == 1
    assert "There is no hub in" in done.stderr
    assert not (tmp_path / "data").exists()


def test_without_the_hubs_parts_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError(name='pydantic')\n")
    done = homeport(tmp_path, "serve", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    assert 'pip install "homeport[hub]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_line_loads_none_of_what_takes_long_to_load() -> None:
    heavy = {"numba", "numpy", "pyarrow", "sqlalchemy", "fastapi"}
    program = f"import sys, hub.wiring.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_packages_outside_the_hub_add_commands() -> None:
    def one() -> None:
        """Print nothing."""

    group = typer.Typer()
    group.command("inner")(one)
    before = len(cli.app.registered_commands), len(cli.app.registered_groups)
    cli._add("one-more", one)
    cli._add("group-more", group)
    assert cli.app.registered_commands.pop().name == "one-more"
    assert cli.app.registered_groups.pop().name == "group-more"
    assert before == (len(cli.app.registered_commands), len(cli.app.registered_groups))


def test_warming_compiles_and_keeps_what_it_compiled(tmp_path: Path) -> None:
    cache = Settings().cache_dir
    done = homeport(tmp_path, "warm", HOMEPORT_CACHE_DIR=str(cache))
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"(\d+) kernels are compiled in (.*)\.\n", done.stdout)
    assert found is not None
    assert int(found[1]) >= 3
    assert Path(found[2]).parent == cache / "numba"
    assert list(cache.rglob("*.nbi"))
