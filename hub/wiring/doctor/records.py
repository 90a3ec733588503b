"""The doctor on what the hub keeps: database, journal, and the store behind it.

1. The database is opened read-only; one that no hub has open and that left no log is opened as
   immutable, so that not even SQLite's own side files appear.
2. Damage is named with its file and place, as the reader of that part names it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from hub.app import formats
from hub.errors import HubError, StorageError
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    Segment,
    check_contiguous,
    list_segments,
    read_created_ns,
)
from hub.ports.store.manifest import Manifest
from hub.wiring import compose
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_WHOLE_CHECK_BYTES = 268_435_456
_LARGE_LOG_BYTES = 268_435_456
_FAR_BEHIND_BYTES = 268_435_456
_FAR_BEHIND_SEGMENTS = 3
_BACKUP = "Stop the hub, keep the file as it is, and restore it from a backup."


def check_database(case: Case) -> Iterator[Line]:
    """Look at the integrity of the database, its schema and its write-ahead log."""
    url = case.settings.database_url.get_secret_value()
    if not url.startswith("sqlite:///"):
        yield _other_database(case)
        return
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        if case.exists:
            yield problem("database", f"{path} is missing", "Restore it from a backup.")
        else:
            yield ok("database", "not there yet; the first start makes it")
        return
    try:
        with closing(opened(case, path)) as connection:
            whole = path.stat().st_size <= _WHOLE_CHECK_BYTES
            pragma = "integrity_check" if whole else "quick_check"
            said = connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0]
            version = _version_of(connection)
    except sqlite3.Error as error:
        yield problem("database", f"{path} cannot be read: {error}", _BACKUP)
        return
    if said != "ok":
        yield problem("database", f"{path} is damaged: {said}", _BACKUP)
    else:
        yield ok("database", f"{path.stat().st_size / 1e6:.1f} MB, {pragma} finds nothing wrong")
    yield _schema(version)
    log_bytes = _log_bytes(path)
    if log_bytes > _LARGE_LOG_BYTES:
        yield warning(
            "database log",
            f"the write-ahead log has {log_bytes / 1e6:.0f} MB",
            "Something reads for very long. Start the hub again at a quiet time.",
        )


def check_formats(case: Case) -> Iterator[Line]:
    """Look at whether this program may open the data folder at all."""
    try:
        formats.refuse_newer(case.settings)
    except HubError as error:
        yield problem("data folder version", error.detail, "See docs/operations/upgrade.md.")


def check_journal(case: Case) -> Iterator[Line]:
    """Look at the segments of each journal, and read the last one to its end."""
    settings = case.settings
    for worker in range(settings.lanes):
        folders = {
            f"journal {worker}": settings.journal_dir(worker),
            f"findings {worker}": settings.findings_dir(worker),
            f"dead letters {worker}": settings.deadletters_dir(worker),
        }
        for name, folder in folders.items():
            yield _tail(case, name, folder)


def check_lags(case: Case) -> Iterator[Line]:
    """Look at how far detector and reactor are behind the journals and logs."""
    settings = case.settings
    if not case.exists:
        return
    for worker in range(settings.lanes):
        progress = compose.progress(settings, worker)
        if progress.paused:
            yield problem(
                "ingest", "takes nothing: its disk is full", "Free some space; see the disk's line."
            )
        silent = (case.now_ns - progress.beat_ns) / 1e9
        if case.running and progress.beat_ns and silent > 30.0:
            yield problem(
                "ingest",
                f"has not turned for {silent:.0f} s",
                f"Look at {settings.run_dir}/ingest-{worker}.log and .err.",
            )
        yield _lag(
            f"detector {worker}",
            "from its last checkpoint to the journal's end",
            progress.synced - progress.checkpoint,
            "A restart reads that again. Look at the log of the ingest worker.",
        )
        yield _reactor(
            case,
            f"reactor {worker}",
            f"findings/{worker}",
            settings.findings_dir(worker),
            "of findings are not alerts yet",
        )
        yield _reactor(
            case,
            f"dead letter reactor {worker}",
            f"deadletters/{worker}",
            settings.deadletters_dir(worker),
            "of dead letters are not in the database yet",
        )


def check_store(case: Case) -> Iterator[Line]:
    """Look at the manifest, the files that it names, and how far they are behind the journal."""
    folder = case.settings.store_dir
    try:
        manifest = Manifest.read(folder)
    except StorageError as error:
        yield problem("store", error.detail, f"Restore {folder} from a backup.")
        return
    missing, wrong = [], []
    for file in manifest.files:
        path = folder / file.name
        if not path.exists():
            missing.append(file.name)
        elif path.stat().st_size != file.size:
            wrong.append(file.name)
    missing += [name for name in manifest.latest if not (folder / name).exists()]
    restore = "Restore the store from a backup; what the journal still holds is added by itself."
    if missing:
        yield problem("store", f"{len(missing)} files are missing, {missing[0]} first", restore)
    if wrong:
        seen = f"{len(wrong)} files are not as long as the manifest says, {wrong[0]} first"
        yield problem("store", seen, restore)
    unreadable = None if missing or wrong else _unreadable(folder, manifest)
    if unreadable:
        yield problem("store", unreadable, restore)
    elif not missing and not wrong:
        samples = sum(file.samples for file in manifest.files)
        yield ok("store", f"{len(manifest.files)} files with {samples:,} samples, all there")
    for name, journal in compose.journals(case.settings).items():
        yield _store_lag(name, list_segments(journal), manifest.journals.get(name, 0))


def _store_lag(name: str, segments: list[Segment], offset: int) -> Line:
    """Only sealed segments are compacted; the open one is read from the journal itself."""
    behind = sum(1 for one in segments[:-1] if one.first >= offset)
    seen = f"{behind} sealed segments are not compacted yet"
    if behind > _FAR_BEHIND_SEGMENTS:
        return warning(
            f"compactor {name}", seen, "Is the hub running? Look at run/compactor.log and .err."
        )
    return ok(f"compactor {name}", seen)


def _unreadable(folder: Path, manifest: Manifest) -> str | None:
    """Open the newest file and compare it with what the manifest says."""
    import pyarrow.parquet  # noqa: PLC0415  heavy, and only where there is a store

    for file in manifest.files[-1:]:
        try:
            rows = pyarrow.parquet.ParquetFile(folder / file.name).metadata.num_rows
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            return f"{file.name} cannot be opened: {error}"
        if rows != file.samples:
            return f"{file.name} holds {rows:,} samples, the manifest says {file.samples:,}"
    return None


def _tail(case: Case, name: str, folder: Path) -> Line:
    segments = list_segments(folder)
    if not segments:
        return ok(name, "empty")
    try:
        check_contiguous(segments)
        for segment in segments:
            with suppress(FileNotFoundError):  # a running hub deletes those that are done with
                read_created_ns(segment)
        last = segments[-1]
        reader = JournalReader(folder, last.first)
        blocks = sum(1 for _ in reader.blocks())
        end = last.first + last.path.stat().st_size - SEGMENT_HEADER_SIZE
    except (HubError, OSError) as error:
        seen = error.detail if isinstance(error, HubError) else str(error)
        return problem(name, seen, "Restore the segment it names from a backup, then start again.")
    seen = f"{len(segments)} segments to offset {reader.offset:,}, {blocks:,} blocks in the last"
    if end > reader.offset and not case.running:
        return warning(
            name,
            f"{seen}; {end - reader.offset} bytes of an unfinished block behind them",
            "Nothing: it has no receipt, and the next start cuts it off.",
        )
    return ok(name, seen)


def _reactor(case: Case, check: str, log: str, folder: Path, what: str) -> Line:
    """Say how far the reactor is behind a log, or why that makes no sense."""
    segments = list_segments(folder)
    first = end = 0
    if segments:
        first, last = segments[0].first, segments[-1]
        end = last.first + last.path.stat().st_size - SEGMENT_HEADER_SIZE
    offset = _cursor(case, log)
    if offset is None:
        return ok(check, "its place is not known without the database")
    if offset > end:
        return problem(
            check,
            f"is at offset {offset:,} of {log}, which ends at {end:,}",
            "Database and log are of different times: restore both from one backup.",
        )
    if offset < first:
        return problem(
            check,
            f"is at offset {offset:,} of {log}, which begins at {first:,}",
            "Database and log are of different times: restore both from one backup, or start the hub: "
            "it goes on where the log begins.",
        )
    return _lag(check, what, end - offset, "Look at the line of the process `control` and its log.")


def _lag(check: str, what: str, behind: int, advice: str) -> Line:
    seen = f"{max(0, behind):,} bytes {what}"
    return warning(check, seen, advice) if behind > _FAR_BEHIND_BYTES else ok(check, seen)


def _cursor(case: Case, name: str) -> int | None:
    url = case.settings.database_url.get_secret_value()
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.exists():
        return None
    try:
        with closing(opened(case, path)) as connection:
            row = connection.execute("SELECT offset FROM cursor WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error:
        return None  # the line on the database says why
    return int(row[0]) if row else 0


def opened(case: Case, path: Path) -> sqlite3.Connection:
    """Open the SQLite database so that nothing of it is changed."""
    mode = "mode=ro" if case.running or _log_bytes(path) else "immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)


def _log_bytes(path: Path) -> int:
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def _version_of(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return str(row[0]) if row else None


def _schema(version: str | None) -> Line:
    from hub.ports.database.engine import versions  # noqa: PLC0415  heavy, and only here

    known = versions()
    if version == known[-1]:
        return ok("schema", f"version {version}, the newest")
    if version in known[:-1]:
        return warning(
            "schema",
            f"version {version}, this hub's newest is {known[-1]}",
            "Stop the hub, then run: homeport upgrade",
        )
    return problem(
        "schema",
        f"version {version} is not known to this hub, whose newest is {known[-1]}",
        "Run the newer version of Homeport that wrote it, or restore a backup.",
    )


def _other_database(case: Case) -> Line:
    from sqlalchemy import text  # noqa: PLC0415  heavy, and only here
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  likewise

    try:
        with compose.engine(case.settings).connect() as connection:
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except SQLAlchemyError as error:
        return problem(
            "database",
            f"cannot be asked: {type(error).__name__}",  # its text may hold the address
            "Is it running, and is database.url right? Then run: homeport upgrade",
        )
    return _schema(None if version is None else str(version))
