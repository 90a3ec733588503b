"""How many dead letters are kept: the newest of each device, of all together, and so many bytes of frames.

1. The oldest go first. A device that sends nothing else takes no other's place: its own limit holds first.
2. One call deletes a few; whoever calls goes on while something is deleted.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, func, select, tuple_
from sqlalchemy.orm import Session

from hub.ports.database.record_tables import DeadLetter

STEP = 200
"""Letters that one call deletes, at most."""

_KEY = (DeadLetter.log, DeadLetter.offset, DeadLetter.position)
_AGE = (DeadLetter.at, *_KEY)


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """What the table may hold.

    Attributes:
        letters: of all devices together.
        of_device: of one device; frames that no device is known to have sent are one device more.
        frame_bytes: kept of frames, all together.
    """

    letters: int
    of_device: int
    frame_bytes: int


def thin(session: Session, limits: DeadLetterLimits, step: int = STEP) -> int:
    """Delete the oldest letters beyond the limits, at most `step` of them.

    Args:
        session: a writing session.
        limits: what may stay.
        step: letters deleted, at most.

    Returns:
        How many were deleted; 0 if everything is within the limits.
    """
    crowded = session.execute(
        select(DeadLetter.slot, func.count())
        .group_by(DeadLetter.slot)
        .having(func.count() > limits.of_device)
        .order_by(DeadLetter.slot)
        .limit(1)
    ).first()
    if crowded is not None:
        slot, count = crowded
        oldest = select(*_KEY).where(DeadLetter.slot == slot).order_by(*_AGE)
        return _delete(session, oldest, min(step, count - limits.of_device))
    # The lengths alone: neither database reads the frames for that.
    length = func.length(DeadLetter.sample)
    count, size = session.execute(select(func.count(), func.coalesce(func.sum(length), 0))).one()
    excess = count - limits.letters
    too_big = int(size) - limits.frame_bytes
    if too_big > 0:
        of_oldest = session.scalars(select(length).order_by(*_AGE).limit(step)).all()
        excess = max(excess, _reaching(of_oldest, too_big))
    if excess <= 0:
        return 0
    return _delete(session, select(*_KEY).order_by(*_AGE), min(step, excess))


def _reaching(lengths: Sequence[int], wanted: int) -> int:
    """Return how many of the lengths, from the first on, make `wanted`; all if they do not."""
    for count, total in enumerate(itertools.accumulate(lengths), 1):
        if total >= wanted:
            return count
    return len(lengths)


def _delete(session: Session, oldest: Select[str, int, int], count: int) -> int:
    keys = [tuple(row) for row in session.execute(oldest.limit(count))]
    session.execute(
        delete(DeadLetter).where(tuple_(*_KEY).in_(keys)),
        execution_options={"synchronize_session": False},
    )
    return len(keys)
