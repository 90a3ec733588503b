"""Finds the line of a TOML file in which a part of its document begins.

1. The reader of TOML itself is asked, so whatever it can read has lines: a part begins in the
   first statement with which it is there.
"""

import tomllib
from collections.abc import Sequence
from typing import Any

Path = Sequence[str | int]
"""Keys and positions from the top of a document to one of its parts."""


def line_of(text: str, path: Path) -> int | None:
    """Return the line (from 1) in which a part begins.

    Args:
        text: a whole document in TOML that can be read.
        path: to the part. Of one that is not there, the nearest part around it is meant.

    Returns:
        The line; `None` if not even the first key is there.
    """
    lines = text.splitlines(keepends=True)
    present = _depth(tomllib.loads(text), path)
    if not present:
        return None
    # Once a part is there it stays there, so the first line with which it is there is found by
    # halving; as readable beginnings end behind a statement, that is the statement's first line.
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        end, document = _readable(lines, middle)
        if _depth(document, path) >= present:
            high = middle
        else:
            low = end + 1
    return low


def _readable(lines: list[str], end: int) -> tuple[int, dict[str, Any]]:
    """Read the shortest beginning of at least `end` lines that does not end inside a statement."""
    while True:
        try:
            return end, tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            end += 1
            if end > len(lines):
                raise


def _depth(document: Any, path: Path) -> int:
    """Return how many keys of a path lead somewhere."""
    for depth, key in enumerate(path):
        if isinstance(document, dict):
            if key not in document:
                return depth
            document = document[key]
        elif isinstance(document, list) and isinstance(key, int):
            if not 0 <= key < len(document):
                return depth
            document = document[key]
        else:
            return depth
    return len(path)
