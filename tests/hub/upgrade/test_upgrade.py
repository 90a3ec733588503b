"""A data folder of an earlier version is upgraded and runs; one of a later version is refused by whatever opens it."""

import hashlib
import json
import sqlite3
import struct
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hub.app import formats
from hub.app.backup.check import examine
from hub.config import Settings
from hub.errors import ConflictError, HubError
from hub.pipeline.checkpoint import load_checkpoint, save_checkpoint
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.port import Visibility
from hub.wiring.cli import app
from tests.conftest import ROOT, hub_environment, reach, start_hub, stop_hub

OLD = Path(__file__).with_name("data-dbc90ae.tar.xz")
"""Made by the program of commit dbc90ae with `make_data_folder.py`; schema 0009, no `format.json`."""
OPENERS = {
    "serve": ["serve"],
    "upgrade": ["upgrade", "--no-backup"],
    "backup": ["backup", "there.tar"],
    "restored": ["restored"],
    "audit": ["audit", "verify"],
    "migrate": ["db", "migrate"],
    "mosquitto": ["broker", "mosquitto-conf", "there"],
}


class OldHub:
    def __init__(self, folder: Path) -> None:
        with tarfile.open(OLD) as tar:
            tar.extractall(folder, filter="data")
        self.settings = Settings(data_dir=folder / "data")
        self.settings.data_dir.chmod(0o700)
        self.expected: dict[str, Any] = json.loads((folder / "expected.json").read_text())

    def digest(self) -> str:
        """Hash of all that is in the folder, aside of what a start leaves in `run`, and SQLite's shared memory."""
        data, whole = self.settings.data_dir, hashlib.sha256()
        for path in sorted(data.rglob("*")):
            lasting = "run" not in path.relative_to(data).parts and path.suffix != ".db-shm"
            if path.is_file() and lasting:
                whole.update(str(path).encode() + path.read_bytes())
        return whole.hexdigest()

    def rows(self) -> dict[str, list[list[float]]]:
        with closing(sqlite3.connect(self.settings.data_dir / "homeport.db")) as connection:
            slots = connection.execute("SELECT device_id, slot FROM device").fetchall()
        store = EmbeddedStore(self.settings.store_dir, {"0": self.settings.journal_dir(0)})
        found = {}
        for device_id, slot in slots:
            page = store.range(slot, 0, 0, 1 << 62, visible=Visibility(), limit=1 << 30)
            found[device_id] = [
                [int(t), float(v)] for t, v in zip(page.time, page.value, strict=True)
            ]
        return found

    def age(self) -> dict[str, formats.Age]:
        return {part.name: part.age for part in formats.survey(self.settings)}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OldHub:
    made = OldHub(tmp_path)
    monkeypatch.setenv("HOMEPORT_DATA_DIR", str(made.settings.data_dir))
    monkeypatch.chdir(tmp_path)
    return made


def run(*words: str) -> str:
    """Run a command in this process; its error is raised."""
    done = CliRunner().invoke(app, list(words))
    if isinstance(done.exception, HubError):
        raise done.exception
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_the_old_folder_is_older_and_holds_what_it_should(old: OldHub) -> None:
    ages = old.age()
    assert ages.pop("database") is formats.Age.OLDER
    assert set(ages) == {
        "data folder",
        "journal 0",
        "findings log 0",
        "dead letters 0",
        "checkpoint 0",
        "detector 0",
        "store",
    }
    assert formats.Age.NEWER not in ages.values()
    assert old.rows() == old.expected["rows"]
    assert sum(map(len, old.rows().values())) > 500


def test_an_older_folder_is_not_started_but_told_how_to_upgrade(old: OldHub) -> None:
    before = old.digest()
    with pytest.raises(formats.OlderDataError, match="homeport upgrade"):
        formats.refuse_other(old.settings)
    assert old.digest() == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(old: OldHub) -> None:
    before = old.digest()
    said = run("upgrade", "--dry-run")
    assert "database: version 0009 -> " in said
    assert "\n    0010: " in said
    assert "journal 0: version 1\n" in said
    assert "Nothing was changed" in said
    assert old.digest() == before


def test_an_upgrade_wants_to_know_where_its_backup_goes(old: OldHub, tmp_path: Path) -> None:
    before = old.digest()
    with pytest.raises(HubError, match="--backup FOLDER"):
        run("upgrade")
    with pytest.raises(HubError, match="is not there"):
        run("upgrade", "--backup", str(tmp_path / "nowhere"))
    assert old.digest() == before


@pytest.mark.hub
def test_an_upgraded_folder_runs_with_all_that_it_had(old: OldHub, tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "hub", "serve"],
        cwd=ROOT,
        env=hub_environment(old.settings.data_dir),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "Upgrade it, with a backup first: homeport upgrade" in refused.stderr

    shelf = tmp_path / "shelf"
    shelf.mkdir()
    assert "Upgraded." in run("upgrade", "--backup", str(shelf))
    (backup,) = shelf.iterdir()
    assert examine(backup).about["schema"] == "0009"
    assert set(old.age().values()) <= {formats.Age.SAME, formats.Age.AFRESH}
    assert old.rows() == old.expected["rows"]
    assert "Everything has this program's version." in run("upgrade")

    process = start_hub(old.settings.data_dir)
    hub = reach(old.settings.data_dir, process)
    try:
        assert hub.client.get("/readyz").json()["status"] == "ok"
        for device_id, rows in old.expected["rows"].items():
            product = hub.client.get(f"/api/v1/products/{device_id}")
            assert product.status_code == 200, product.text
            assert rows
    finally:
        hub.client.close()
        assert stop_hub(process) == 0
    assert old.rows() == old.expected["rows"]

    # And the backup that was taken before is good for this version too.
    run("restore", str(backup), "--into", str(tmp_path / "again"))
    again = formats.survey(Settings(data_dir=tmp_path / "again"))
    assert formats.Age.OLDER not in {part.age for part in again}


def newer_database(settings: Settings) -> None:
    with closing(sqlite3.connect(settings.data_dir / "homeport.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def newer_journal(settings: Settings) -> None:
    last = max(settings.journal_dir(0).glob("*.hpj"))
    data = bytearray(last.read_bytes())
    data[8:12] = struct.pack("<I", 2)
    last.write_bytes(bytes(data))


def newer_store(settings: Settings) -> None:
    path = settings.store_dir / "manifest.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "version": 99}))


def newer_checkpoint(settings: Settings) -> None:
    folder = settings.detector_dir(0)
    loaded = load_checkpoint(folder)
    assert loaded is not None
    save_checkpoint(folder, loaded[0] + 8, {**loaded[1], "extra": np.zeros(1)})
    newest = max(folder.glob("*.checkpoint"))
    with np.load(newest) as file:
        arrays = {name: file[name] for name in file.files}
    with newest.open("wb") as out:
        np.savez(out, **{**arrays, "format": np.array(2)})


def newer_folder(settings: Settings) -> None:
    (settings.data_dir / "format.json").write_text('{"format": 2, "written_by": "9.0.0"}')


CASES = [
    *((newer_folder, name) for name in OPENERS if name != "serve"),
    *((part, "audit") for part in (newer_database, newer_journal, newer_store, newer_checkpoint)),
]


@pytest.mark.parametrize(("part", "command"), CASES)
def test_every_command_refuses_what_a_newer_version_wrote(
    old: OldHub, part: Any, command: str
) -> None:
    part(old.settings)
    before = old.digest()
    with pytest.raises(
        formats.NewerDataError, match=r"newer version of Homeport.*Nothing was changed"
    ):
        run(*OPENERS[command])
    assert old.digest() == before
    assert not Path("there").exists()
    assert not Path("there.tar").exists()


def test_a_newer_folder_is_not_started_and_the_doctor_tells(old: OldHub) -> None:
    newer_folder(old.settings)
    with pytest.raises(formats.NewerDataError, match=r"\(9\.0\.0\)"):
        formats.refuse_other(old.settings)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "written by a newer version of Homeport (9.0.0)" in done.output


def test_what_a_restore_left_unfinished_is_refused(old: OldHub) -> None:
    (old.settings.data_dir / ".restoring").mkdir()
    with pytest.raises(ConflictError, match="did not finish"):
        run("audit", "verify")
