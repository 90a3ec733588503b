"""The durable spool: packs that wait for their receipt, in one SQLite file.

1. What `store` returned for is on the disk (synchronous=FULL) and survives any crash.
2. A pack is never changed and is kept with its hash. It leaves only when the hub has settled all of
   its rows, by the bound on bytes, or when its bytes no longer fit its hash; the last two are on
   record as lost.
3. Each opening of the file begins a stream, and only it adds rows to that stream. So a seq is never
   given twice, also where the file is copied, or goes back to an older copy of itself.
4. Deletions ride on the next commit: losing one only means that a pack is sent again.

Thread-safe. Knows nothing of the network.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from device_sdk import sealing
from device_sdk.errors import SpoolError
from device_sdk.rows import Run
from device_sdk.sealing import SealedPack
from device_sdk.spool_file import open_file
from device_sdk.wire.pack import pack_hash

_OVERHEAD = 64
"""Bytes that a pack costs in the file beyond its data, for the bound."""
_REMEMBERED = 1_024


class Spool:
    """Packs on disk.

    Args:
        path: the SQLite file; made if it is not there, with mode 0600.
        new_stream: makes the 8 random bytes of a stream.
        max_bytes: bound on what is kept.
    """

    def __init__(
        self, path: Path, *, new_stream: Callable[[], bytes], max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._lock = threading.RLock()
        self._new_stream = new_stream
        self.max_bytes = max_bytes
        self._damaged: list[tuple[bytes, int, int]] = []
        self._db, self.put_aside = open_file(path)
        self._stream, self._next, self.rows, self.bytes = b"", 0, 0, 0
        try:
            self._stream = self._begin_stream()
            self._forget_empty_streams()
            self._db.commit()
        except sqlite3.Error as error:
            self._db.close()
            raise _unwritable(error) from error
        self._read_totals()

    @property
    def stream(self) -> bytes:
        """The stream that new rows go to."""
        return self._stream

    @property
    def next_seq(self) -> int:
        """Seq of the next row of the present stream."""
        return self._next

    def take_damaged(self) -> list[tuple[bytes, int, int]]:
        """Return `(stream, start, end)` of packs found damaged since the last call."""
        with self._lock:
            damaged, self._damaged = self._damaged, []
            return damaged

    def store(self, runs: Sequence[Run], boot: bytes) -> int:
        """Seal rows into packs and put them on the disk; durable on return.

        Returns:
            Count of rows stored.
        """
        if not runs:
            return 0
        with self._lock, self._commit():
            first, before = self._next, self.rows
            for pack in sealing.seal(runs, self._stream, first, boot):
                self._insert(pack)
                self._next = pack.end
            self._keep_next()
            return self.rows - before

    def next_pack(self, stream: bytes, seq: int) -> SealedPack | None:
        """Return the first pack of `stream` that begins at or after `seq` and is whole."""
        query = (
            "SELECT first, rows, data, hash FROM pack WHERE stream = ? AND first >= ?"
            " ORDER BY first LIMIT 1"
        )
        with self._lock:
            while row := self._db.execute(query, (stream, seq)).fetchone():
                first, rows, data, digest = row
                if pack_hash(data) == digest:
                    return SealedPack(stream, first, rows, data)
                with self._commit():
                    self._give_up(stream, first, rows)
        return None

    def streams(self) -> list[tuple[bytes, int, int]]:
        """Return `(stream, first seq held, next seq)` of each stream, oldest first.

        Where nothing is held, the first seq is the next one.
        """
        query = (
            "SELECT stream, coalesce((SELECT min(first) FROM pack p WHERE p.stream = s.stream),"
            " next), next FROM stream s ORDER BY ordinal"
        )
        with self._lock:
            return self._db.execute(query).fetchall()

    def settle(self, stream: bytes, settled: Iterable[tuple[int, int]]) -> int:
        """Forget packs that lie wholly in one of the ranges `settled` (end exclusive).

        Returns:
            Count of rows forgotten.
        """
        before = self.rows
        with self._lock:
            for start, end in settled:
                where = "stream = ? AND first >= ? AND first < ? AND first + rows <= ?"
                self._delete(where, (stream, start, end, end))
                gone = "DELETE FROM lost WHERE stream = ? AND start >= ? AND end <= ?"
                self._db.execute(gone, (stream, start, end))
            self._forget_empty_streams()
        return before - self.rows

    def drop_oldest(self, bytes_wanted: int) -> list[tuple[bytes, int, int]]:
        """Forget the oldest packs until `bytes_wanted` are free under the bound.

        Returns:
            `(stream, start, end)` of what was lost; on record until the hub knows, see `lost`.
        """
        lost: list[tuple[bytes, int, int]] = []
        with self._lock, self._commit():
            query = "SELECT stream, first, rows FROM pack ORDER BY id LIMIT 1"
            while self.rows and self.bytes + bytes_wanted > self.max_bytes:
                stream, first, rows = self._db.execute(query).fetchone()
                self._delete("stream = ? AND first = ?", (stream, first))
                if lost and lost[-1][0] == stream and lost[-1][2] == first:
                    lost[-1] = (stream, lost[-1][1], first + rows)
                else:
                    lost.append((stream, first, first + rows))
            self._db.executemany("INSERT INTO lost VALUES (?, ?, ?)", lost)
        return lost

    def lost(self, stream: bytes) -> list[tuple[int, int]]:
        """Return the ranges of `stream` that were dropped and are still on record."""
        query = "SELECT start, end FROM lost WHERE stream = ? ORDER BY start"
        with self._lock:
            return self._db.execute(query, (stream,)).fetchall()

    def move(self, stream: bytes, start: int, settled: set[int]) -> None:
        """Move packs of `stream` from seq `start` on to a new stream, which new rows join.

        Args:
            stream: the stream to leave.
            start: first seq to move.
            settled: seqs that the hub has settled already; their rows are left out.
        """
        with self._lock, self._commit():
            fresh = self._begin_stream()
            first = 0
            query = (
                "SELECT id, first, rows, data, hash FROM pack WHERE stream = ? AND first >= ?"
                " ORDER BY first"
            )
            for key, old, rows, data, digest in self._db.execute(query, (stream, start)).fetchall():
                if pack_hash(data) != digest:
                    self._give_up(stream, old, rows)
                    continue
                self._delete("id = ?", (key,))
                moved = sealing.move(data, fresh, first, settled)
                if moved is not None:
                    self._insert(moved, key)
                    first = moved.end
            self._stream, self._next = fresh, first
            self._keep_next()
            self._forget_empty_streams()

    def newest(self) -> int:
        """Return the id of the newest pack ever stored; see `oldest`."""
        with self._lock:
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pack'").fetchone()
        return int(row[0]) if row else 0

    def oldest(self) -> int | None:
        """Return the id of the oldest pack held; a pack keeps its id when it moves."""
        with self._lock:
            key: int | None = self._db.execute("SELECT min(id) FROM pack").fetchone()[0]
        return key

    def fact(self, name: str) -> bytes | None:
        """Return a small fact kept beside the packs."""
        with self._lock:
            row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def keep_fact(self, name: str, value: bytes) -> None:
        """Keep a small fact; durable on return."""
        with self._lock, self._commit():
            self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def first_time(self, key: bytes, at: int) -> bool:
        """Tell whether the id `key` of a command or notice is new, and remember it durably."""
        with self._lock, self._commit():
            known = self._db.execute("INSERT OR IGNORE INTO handled VALUES (?, ?)", (key, at))
            self._db.execute(
                "DELETE FROM handled WHERE rowid NOT IN"
                " (SELECT rowid FROM handled ORDER BY rowid DESC LIMIT ?)",
                (_REMEMBERED,),
            )
            return known.rowcount == 1

    def commit(self) -> None:
        """Put pending deletions on the disk."""
        with self._lock, self._commit():
            pass

    def close(self) -> None:
        """Commit and close the file."""
        with self._lock:
            try:
                self.commit()
            finally:  # a disk that fails must not keep the file from being opened anew
                self._db.close()

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """Run a step and commit: all of it is on the disk, or nothing of it happened."""
        try:
            yield
            self._db.commit()
        except BaseException as error:
            self._db.rollback()
            self._read_totals()
            if isinstance(error, sqlite3.Error):
                raise _unwritable(error) from error
            raise

    def _read_totals(self) -> None:
        """Read stream, next seq and totals from the file, as after opening or a failed step."""
        newest = "SELECT stream, next FROM stream ORDER BY ordinal DESC LIMIT 1"
        self._stream, self._next = self._db.execute(newest).fetchone()
        sums = "SELECT coalesce(sum(rows), 0), coalesce(sum(length(data) + ?), 0) FROM pack"
        self.rows, self.bytes = self._db.execute(sums, (_OVERHEAD,)).fetchone()

    def _insert(self, pack: SealedPack, key: int | None = None) -> None:
        row = (key, pack.stream, pack.first, pack.rows, pack.data, pack_hash(pack.data))
        self._db.execute("INSERT INTO pack VALUES (?, ?, ?, ?, ?, ?)", row)
        self.rows += pack.rows
        self.bytes += len(pack.data) + _OVERHEAD

    def _delete(self, where: str, values: tuple[bytes | int, ...]) -> None:
        """Delete packs; `where` is one of the constant conditions of this module."""
        gone = self._db.execute(
            f"DELETE FROM pack WHERE {where} RETURNING rows, length(data)",  # noqa: S608  constant
            values,
        )
        for rows, size in gone.fetchall():
            self.rows -= rows
            self.bytes -= size + _OVERHEAD

    def _give_up(self, stream: bytes, first: int, rows: int) -> None:
        """Delete a damaged pack and put it on record as lost."""
        self._delete("stream = ? AND first = ?", (stream, first))
        self._db.execute("INSERT INTO lost VALUES (?, ?, ?)", (stream, first, first + rows))
        self._damaged.append((stream, first, first + rows))

    def _begin_stream(self) -> bytes:
        stream = self._new_stream()
        self._db.execute("INSERT INTO stream (stream, next) VALUES (?, 0)", (stream,))
        return stream

    def _keep_next(self) -> None:
        update = "UPDATE stream SET next = ? WHERE stream = ?"
        self._db.execute(update, (self._next, self._stream))

    def _forget_empty_streams(self) -> None:
        self._db.execute(
            "DELETE FROM stream WHERE stream != ? AND NOT EXISTS"
            " (SELECT 1 FROM pack p WHERE p.stream = stream.stream)",
            (self._stream,),
        )
        self._db.execute("DELETE FROM lost WHERE stream NOT IN (SELECT stream FROM stream)")


def _unwritable(error: sqlite3.Error) -> SpoolError:
    return SpoolError(f"The spool cannot be written: {error}. Check the disk.")
