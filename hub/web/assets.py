"""The files that browsers fetch: styles, scripts, the icon; ours and vendored ones.

1. All are read once from the package and served from memory; there is no path into a file system.
2. Addresses carry a digest of all files, so browsers keep them for good and never mix versions.
3. Vendored files are listed with their checksums in `static/MANIFEST.sha256`; a test compares.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Self

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; `packed` is it with gzip."""

    content: bytes
    packed: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Assets:
    """All files, by their path below `static`; `version` changes with any of them."""

    version: str
    found: Mapping[str, Asset]

    @classmethod
    def load(cls) -> Self:
        """Read the files of the package."""
        contents = dict(sorted(_walk(files("hub.web") / "static", "")))
        digest = hashlib.sha256()
        for name, content in contents.items():
            digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        found = {
            name: Asset(
                content, gzip.compress(content, mtime=0), _TYPES[PurePosixPath(name).suffix]
            )
            for name, content in contents.items()
        }
        return cls(digest.hexdigest()[:16], found)

    def address(self, name: str) -> str:
        """Return the address of a file.

        Raises:
            KeyError: there is no such file.
        """
        if name not in self.found:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif PurePosixPath(entry.name).suffix in _TYPES:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
