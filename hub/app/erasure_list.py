"""The list of erasures outside of the database: a restored backup from before is erased again by it.

1. It holds ids and instants only: nothing that names anybody.
2. It is kept in the data folder and, where the hub takes backups, beside them; each is written whole, never shortened.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from hub.errors import StorageError
from hub.ports.journal.durability import write_whole

NAME: Final = "erasures.json"


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """An erasure.

    Args:
        at: when, ns since 1970 UTC.
        id: of the erasure.
        person_id: who was erased.
    """

    at: int
    id: str
    person_id: str


def read(path: Path) -> Sequence[Listed]:
    """Read a list; one that is not there is empty.

    Raises:
        StorageError: it is damaged.
    """
    try:
        return [Listed(**entry) for entry in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged ({error}). Take the copy beside the backups, or that of the data folder."
        ) from error


def add(path: Path, erasures: Iterable[Listed]) -> bool:
    """Add erasures to a list; those that it has already are left as they are.

    Returns:
        Whether the file was written.

    Raises:
        StorageError: it is damaged.
        OSError: it could not be written.
    """
    before = {one.id: one for one in read(path)}
    after = {one.id: one for one in erasures} | before
    if len(after) == len(before):
        return False
    entries = [asdict(one) for one in sorted(after.values())]
    write_whole(path, json.dumps(entries, indent=1).encode() + b"\n")
    return True
