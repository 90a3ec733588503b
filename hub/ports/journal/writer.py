"""The one writer of a journal.

1. Opening cuts a torn tail and refuses damage to anything that had been synced.
2. `append` is one vectored write without copies; it makes bytes visible, not durable.
3. Only what lies below `synced` may be promised to anyone.
4. After a failed sync the writer is dead for good: the process ends and replays. Opening writes again whatever was not
   known to be synced: the kernel may hold it in memory, marked as written, though the disk never took it.
5. One thread appends; another may call `sync` meanwhile.
6. A folder is locked, or else the writer has a fencing token, higher than that of any writer before it: then it leaves
   what they wrote as it is and begins a segment of its own. Who has the place of a live writer may so take it.
What must never live here: a clock, retries of a sync, knowledge of payloads.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hub.errors import ConflictError, DiskFullError, StorageError
from hub.ports.journal.block import ALIGNMENT, Buffer, encode
from hub.ports.journal.durability import NO_ROOM, lock_folder, make_folder, sync_file
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    Segment,
    all_segments,
    check_contiguous,
    create_segment,
    damage_at,
    intact_header,
    list_segments,
    parse_name,
    read_created_ns,
    read_tail,
    was_synced,
)


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a segment is sealed and the next one begun.

    Args:
        size: bytes of blocks after which the next append goes to a new segment.
        age_ns: age after which a segment with blocks is sealed even if it is small, so that a
            quiet hub's data is compacted too.
    """

    size: int = 64 << 20
    age_ns: int = 300 * 1_000_000_000


class JournalWriter:
    """Appends blocks to the journal in a folder. Make one with `JournalWriter.open`."""

    def __init__(
        self,
        folder: Path,
        lock_fd: int,
        segment: Segment,
        *,
        created_ns: int,
        end: int,
        cut: int,
        rotation: Rotation,
        sync_fd: Callable[[int], None],
    ) -> None:
        self._folder = folder
        self._lock_fd = lock_fd
        self._segment = segment
        self._created_ns = created_ns
        self._end = end
        self._synced = end
        self._cut = cut
        self._rotation = rotation
        self._sync_fd = sync_fd
        self._syncing = threading.Lock()
        self._dead: str | None = None
        self._fd = _open_for_append(segment)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        now_ns: int,
        first_offset: int = 0,
        rotation: Rotation = Rotation(),
        sync_fd: Callable[[int], None] = sync_file,
        token: int | None = None,
    ) -> Self:
        """Open the journal in a folder for writing, making it if there is none.

        Args:
            folder: of this journal alone.
            now_ns: time, ns since 1970 UTC; written into a new segment's header.
            first_offset: where a new journal starts; an existing one goes on where it ends.
            rotation: when segments are sealed.
            sync_fd: makes the bytes of a file durable or raises OSError.
            token: fencing token of this writer; None locks the folder instead.

        Raises:
            ConflictError: another writer has it open, or one with a higher token had.
            StorageError: synced data is damaged or missing (names file and offset), the files
                cannot be read or written, or `first_offset` is no multiple of 8.
        """
        if first_offset % ALIGNMENT:
            raise StorageError(f"A journal cannot start at {first_offset}, no multiple of 8.")
        try:
            make_folder(folder)
            lock_fd = lock_folder(folder) if token is None else os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise _failed(folder, "opened", error) from error
        try:
            _clear(folder, token)
            segments = list_segments(folder)
            if not segments:
                segments = [create_segment(folder, first_offset, now_ns, token or 0)]
            check_contiguous(segments)
            last, end, cut = _own(segments[-1], token, now_ns, sync_fd)
            return cls(
                folder,
                lock_fd,
                last,
                created_ns=read_created_ns(last),
                end=end,
                cut=cut,
                rotation=rotation,
                sync_fd=sync_fd,
            )
        except OSError as error:
            os.close(lock_fd)
            raise _failed(folder, "opened", error) from error
        except BaseException:
            os.close(lock_fd)
            raise

    @property
    def end(self) -> int:
        """Offset at which the next block will stand."""
        return self._end

    @property
    def synced(self) -> int:
        """All blocks below this offset are on disk."""
        return self._synced

    @property
    def cut(self) -> int:
        """Bytes of a torn tail removed at open; worth a line in the log when not 0."""
        return self._cut

    def append(self, kind: int, parts: Sequence[Buffer], received_ns: int) -> int:
        """Append one block. It is durable only after the next `sync`.

        Args:
            kind: see `block.Kind`.
            parts: payload in pieces (`telemetry.encode` gives them); not copied.
            received_ns: time of receipt, ns since 1970 UTC; it also drives sealing by age.

        Returns:
            The offset of the block.

        Raises:
            DiskFullError: there is no room; nothing was appended and the writer stays usable.
            StorageError: nothing was appended.
        """
        self.seal_if_due(received_ns)
        offset = self._end
        buffers, size = encode(
            kind, parts, offset=offset, unsynced=offset - self._synced, received_ns=received_ns
        )
        try:
            _write_all(self._fd, buffers, size)
        except OSError as error:
            self._undo_append(error)
            raise _failed(self._folder, "appended to", error) from error
        self._end = offset + size
        return offset

    def sync(self) -> int:
        """Make everything appended so far durable.

        Returns:
            `synced`: the offset below which everything is on disk now.

        Raises:
            StorageError: the disk refused. The writer is unusable from now on; end the process,
                open the journal again and replay.
        """
        with self._syncing:
            self._check_alive()
            end = self._end
            if end > self._synced:
                try:
                    self._sync_fd(self._fd)
                except OSError as error:
                    raise self._die("synced", error) from error
                self._synced = end
            return self._synced

    def seal_if_due(self, now_ns: int) -> bool:
        """Seal the segment if it is full or old, and begin the next one.

        `append` does this too; call it from an idle loop so that age counts without traffic.

        Args:
            now_ns: time, ns since 1970 UTC.

        Raises:
            StorageError: as for `sync`.
        """
        self._check_alive()
        size = self._end - self._segment.first
        old = now_ns - self._created_ns >= self._rotation.age_ns
        if size == 0 or (size < self._rotation.size and not old):
            return False
        self.sync()
        with self._syncing:
            try:
                segment = create_segment(self._folder, self._end, now_ns, self._segment.token)
                fd = _open_for_append(segment)
            except OSError as error:
                raise self._die("continued in a new segment", error) from error
            os.close(self._fd)
            self._fd, self._segment, self._created_ns = fd, segment, now_ns
        return True

    def close(self) -> None:
        """Sync, then let go of the journal. Closing twice is harmless.

        Raises:
            StorageError: the last sync failed; the journal is let go of all the same.
        """
        if self._lock_fd < 0:
            return
        try:
            if self._dead is None:
                self.sync()
        finally:
            self._dead = self._dead or "it was closed"
            os.close(self._fd)
            os.close(self._lock_fd)
            self._fd = self._lock_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise StorageError(
                f"The journal {self._folder.name} takes nothing more because {self._dead}; "
                "end the process, open the journal again and replay.",
                journal=self._folder.name,
            )

    def _die(self, what: str, error: OSError) -> StorageError:
        self._dead = f"it could not be {what} ({error.strerror})"
        return _failed(self._folder, what, error)

    def _undo_append(self, error: OSError) -> None:
        """Remove the part of a block that was written before the disk refused."""
        try:
            os.ftruncate(self._fd, self._end - self._segment.first + SEGMENT_HEADER_SIZE)
        except OSError:
            self._dead = f"an append failed half-way ({error.strerror})"


def _failed(folder: Path, what: str, error: OSError) -> StorageError:
    # A sync that found no room has lost bytes that the disk seemed to have taken: that is no full disk to wait for.
    full = error.errno in NO_ROOM and what != "synced"
    return (DiskFullError if full else StorageError)(
        f"The journal {folder.name} could not be {what}: {error.strerror}. "
        "Check free space, permissions and the disk.",
        journal=folder.name,
        errno=error.errno,
    )


def _open_for_append(segment: Segment) -> int:
    return os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def _write_all(fd: int, buffers: list[Buffer], size: int) -> None:
    written = os.writev(fd, buffers)
    if written == size:
        return
    # A short write is rare (disk nearly full, a signal), so the copy here does not matter.
    rest = memoryview(b"".join(buffers))[written:]
    while rest:
        rest = rest[os.write(fd, rest) :]


def _clear(folder: Path, token: int | None) -> None:
    """Delete what writers before this one left half made, and what does not count."""
    for leftover in folder.glob("*.tmp"):
        name = parse_name(leftover.stem)
        if token is None or name is None or name[1] <= token:
            leftover.unlink(missing_ok=True)
    counted = set(list_segments(folder))
    for segment in all_segments(folder):
        if segment not in counted:
            segment.path.unlink(missing_ok=True)


def _own(
    last: Segment, token: int | None, now_ns: int, sync_fd: Callable[[int], None]
) -> tuple[Segment, int, int]:
    """Find the end of a journal and make the segment in which this writer goes on.

    Returns:
        The segment, the end offset and the number of bytes cut.
    """
    if token is None or token == last.token:
        return last, *_recover(last, sync_fd)
    if token < last.token:
        raise ConflictError(
            f"The journal {last.path.parent.name} has passed from token {token} to {last.token}: another "
            "worker writes it now. Take the lease anew before opening it.",
            journal=last.path.parent.name,
        )
    # Whoever wrote it may be alive: nothing is cut, and what it appends from here on is behind the end.
    end, _ = _recover(last, sync_fd, cut_torn=False)
    return create_segment(last.path.parent, end, now_ns, token), end, 0


def _recover(
    segment: Segment, sync_fd: Callable[[int], None], *, cut_torn: bool = True
) -> tuple[int, int]:
    """Find the end of the last segment; cut what is torn, refuse what is damaged.

    Returns:
        The end offset and the number of bytes cut.
    """
    data = memoryview(read_tail(segment.path, SEGMENT_HEADER_SIZE))
    position = synced = 0
    while header := intact_header(data, position, segment.first + position):
        synced = max(synced, header.offset - header.unsynced - segment.first)
        position = header.end - segment.first
    end = segment.first + position
    cut = len(data) - position
    if cut and was_synced(data, position, end):
        raise damage_at(segment, end)
    fd = os.open(segment.path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if cut and cut_torn:
            os.ftruncate(fd, position + SEGMENT_HEADER_SIZE)
        # The process that wrote these blocks may have died before it synced them, or because it could not: then the
        # next sync would find nothing to do, so they are written once more.
        while synced < position:
            synced += os.pwrite(fd, data[synced:position], synced + SEGMENT_HEADER_SIZE)
        sync_fd(fd)
    finally:
        os.close(fd)
    return end, cut
