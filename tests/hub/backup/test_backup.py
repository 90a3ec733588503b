"""Backups: of one moment, whole, and good for a hub."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hub.app.backup.check import examine
from hub.app.backup.restore import restore
from hub.app.backup.shelf import kept, name_of, prune
from hub.app.backup.take import take
from hub.app.formats import UNFINISHED
from hub.config import Settings
from hub.errors import ConflictError, InvalidInputError, StorageError
from hub.ports.database.engine import open_engine, read_session
from hub.ports.database.record_tables import Cursor
from hub.ports.journal.block import Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import check_contiguous, list_segments
from hub.ports.journal.telemetry import encode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.port import Visibility
from hub.services import audit
from hub.services.identity import stored_incarnation
from tests.hub.backup.hub_folder import NOW, SMALL, HubFolder, rows
from tests.hub.database.postgresql_server import PostgresServer


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[HubFolder]:
    made = HubFolder(tmp_path / "data")
    yield made
    made.close()


def restored(path: Path, into: Path, passphrase: bytes | None = None) -> Settings:
    settings = Settings(data_dir=into)
    restore(path, settings, NOW, passphrase)
    return settings


def seqs(settings: Settings) -> list[int]:
    """Every row that a hub with this folder would show."""
    store = EmbeddedStore(settings.store_dir, {"0": settings.journal_dir(0)})
    page = store.range(1, 0, 0, 1 << 62, visible=Visibility(), limit=1 << 30)
    return [int(seq) for seq in page.seq]


def test_a_backup_put_back_is_the_hub_of_that_moment_as_another_incarnation(
    folder: HubFolder, tmp_path: Path
) -> None:
    folder.live(23)
    found = take(folder.source, tmp_path / "one.tar", NOW)
    known = folder.seq
    folder.live(10)

    settings = restored(tmp_path / "one.tar", tmp_path / "again")

    assert found.samples > 0
    assert found.blocks > 0
    assert seqs(settings) == list(range(known))
    engine = open_engine(settings.database_url.get_secret_value())
    with read_session(engine) as session:
        incarnation = stored_incarnation(session)
        assert incarnation not in {None, folder.incarnation}
        assert audit.verify(session) is None
        cursor = session.get(Cursor, "findings/0")
        assert cursor is not None
        log = list(JournalReader(settings.findings_dir(0), cursor.offset).blocks())
    engine.dispose()
    assert log == []  # all had been followed
    modes = {stat.S_IMODE(path.stat().st_mode) for path in settings.data_dir.rglob("*")}
    assert modes == {0o600, 0o700}
    assert not (settings.data_dir / UNFINISHED).exists()


def test_backups_taken_while_everything_changes_are_each_of_one_moment(
    folder: HubFolder, tmp_path: Path
) -> None:
    folder.live(5)
    stop = threading.Event()
    hub = threading.Thread(target=folder.live_until, args=(stop,))
    hub.start()
    least = []
    try:
        for number in range(6):
            before = folder.seq - 20  # what was synced before the backup began
            take(folder.source, tmp_path / f"{number}.tar", NOW)  # reads it back
            least.append(before)
    finally:
        stop.set()
        hub.join()
    for number, before in enumerate(least):
        settings = restored(tmp_path / f"{number}.tar", tmp_path / f"again-{number}")
        found = seqs(settings)
        assert found == list(range(len(found)))
        assert len(found) >= before
        # Findings tell of blocks that the journal has, and of the database's past only.
        logged = [
            int.from_bytes(bytes(block.payload[:8]), "little")
            for block in JournalReader(settings.findings_dir(0), _first(settings)).blocks()
            if block.kind == Kind.FINDINGS
        ]
        journal = _end(settings)
        assert all(offset < journal for offset in logged)


def _first(settings: Settings) -> int:
    return min(int(path.stem) for path in settings.findings_dir(0).glob("*.hpj"))


def _end(settings: Settings) -> int:
    first = min(int(path.stem) for path in settings.journal_dir(0).glob("*.hpj"))
    reader = JournalReader(settings.journal_dir(0), first)
    for _ in reader.blocks():
        pass
    return reader.offset


def test_lanes_that_changed_hands_are_backed_up_without_what_losers_wrote(
    folder: HubFolder, tmp_path: Path
) -> None:
    journal, findings = folder.settings.journal_dir(0), folder.settings.findings_dir(0)
    folder.live(6)
    deposed: list[JournalWriter] = []
    for token in (1, 2, 3):  # taken over twice; the first is the lane's first lease
        before = (folder.journal, folder.findings)
        if token == 1:
            for writer in before:
                writer.close()
        folder.journal, folder.findings = (
            JournalWriter.open(place, now_ns=NOW, rotation=SMALL, token=token)
            for place in (journal, findings)
        )
        if token > 1:
            deposed += before
            for _ in range(40):  # more than a segment: it goes on as if nothing had happened
                before[0].append(Kind.TELEMETRY, encode(rows(10_000, 20)), NOW)
                before[1].append(Kind.FINDINGS, [bytes(320)], NOW)
            for writer in before:
                writer.sync()
        folder.live(4)
    known = folder.seq
    take(folder.source, tmp_path / "one.tar", NOW)
    folder.live(3)
    for writer in deposed:
        writer.close()

    settings = restored(tmp_path / "one.tar", tmp_path / "again")

    assert seqs(settings) == list(range(known))
    for place in (settings.journal_dir(0), settings.findings_dir(0)):
        segments = list_segments(place)
        check_contiguous(segments)
        assert list(JournalReader(place, segments[0].first).blocks())
    again = JournalWriter.open(settings.journal_dir(0), now_ns=NOW, token=4)  # a worker goes on
    again.append(Kind.TELEMETRY, encode(rows(known, 20)), NOW)
    again.sync()
    again.close()
    assert seqs(settings) == list(range(known + 20))


def test_a_torn_block_at_the_end_is_left_out(folder: HubFolder, tmp_path: Path) -> None:
    folder.live(3)
    folder.close()
    last = max(folder.settings.journal_dir(0).glob("*.hpj"))
    with last.open("ab") as file:
        file.write(b"HB1" + bytes(50))
    take(folder.source, tmp_path / "one.tar", NOW)
    assert seqs(restored(tmp_path / "one.tar", tmp_path / "again")) == list(range(60))


def test_a_sealed_backup_needs_its_passphrase(folder: HubFolder, tmp_path: Path) -> None:
    folder.live(3)
    path = tmp_path / "one.tar.sealed"
    take(folder.source, path, NOW, b"secret")
    assert b"PRIVATE KEY" not in path.read_bytes()
    assert examine(path, b"secret").taken_ns == NOW
    with pytest.raises(InvalidInputError, match="--passphrase-file"):
        examine(path)
    with pytest.raises(InvalidInputError, match="passphrase is wrong"):
        restored(path, tmp_path / "again", b"Secret")
    assert not (tmp_path / "again").exists()
    assert seqs(restored(path, tmp_path / "again", b"secret")) == list(range(60))


def test_damage_anywhere_is_found_and_nothing_is_restored(
    folder: HubFolder, tmp_path: Path
) -> None:
    folder.live(12)
    path = tmp_path / "one.tar"
    take(folder.source, path, NOW)
    whole = path.read_bytes()
    content = [at for at in range(700, len(whole) - 20_000, 9_973) if whole[at]]
    for at in content:
        bent = bytearray(whole)
        bent[at] ^= 4
        path.write_bytes(bytes(bent))
        with pytest.raises(StorageError):
            restored(path, tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_a_hub_that_is_damaged_gives_no_backup(folder: HubFolder, tmp_path: Path) -> None:
    folder.live(12)
    victim = next(iter(folder.settings.store_dir.glob("*.parquet")))
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0")
    with pytest.raises(StorageError, match="parquet"):
        take(folder.source, tmp_path / "one.tar", NOW)
    (folder.settings.keys_dir / "claim-codes.key").unlink()
    with pytest.raises(StorageError):
        take(folder.source, tmp_path / "one.tar", NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_only_an_empty_folder_is_restored_into(folder: HubFolder, tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    take(folder.source, path, NOW)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "note").touch()
    with pytest.raises(ConflictError, match="not empty"):
        restored(path, tmp_path / "again")
    assert [one.name for one in (tmp_path / "again").iterdir()] == ["note"]
    (tmp_path / "again" / "note").unlink()
    restored(path, tmp_path / "again")


def test_from_postgresql_to_sqlite_and_to_postgresql(
    tmp_path: Path, postgresql: PostgresServer
) -> None:
    url, other = postgresql.migrated(), postgresql.empty()
    folder = HubFolder(tmp_path / "data", url)
    try:
        folder.live(7)
        path = tmp_path / "one.tar"
        take(folder.source, path, NOW)
        assert seqs(restored(path, tmp_path / "lite")) == list(range(140))

        settings = Settings(data_dir=tmp_path / "postgres", database={"url": other})
        engine = open_engine(other)
        restore(path, settings, NOW, database=lambda: engine)
        assert seqs(settings) == list(range(140))
        assert not (settings.data_dir / "homeport.db").exists()
        with read_session(engine) as session:
            assert stored_incarnation(session) not in {None, folder.incarnation}
            assert audit.verify(session) is None
        with pytest.raises(ConflictError, match="not empty"):
            restore(path, Settings(data_dir=tmp_path / "third"), NOW, database=lambda: engine)
        assert list((tmp_path / "third").iterdir()) == []
        engine.dispose()
    finally:
        folder.close()
        postgresql.drop(url)
        postgresql.drop(other)


def test_the_database_in_a_backup_is_one_file(folder: HubFolder, tmp_path: Path) -> None:
    take(folder.source, tmp_path / "one.tar", NOW)
    settings = restored(tmp_path / "one.tar", tmp_path / "again")
    assert [path.name for path in settings.data_dir.glob("homeport.db*")] == ["homeport.db"]
    with closing(sqlite3.connect(settings.data_dir / "homeport.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_only_old_backups_are_pruned(tmp_path: Path) -> None:
    days = [NOW + day * 86_400_000_000_000 for day in range(5)]
    for number, day in enumerate(days):
        (tmp_path / name_of(day, sealed=number % 2 == 0)).write_bytes(b"x" * number)
    others = ["notes.txt", "homeport-2026.tar", ".homeport-20270115T080000Z.tar.part"]
    for other in others:
        (tmp_path / other).touch()
    assert [one.taken_ns for one in kept(tmp_path)] == days
    assert [one.taken_ns for one in prune(tmp_path, 2)] == days[:3]
    assert [one.taken_ns for one in kept(tmp_path)] == days[3:]
    assert prune(tmp_path, 0)
    assert len(kept(tmp_path)) == 1
    assert all((tmp_path / other).exists() for other in others)
