"""One moment of a hub that runs: every file it consists of, held still while the hub goes on.

1. While the database's write lock is held (some milliseconds), the state of the database is fixed, files are opened and
   the ends of journals noted. Open files stay readable when the hub deletes them meanwhile, so copying may take long.
2. What refers to something is noted before what it refers to. Journals grow at their ends only, so the later a journal
   is noted, the more it holds: store and checkpoints name offsets of the telemetry journal, the database offsets of
   the logs, findings in the logs blocks of the telemetry journal. Hence: database, store, checkpoints, logs, telemetry.
3. Nobody enrols while the lock is held, so the journal names no device that the database does not know.
4. A journal ends with its last whole block; rows that no receipt names yet do no harm.
What must never live here: where the copy goes.
"""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from hub.config import Settings
from hub.errors import StorageError
from hub.ports.database.engine import read_session, write_session
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    Segment,
    counted,
    intact_header,
    list_segments,
    parse_name,
)
from hub.ports.store.manifest import MANIFEST_NAME, Manifest

_TRIES = 5
_PAUSE_S = 0.2


class _ChangedError(Exception):
    """A file went away between being listed and being opened: look again."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file as it is at the moment.

    Attributes:
        path: within the data folder, with slashes.
        size: bytes of it that belong to the moment.
        descriptor: open for reading; -1 if the bytes are in `data`.
        data: the content, if it is not a file's.
    """

    path: str
    size: int
    descriptor: int = -1
    data: bytes = b""


@dataclass(slots=True)
class Moment:
    """What belongs together.

    Attributes:
        session: a reading session on the database, at that moment.
        files: all else.
        journals: first and end offset of each journal, by its folder within the data folder.
        store: the manifest that was in force.
    """

    session: Session
    files: list[Pinned] = field(default_factory=list)
    journals: dict[str, tuple[int, int]] = field(default_factory=dict)
    store: Manifest = field(default_factory=Manifest)


@contextmanager
def pinned(settings: Settings, engine: Engine) -> Iterator[Moment]:
    """Hold a moment of the hub for a block.

    Args:
        settings: of the hub, which may run or not.
        engine: its database.

    Raises:
        StorageError: a journal has a gap, or the store is damaged.
        OSError: files cannot be read.
    """
    with ExitStack() as held:
        for attempt in range(_TRIES):
            descriptors = held.enter_context(ExitStack())
            try:
                moment = _take(settings, engine, descriptors)
                _cut_journals(settings, moment)
            except (_ChangedError, FileNotFoundError):
                descriptors.close()
                if attempt == _TRIES - 1:
                    raise StorageError(
                        "The files of the hub change faster than they can be opened. Try again."
                    ) from None
                time.sleep(_PAUSE_S)
            else:
                yield moment
                return


def _take(settings: Settings, engine: Engine, descriptors: ExitStack) -> Moment:
    workers = range(settings.lanes)
    telemetry = [settings.journal_dir(worker) for worker in workers]
    logs = [settings.usage_dir, *(settings.findings_dir(worker) for worker in workers)]
    logs += [settings.deadletters_dir(worker) for worker in workers]
    pins = _Pins(settings.data_dir, descriptors)
    # Segments that the hub deletes from now on are held already.
    for folder in (*telemetry, *logs):
        pins.journal(folder)
    with write_session(engine) as writer:
        writer.connection()  # waits for its turn; nothing is written
        moment = Moment(descriptors.enter_context(read_session(engine)))
        moment.session.execute(text("SELECT version_num FROM alembic_version"))  # fixes its state
        for folder in (settings.pki_dir, settings.keys_dir):
            pins.folder(folder)
        moment.store = pins.store(settings.store_dir)
        for worker in workers:
            pins.folder(settings.detector_dir(worker), ".checkpoint")
            pins.folder(settings.deadletters_dir(worker) / "replay")
        pins.folder(settings.mirror_file.parent)
        for folder in (*logs, *telemetry):
            pins.journal(folder)
    moment.files = list(pins.files.values())
    return moment


class _Pins:
    """Files held open, by their path within the data folder."""

    def __init__(self, root: Path, descriptors: ExitStack) -> None:
        self._root = root
        self._descriptors = descriptors
        self.files: dict[str, Pinned] = {}

    def file(self, path: Path) -> None:
        """Hold a file; one that is held already is only measured again."""
        name = path.relative_to(self._root).as_posix()
        known = self.files.get(name)
        if known is None:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._descriptors.callback(os.close, descriptor)
        else:
            descriptor = known.descriptor
        self.files[name] = Pinned(name, os.fstat(descriptor).st_size, descriptor)

    def folder(self, folder: Path, suffix: str = "") -> None:
        """Hold the plain files of a folder and those below, but none that is being written."""
        if not folder.is_dir():
            return
        for path in sorted(folder.rglob(f"*{suffix}")):
            unfinished = path.name.startswith(".") or path.suffix in {".tmp", ".part"}
            if path.is_file() and not path.is_symlink() and not unfinished:
                with suppress(FileNotFoundError):
                    self.file(path)

    def journal(self, folder: Path) -> None:
        """Hold the segments of a journal."""
        for segment in list_segments(folder):
            self.file(segment.path)

    def store(self, folder: Path) -> Manifest:
        """Hold the files that the manifest in force names."""
        manifest = replace(Manifest.read(folder), retired=())
        for name in manifest.live():
            self.file(folder / name)
        if manifest.generation:
            name = (folder / MANIFEST_NAME).relative_to(self._root).as_posix()
            data = manifest.encoded()
            self.files[name] = Pinned(name, len(data), data=data)
        return manifest


def _cut_journals(settings: Settings, moment: Moment) -> None:
    """Check that each journal is without gaps, and cut it behind its last whole block."""
    groups: dict[str, list[Pinned]] = {}
    for file in moment.files:
        if file.path.endswith(".hpj"):
            groups.setdefault(file.path.rpartition("/")[0], []).append(file)
    for name, found in groups.items():
        files = {_segment(settings.data_dir / one.path): one for one in found}
        segments = counted(files)
        for void in files.keys() - set(segments):
            moment.files.remove(files[void])
        for segment, following in itertools.pairwise(segments):
            file = files[segment]
            size = following.first - segment.first + SEGMENT_HEADER_SIZE
            # What a worker wrote after another one had taken its place is left behind.
            if file.size < size or (file.size > size and segment.token == following.token):
                raise _ChangedError(name)
            moment.files[moment.files.index(file)] = replace(file, size=size)
        last = files[segments[-1]]
        end = _whole_blocks(last, segments[-1].first)
        moment.files[moment.files.index(last)] = replace(
            last, size=end - segments[-1].first + SEGMENT_HEADER_SIZE
        )
        moment.journals[name] = (segments[0].first, end)


def _segment(path: Path) -> Segment:
    name = parse_name(path.name)
    if name is None:
        raise _ChangedError(path.parent.name)
    return Segment(*name, path)


def _whole_blocks(file: Pinned, first: int) -> int:
    """Offset behind the last whole block of a segment that may be growing."""
    data = memoryview(_read(file))[SEGMENT_HEADER_SIZE:]
    position = 0
    while header := intact_header(data, position, first + position):
        position = header.end - first
    return first + position


def _read(file: Pinned) -> bytes:
    parts, position = [], 0
    while position < file.size:
        part = os.pread(file.descriptor, min(1 << 24, file.size - position), position)
        if not part:
            break
        parts.append(part)
        position += len(part)
    return b"".join(parts)
