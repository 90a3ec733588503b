"""Records of the workers' logs as the reactor reads them: their place, their fields, and whether they are right.

1. A record that is not right is an error of its own; its neighbours are none the worse.
2. Logs outlive versions: fields that older ones do not hold have a value here.
Must never live here: what a record means.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from device_sdk.wire import cbor
from hub.ports.journal.block import MAX_PAYLOAD, Block, Kind

Record = Mapping[str, Any]

_FIELDS: Mapping[int, Mapping[str, type]] = {
    Kind.FINDINGS: {
        "id": bytes,
        "slot": int,
        "metric": int,
        "kind": int,
        "severity": int,
        "time": int,
        "since": int,
        "surprise": float,
        "observed": float,
        "low": float,
        "high": float,
        "offset": int,
        "historical": bool,
        "hidden": bool,
        "cohort": int,
        "members": int,
        "stream": bytes,
        "seq": int,
    },
    Kind.DEAD_LETTERS: {
        "id": bytes,
        "slot": int,
        "topic": str,
        "code": int,
        "detail": str,
        "sha256": bytes,
        "size": int,
        "bytes": bytes,
        "time": int,
        "stream": bytes,
        "rows": list,
    },
    Kind.USAGE: {
        "slot": int,
        "meter": int,
        "start": int,
        "total": int,
        "before": int,
        "level": int,
        "late": int,
        "received": int,
    },
}
_ABSENT: Mapping[str, Any] = {
    "hidden": False,
    "cohort": 0,
    "members": 0,
    "stream": b"",
    "seq": 0,
    "rows": [],
    "received": 0,
}
"""What logs of earlier versions do not hold."""


class Entry(NamedTuple):
    """A record and its place: offset of its block in the log, position in the block."""

    offset: int
    position: int
    record: Record


def items(block: Block) -> list[Any]:
    """Return what a block holds, unchecked.

    Raises:
        ValueError: it cannot be read, or is no array.
    """
    found = cbor.decode(bytes(block.payload), max_bytes=MAX_PAYLOAD)
    if not isinstance(found, list):
        raise ValueError("the payload is not an array")  # noqa: TRY004  the log is wrong
    return found


def checked(kind: int, item: object) -> Record:
    """Check a record of a log.

    Args:
        kind: kind of the block it stood in.
        item: what was decoded.

    Returns:
        Exactly the keys of that kind. A float may have been written as an integer; a bound of a
        finding that is not a number becomes `None`: there is none.

    Raises:
        ValueError: not a map, or a field is missing or of another type.
    """
    if not isinstance(item, dict):
        raise ValueError("the record is not a map")  # noqa: TRY004  the log is wrong, no caller is
    record: dict[str, Any] = {}
    for name, kind_of_value in _FIELDS[kind].items():
        value = item.get(name, _ABSENT.get(name))
        if kind_of_value is float and type(value) is int:
            value = float(value)
        if type(value) is not kind_of_value:
            raise ValueError(f"field {name} is not of type {kind_of_value.__name__}")
        record[name] = value
    for bound in ("low", "high"):
        if bound in record and math.isnan(record[bound]):
            record[bound] = None
    return record
