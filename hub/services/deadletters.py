"""Frames that will never be accepted, for support to look at, and for operators to have taken again.

1. The reactor keeps them; nothing is decided from them.
2. Only staff see them: a frame may hold anything.
3. A letter is replayed once, under its original identity, and that stands in the audit trail.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from device_sdk.wire import cbor
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.topics import ROOT, shard_of
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import DeadLetter
from hub.services import audit
from hub.services.caller import Caller, Scope
from hub.services.replays import Replay

_LOG = "deadletters"
_MOST_BYTES = 1 << 20
SAMPLE_BYTES = 1_024
"""What a list shows of a frame; a single view shows all that is kept."""


Found = tuple[DeadLetter, str | None]
"""A letter and the id of the device that sent it."""


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """One dead letter.

    `reason` is the word of its reject code; `log`, `offset` and `position` are its identity and,
    with `at`, its place in the list. `content` is what a single view adds: the frame as JSON values
    if it can be read at all.
    """

    at: int
    log: str
    offset: int
    position: int
    device_id: str | None
    channel: str
    reason: str
    detail: str
    sha256: bytes
    size: int
    sample: bytes
    replayed_at: int | None
    content: Any = None

    @property
    def id(self) -> str:
        """Worker, offset and position, as the API and the command line name a letter."""
        return f"{self.log.rpartition('/')[2]}-{self.offset}-{self.position}"


Place = tuple[int, str, int, int]
"""`(at, log, offset, position)` of a letter."""


def listed(
    session: Session,
    caller: Caller,
    *,
    device_id: str | None = None,
    reason: str | None = None,
    since: int | None = None,
    until: int | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> list[DeadLetterView]:
    """List dead letters, newest first, with the first `SAMPLE_BYTES` of each frame.

    Args:
        session: any session.
        caller: staff with `records:read`.
        device_id: only of this device.
        reason: only with this word.
        since: only received from this instant on, ns.
        until: only received before this instant, ns.
        after: place of the last letter of the page before.
        limit: at most so many.

    Raises:
        InvalidInputError: there is no such reason.
    """
    caller.require(Scope.RECORDS_READ)
    place = (DeadLetter.at, DeadLetter.log, DeadLetter.offset, DeadLetter.position)
    query = (
        select(DeadLetter, Device.device_id)
        .outerjoin(Device, Device.slot == DeadLetter.slot)
        .order_by(*(column.desc() for column in place))
        .limit(limit)
    )
    if device_id is not None:
        query = query.where(Device.device_id == device_id)
    if reason is not None:
        query = query.where(DeadLetter.reason == _code(reason))
    if since is not None:
        query = query.where(DeadLetter.at >= since)
    if until is not None:
        query = query.where(DeadLetter.at < until)
    if after is not None:
        query = query.where(tuple_(*place) < after)
    found = session.execute(query)
    return [
        replace(_view((row, device)), sample=row.sample[:SAMPLE_BYTES]) for row, device in found
    ]


def view(session: Session, caller: Caller, letter_id: str) -> DeadLetterView:
    """Return one dead letter with its content.

    Raises:
        NotFoundError: there is none of this name.
    """
    caller.require(Scope.RECORDS_READ)
    row = _one(session, letter_id)
    letter = row[0]
    whole = letter.size == len(letter.sample)
    return _view(row, _content(letter.channel, letter.sample) if whole else None)


def replay(
    session: Session, caller: Caller, letter_id: str, data_dir: Path | None, at: int
) -> DeadLetterView:
    """Hand a dead letter to its worker, to be taken once more.

    Args:
        session: a writing session.
        caller: an operator.
        letter_id: which one.
        data_dir: folder of the hub's files, where its worker looks.
        at: now, ns.

    Raises:
        NotFoundError: there is none of this name.
        ConflictError: it was replayed before, or cannot be: nobody enrolled sent it, it is not kept whole, or other
            rows are stored under its identity.
    """
    caller.require(Scope.RECORDS_REPLAY)
    letter, device_id = _one(session, letter_id)
    why = _not_replayable(letter, device_id, data_dir)
    if why is not None:
        raise ConflictError(f"Dead letter {letter_id} cannot be replayed: {why}", letter=letter_id)
    letter.replayed_at = at
    audit.record(
        session,
        at,
        caller.actor,
        "deadletter.replay",
        f"device:{device_id}",
        {"letter": letter_id, "reason": _word(letter.reason), "sha256": letter.hash.hex()},
    )
    session.flush()
    rows = letter.rows or {}
    order = Replay(
        topic=f"{ROOT}/{shard_of(device_id)}/{device_id}/up/{letter.channel}",
        payload=letter.sample,
        received=letter.at,
        stream=int(rows["stream"], 16) if rows else None,
        rows=tuple((start, end) for start, end in rows.get("ranges", ())),
    )
    # Before the commit: should that fail the letter is taken all the same, but never promised and not taken.
    assert data_dir is not None  # noqa: S101  asked above
    order.put(data_dir / letter.log / "replay", f"{letter.offset:020d}-{letter.position}")
    return _view((letter, device_id))


def _not_replayable(letter: DeadLetter, device_id: str | None, data_dir: Path | None) -> str | None:
    """Say why a letter cannot be taken again, as the end of a sentence; `None` if it can."""
    if letter.replayed_at is not None:
        return "it was before. If it was rejected again, there is a newer one."
    if letter.reason == RejectCode.CONFLICT:
        return "other rows are stored under its identity; its device sends it under a new one."
    if device_id is None:
        return "no enrolled device sent it."
    if letter.size != len(letter.sample):
        return f"only its first {len(letter.sample)} of {letter.size} bytes were kept."
    if data_dir is None:
        return "no worker of this hub takes replays."
    return None


def _one(session: Session, letter_id: str) -> Found:
    worker, _, place = letter_id.partition("-")
    offset, _, position = place.partition("-")
    row = None
    if worker.isdecimal() and offset.isdecimal() and position.isdecimal():
        row = session.execute(
            select(DeadLetter, Device.device_id)
            .outerjoin(Device, Device.slot == DeadLetter.slot)
            .where(
                DeadLetter.log == f"{_LOG}/{worker}",
                DeadLetter.offset == int(offset),
                DeadLetter.position == int(position),
            )
        ).first()
    if row is None:
        raise NotFoundError(f"There is no dead letter {letter_id}.", letter=letter_id)
    return row[0], row[1]


def _view(row: Found, content: Any = None) -> DeadLetterView:
    letter, device_id = row
    return DeadLetterView(
        at=letter.at,
        log=letter.log,
        offset=letter.offset,
        position=letter.position,
        device_id=device_id,
        channel=letter.channel,
        reason=_word(letter.reason),
        detail=letter.detail,
        sha256=letter.hash,
        size=letter.size,
        sample=letter.sample,
        replayed_at=letter.replayed_at,
        content=content,
    )


def _content(channel: str, frame: bytes) -> Any:
    """Read a frame as JSON values, whatever rules of the wire it breaks; `None` if it is neither JSON nor CBOR."""
    try:
        if channel != "t" and frame[:1] in {b"{", b"["}:
            return json.loads(frame, parse_constant=str)
        return _json_of(cbor.decode(frame, max_bytes=_MOST_BYTES))
    except (WireError, ValueError, RecursionError):
        return None


def _json_of(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _json_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_of(item) for item in value]
    if hasattr(value, "tag"):
        return {"tag": value.tag, "value": _json_of(value.value)}
    # JSON has no NaN.
    return value if not isinstance(value, float) or value - value == 0 else str(value)


def _word(code: int) -> str:
    try:
        return RejectCode(code).name.lower()
    except ValueError:
        return str(code)


def _code(word: str) -> int:
    try:
        return int(RejectCode[word.upper()])
    except KeyError:
        words = ", ".join(code.name.lower() for code in RejectCode)
        raise InvalidInputError(f"{word!r} is no reason; there are {words}.", reason=word) from None
