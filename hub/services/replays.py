"""Dead letters on their way back into the pipeline: one file for each, from the API to the worker.

1. A file appears whole, is taken by one worker, and goes when its rows are on disk. A worker that dies in between takes
   it again; rows with an identity are not stored twice by that.
2. Only the rows that were rejected are taken; what else the message holds was settled in its time.
Must never live here: what a worker does with it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from device_sdk.wire import cbor
from device_sdk.wire.errors import WireError
from hub.ports.journal.durability import make_folder, write_whole

SUFFIX = ".letter"
_MOST_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Replay:
    """A message to be taken again.

    Attributes:
        topic, payload: as received.
        received: when, ns since 1970 UTC; the time of rows that carry none.
        stream: of the rejected rows; None if they have no identity.
        rows: their seqs as `(start, end)`, `end` exclusive.
    """

    topic: str
    payload: bytes
    received: int
    stream: int | None
    rows: tuple[tuple[int, int], ...]

    def put(self, folder: Path, name: str) -> None:
        """Hand it to the worker that watches a folder.

        Raises:
            OSError: the file could not be written.
        """
        make_folder(folder)
        fields = {
            0: self.topic,
            1: self.payload,
            2: self.received,
            3: self.stream,
            4: [list(pair) for pair in self.rows],
        }
        write_whole(folder / f"{name}{SUFFIX}", cbor.encode(fields))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `put` wrote.

        Raises:
            ValueError: it is not one.
            OSError: it cannot be read.
        """
        try:
            fields: Any = cbor.decode(path.read_bytes(), max_bytes=_MOST_BYTES)
            rows = tuple((int(start), int(end)) for start, end in fields[4])
            return cls(str(fields[0]), bytes(fields[1]), int(fields[2]), fields[3], rows)
        except (WireError, LookupError, TypeError) as error:
            raise ValueError(f"{path.name} holds no dead letter: {error!r}") from error


def replays_in(folder: Path) -> list[Path]:
    """List what waits in a folder, which may not exist; the oldest name first."""
    return sorted(folder.glob(f"*{SUFFIX}"))
