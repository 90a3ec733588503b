"""A disk for SQLite that crashes: what was not synced is lost in part, torn, and in any order.

It is a SQLite VFS (https://www.sqlite.org/vfs.html) in memory, registered with the library that Python's own `sqlite3`
uses, so that the product's code runs on it unchanged.

1. A write is seen at once and safe only after the sync that follows it.
2. A crash keeps of each unsynced write nothing, all, or the first sectors; which, is drawn from a seed.
3. With a `fuse` the crash comes in the midst of an operation, after so many calls.
"""

import _sqlite3
import ctypes as c
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

_OK, _IOERR, _NOT_FOUND, _SHORT_READ = 0, 10, 12, 10 | (2 << 8)
_SECTOR: Final = 512
_P, _I, _L = c.c_void_p, c.c_int, c.c_int64


class _File(c.Structure):
    _fields_ = (("methods", _P), ("id", _L))


def _call(*arguments: Any) -> Any:
    return c.CFUNCTYPE(_I, *arguments)


_METHODS: Final = {
    "close": _call(_P),
    "read": _call(_P, _P, _I, _L),
    "write": _call(_P, _P, _I, _L),
    "truncate": _call(_P, _L),
    "sync": _call(_P, _I),
    "size": _call(_P, c.POINTER(_L)),
    "lock": _call(_P, _I),
    "unlock": _call(_P, _I),
    "reserved": _call(_P, c.POINTER(_I)),
    "control": _call(_P, _I, _P),
    "sector": _call(_P),
    "characteristics": _call(_P),
}
_SERVICES: Final = {
    "open": _call(_P, c.c_char_p, _P, _I, c.POINTER(_I)),
    "delete": _call(_P, c.c_char_p, _I),
    "access": _call(_P, c.c_char_p, _I, c.POINTER(_I)),
    "full_path": _call(_P, c.c_char_p, _I, _P),
    "dl_open": _P,
    "dl_error": _P,
    "dl_sym": _P,
    "dl_close": _P,
    "randomness": _call(_P, _I, _P),
    "sleep": _call(_P, _I),
    "time": _call(_P, c.POINTER(c.c_double)),
    "last_error": _call(_P, _I, _P),
}


class _IoMethods(c.Structure):
    _fields_ = (("version", _I), *_METHODS.items())


class _Vfs(c.Structure):
    _fields_ = (
        ("version", _I),
        ("file_size", _I),
        ("path_size", _I),
        ("next", _P),
        ("name", c.c_char_p),
        ("data", _P),
        *_SERVICES.items(),
    )


_alive: list["CrashDisk"] = []
"""Every disk there was: SQLite may call one for as long as a connection is not collected."""


@dataclass
class _Content:
    safe: bytes = b""
    seen: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)


class CrashDisk:
    """Files in memory, by path.

    Args:
        seed: of what a crash keeps.
        syncs: whether a sync does what it says; a test of the test says no.
    """

    def __init__(self, seed: int, *, syncs: bool = True) -> None:
        self._chance = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
        self._syncs = syncs
        self._files: dict[bytes, _Content] = {}
        self._handles: dict[int, _Content] = {}
        self.fuse: int | None = None
        self._library = c.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = _P
        self._library.sqlite3_vfs_register.argtypes = (_P, _I)
        self._library.sqlite3_vfs_unregister.argtypes = (_P,)
        self._methods = _IoMethods(1, **{k: t(self._guarded(k)) for k, t in _METHODS.items()})
        services = {k: t(getattr(self, f"_{k}")) for k, t in _SERVICES.items() if t is not _P}
        self._vfs = _Vfs(1, c.sizeof(_File), 512, None, b"crash", None, **services)
        _alive.append(self)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Let every connection that is opened in a block live on this disk."""
        usual = self._library.sqlite3_vfs_find(None)
        self._library.sqlite3_vfs_register(c.byref(self._vfs), 1)
        try:
            yield
        finally:
            self._library.sqlite3_vfs_unregister(c.byref(self._vfs))
            self._library.sqlite3_vfs_register(usual, 1)

    @property
    def dead(self) -> bool:
        """Whether the fuse has blown: no call succeeds until `crash`."""
        return self.fuse is not None and self.fuse <= 0

    def die(self) -> None:
        """Let every call fail from now on; close what is open, then call `crash`."""
        self.fuse = 0

    def crash(self) -> None:
        """Lose what was not synced, in part, and work again."""
        self.fuse = None
        for content in self._files.values():
            kept = bytearray(content.safe)
            for at, data in content.pending:
                choice = self._chance.randrange(3)
                if choice == 0:
                    continue
                if data is None:
                    del kept[at:]
                    continue
                part = (
                    data
                    if choice == 1
                    else data[: self._chance.randrange(len(data)) // _SECTOR * _SECTOR]
                )
                _put(kept, at, part)
            content.safe, content.seen, content.pending = bytes(kept), kept, []

    def _guarded(self, name: str) -> Callable[..., int]:
        deed = getattr(self, f"_file_{name}")

        def call(file: int, *arguments: Any) -> int:
            content = self._handles[_File.from_address(file).id]
            if name in {"write", "truncate", "sync"}:
                if self.dead:
                    return _IOERR
                if self.fuse is not None:
                    self.fuse -= 1
            return int(deed(content, *arguments))

        return call

    def _open(self, _: int, name: bytes | None, file: int, flags: int, out: Any) -> int:
        content = _Content() if name is None else self._files.setdefault(name, _Content())
        key = max(self._handles, default=0) + 1
        self._handles[key] = content
        handle = _File.from_address(file)
        handle.methods, handle.id = c.addressof(self._methods), key
        if out:
            out[0] = flags
        return _OK

    def _delete(self, _: int, name: bytes, __: int) -> int:
        if self.dead:
            return _IOERR
        self._files.pop(name, None)
        return _OK

    def _access(self, _: int, name: bytes, __: int, out: Any) -> int:
        out[0] = int(name in self._files)
        return _OK

    def _full_path(self, _: int, name: bytes, size: int, out: int) -> int:
        c.memmove(out, name + b"\0", min(len(name) + 1, size))
        return _OK

    def _randomness(self, _: int, size: int, out: int) -> int:
        c.memmove(out, self._chance.randbytes(size), size)
        return size

    def _sleep(self, _: int, microseconds: int) -> int:
        return microseconds

    def _time(self, _: int, out: Any) -> int:
        out[0] = 2_460_000.5
        return _OK

    def _last_error(self, _: int, __: int, ___: int) -> int:
        return _OK

    def _file_close(self, _: _Content) -> int:
        return _OK

    def _file_read(self, content: _Content, out: int, size: int, at: int) -> int:
        data = bytes(content.seen[at : at + size])
        c.memmove(out, data.ljust(size, b"\0"), size)
        return _OK if len(data) == size else _SHORT_READ

    def _file_write(self, content: _Content, data: int, size: int, at: int) -> int:
        written = c.string_at(data, size)
        _put(content.seen, at, written)
        content.pending.append((at, written))
        return _OK

    def _file_truncate(self, content: _Content, size: int) -> int:
        del content.seen[size:]
        content.pending.append((size, None))
        return _OK

    def _file_sync(self, content: _Content, _: int) -> int:
        if self._syncs:
            content.safe, content.pending = bytes(content.seen), []
        return _OK

    def _file_size(self, content: _Content, out: Any) -> int:
        out[0] = len(content.seen)
        return _OK

    def _file_lock(self, _: _Content, __: int) -> int:
        return _OK

    _file_unlock = _file_lock

    def _file_reserved(self, _: _Content, out: Any) -> int:
        out[0] = 0
        return _OK

    def _file_control(self, _: _Content, __: int, ___: int) -> int:
        return _NOT_FOUND

    def _file_sector(self, _: _Content) -> int:
        return _SECTOR

    def _file_characteristics(self, _: _Content) -> int:
        return 0


def _put(into: bytearray, at: int, data: bytes) -> None:
    if len(into) < at:
        into.extend(bytes(at - len(into)))
    into[at : at + len(data)] = data


def available() -> bool:
    """Whether Python's SQLite is a library that a disk can be registered with."""
    return hasattr(c.CDLL(_sqlite3.__file__), "sqlite3_vfs_register")
