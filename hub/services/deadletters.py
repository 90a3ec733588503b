"""Frames that will never be accepted, for support to look at.

1. The reactor keeps them; nothing is decided from them.
2. Only staff see them: a frame may hold anything.
"""

from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from device_sdk.wire.codes import RejectCode
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import DeadLetter
from hub.services.caller import Caller, Scope


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """One dead letter.

    `reason` is the word of its reject code; `log`, `offset` and `position` are its identity and,
    with `at`, its place in the list.
    """

    at: int
    log: str
    offset: int
    position: int
    device_id: str | None
    channel: str
    reason: str
    sha256: bytes
    size: int
    sample: bytes


Place = tuple[int, str, int, int]
"""`(at, log, offset, position)` of a letter."""


def listed(
    session: Session,
    caller: Caller,
    *,
    device_id: str | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> list[DeadLetterView]:
    """List dead letters, newest first.

    Args:
        session: any session.
        caller: staff with `records:read`.
        device_id: only of this device.
        after: place of the last letter of the page before.
        limit: at most so many.
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
    if after is not None:
        query = query.where(tuple_(*place) < after)
    return [
        DeadLetterView(
            at=row.at,
            log=row.log,
            offset=row.offset,
            position=row.position,
            device_id=device,
            channel=row.channel,
            reason=_word(row.reason),
            sha256=row.hash,
            size=row.size,
            sample=row.sample,
        )
        for row, device in session.execute(query)
    ]


def _word(code: int) -> str:
    try:
        return RejectCode(code).name.lower()
    except ValueError:
        return str(code)
