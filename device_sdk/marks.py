"""High-water marks: how far a device has come, kept apart from the state they guard.

1. A state file that was put back, or taken away, is noticed because the marks say that there was a newer
   one. They are kept in the spool and, if the product names a file for it, once more elsewhere.
2. The highest of what the places say counts. A place that cannot be read, or speaks of another device,
   says nothing.
3. Whoever puts back every place at once is not noticed here, only by the hub at the next birth. A place
   that an image of the disk does not hold (a secure element, another partition) closes that gap.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from device_sdk import files

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """The farthest that a device has come.

    Attributes:
        state: version of the newest state that was in force.
        entitlement: version of the newest entitlement token.
        epoch: owner epoch of that state.
        hub_ns: lower bound of the hub's time, ns since 1970.
    """

    state: int = 0
    entitlement: int = 0
    epoch: int = 0
    hub_ns: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere marks can be kept.

    Args:
        read: what was written last, or None.
        write: keeps it, durably on return.
    """

    read: Callable[[], bytes | None]
    write: Callable[[bytes], None]

    @classmethod
    def file(cls, path: Path) -> "Place":
        """Return a place in a file of its own."""

        def read() -> bytes | None:
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

        def write(data: bytes) -> None:
            files.write_private(path, data)

        return cls(read, write)


class Marks:
    """The marks of one device in all of their places.

    Args:
        device_id: whose they are; those of an earlier enrolment in the same folder do not count.
        places: where they are kept.
    """

    def __init__(self, device_id: str, places: Sequence[Place] = ()) -> None:
        self._device_id = device_id
        self._places = places
        self._mark = self._highest()

    @property
    def mark(self) -> Mark:
        """The highest mark known."""
        return self._mark

    def keep(self, mark: Mark) -> None:
        """Keep a mark in every place; one that fails is logged, and the others count."""
        self._mark = mark
        data = json.dumps({"device": self._device_id, **asdict(mark)}).encode("ascii")
        for place in self._places:
            try:
                place.write(data)
            except Exception:  # noqa: BLE001  a worn secure element must not stop the product
                _log.exception("A high-water mark could not be kept.")

    def _highest(self) -> Mark:
        found = [mark for place in self._places if (mark := self._read(place)) is not None]
        if not found:
            return Mark()
        newest = max(found, key=lambda mark: (mark.state, mark.hub_ns))
        return Mark(newest.state, max(m.entitlement for m in found), newest.epoch, newest.hub_ns)

    def _read(self, place: Place) -> Mark | None:
        try:
            data = place.read()
            facts = json.loads(data) if data is not None else {}
            if facts.pop("device", None) != self._device_id:
                return None
            mark = Mark(**facts)
        except Exception:  # noqa: BLE001  whatever is wrong there, the other places still count
            _log.exception("A high-water mark could not be read.")
            return None
        return mark if all(type(value) is int for value in asdict(mark).values()) else None
