"""Usage that is told over the API, event by event, and corrections by staff.

1. Each event of a batch has an answer of its own: accepted, duplicate or rejected with why. A batch never
   fails because of what is in it, and one that is sent again changes nothing.
2. An id counts once for a product. The same id with another meter, time or quantity is rejected: one of
   the two would be lost.
3. An event of a period that is over, and a correction of one, are counted where they belong; what they
   change of a statement is an adjustment (`usage_statements`), never a new past.
4. A correction says why, and stands in the audit trail.

What must never live here: telemetry, or what follows when something is used up (`usage_limits`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hub.errors import InvalidInputError
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import UsageEntry
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.credit_grants import BURNABLE, LARGEST
from hub.services.facts import load_one
from hub.services.tokens import Tokens
from hub.services.usage_limits import correct
from hub.services.usage_meters import ModelMeter, load_meters
from hub.services.usage_periods import metered, period

MOST: Final = 10_000
"""Events in one batch."""
OLDEST_NS: Final = 400 * 86_400 * 10**9
AHEAD_NS: Final = 300 * 10**9
"""How far (ns) an event's clock may be ahead of the hub's."""
_AT_ONCE: Final = 500
_EVENT: Final = "event"
_CORRECTION: Final = "correction"


class Fate(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was used.

    Args:
        id: chosen by who tells it, unique for the product.
        meter: name of the meter.
        at: when it was used, ns; `None`: now.
        quantity: how much, in the meter's unit.
    """

    id: str
    meter: str
    at: int | None
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one event; `why` of a rejected one is a sentence."""

    id: str
    fate: Fate
    why: str = ""


def tell(
    session: Session, caller: Caller, product_id: str, events: Sequence[Event], at: int
) -> list[Answer]:
    """Take a batch of events.

    Args:
        session: a writing session.
        caller: staff, or their API key, with `usage:write`.
        product_id: whose usage it is.
        events: at most `MOST`.
        at: now, ns.

    Returns:
        An answer for each event, in their order.

    Raises:
        InvalidInputError: too many events.
        NotFoundError: no such product.
    """
    caller.require(Scope.USAGE_WRITE)
    products.visible(session, caller, product_id)
    if len(events) > MOST:
        raise InvalidInputError(f"A batch has at most {MOST} events; send several.", most=MOST)
    meters = _meters(session, product_id)
    since = _since(session, product_id, at)
    answers: list[Answer] = []
    late: dict[int, int] = {}
    for start in range(0, len(events), _AT_ONCE):
        chunk = events[start : start + _AT_ONCE]
        answers += _take(session, caller, product_id, chunk, meters, since, late, at)
    _follow(session, product_id, meters, late, at)
    if any(answer.fate is Fate.ACCEPTED for answer in answers):
        changes.note(session, product_id)
    return answers


def correct_usage(
    session: Session,
    caller: Caller,
    product_id: str,
    event: Event,
    reason: str,
    tokens: Tokens,
    at: int,
) -> UsageEntry:
    """Add to, or take from, what was used at an instant.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: whose usage it is.
        event: what; a negative quantity takes away. Without an id it counts each time.
        reason: why, as support writes it down.
        tokens: source of an id.
        at: now, ns.

    Raises:
        InvalidInputError: no reason, no such meter, or an impossible time or quantity.
        NotFoundError: no such product.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    products.visible(session, caller, product_id)
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    meters = _meters(session, product_id)
    since = _since(session, product_id, at)
    read = _read(event, meters, since, at, negative=True)
    if isinstance(read, str):
        raise InvalidInputError(read)
    meter, quantity, when = read
    row = UsageEntry(
        product_id=product_id,
        meter=meter.number,
        event_id=f"~{event.id or tokens.new_id()}",
        kind=_CORRECTION,
        at=when,
        quantity=quantity,
        received_at=at,
        author=caller.actor,
        reason=reason,
    )
    same = session.scalar(_known(product_id, [row.event_id]))
    if same is not None:
        return same
    session.add(row)
    session.flush()
    about = {"meter": event.meter, "quantity": f"{event.quantity:f}", "at": when, "reason": reason}
    audit.record(session, at, caller.actor, "usage.correct", f"product:{product_id}", about)
    _follow(session, product_id, meters, {meter.number: when}, at)
    changes.note(session, product_id)
    return row


def _take(
    session: Session,
    caller: Caller,
    product_id: str,
    events: Sequence[Event],
    meters: dict[str, ModelMeter],
    since: int,
    late: dict[int, int],
    at: int,
) -> list[Answer]:
    known = {
        row.event_id: (row.meter, row.at, row.quantity)
        for row in session.scalars(_known(product_id, [event.id for event in events]))
    }
    answers, rows = [], []
    for event in events:
        read = _read(event, meters, since, at, negative=False)
        if isinstance(read, str):
            answers.append(Answer(event.id, Fate.REJECTED, read))
            continue
        meter, quantity, when = read
        if event.id in known:
            number, before, much = known[event.id]
            same = (number, much) == (meter.number, quantity) and event.at in {None, before}
            answers.append(
                Answer(event.id, Fate.DUPLICATE)
                if same
                else Answer(event.id, Fate.REJECTED, "This id was used for another event.")
            )
            continue
        known[event.id] = (meter.number, when, quantity)
        late[meter.number] = min(late.get(meter.number, when), when)
        answers.append(Answer(event.id, Fate.ACCEPTED))
        rows.append(
            {
                "product_id": product_id,
                "meter": meter.number,
                "event_id": event.id,
                "kind": _EVENT,
                "at": when,
                "quantity": quantity,
                "received_at": at,
                "author": caller.actor,
                "reason": "",
            }
        )
    if rows:
        # The unique index decides, should another transaction have taken one of them meanwhile.
        postgres = session.connection().dialect.name == "postgresql"
        insert = postgresql.insert if postgres else sqlite.insert
        session.execute(insert(UsageEntry).on_conflict_do_nothing(), rows)
    return answers


def _read(
    event: Event, meters: dict[str, ModelMeter], since: int, at: int, *, negative: bool
) -> tuple[ModelMeter, int, int] | str:
    """Return meter, quantity and time (ns) of an event, or why it cannot be counted."""
    meter = meters.get(event.meter)
    if meter is None:
        return f"The product has no meter {event.meter!r} that adds up."
    scaled = event.quantity.scaleb(meter.meter.decimals) if event.quantity.is_finite() else None
    if scaled is None or scaled != scaled.to_integral_value() or abs(scaled) > LARGEST:
        return f"The quantity must be a number with at most {meter.meter.decimals} decimals."
    if scaled < 0 and not negative:
        return "The quantity is negative. Usage is taken back by a correction."
    when = at if event.at is None else event.at
    if when > at + AHEAD_NS:
        return "The time lies in the future."
    if when < since:
        return "The time lies before the present owner had the product, or too long ago."
    return meter, int(scaled), when


def _follow(
    session: Session,
    product_id: str,
    meters: dict[str, ModelMeter],
    earliest: dict[int, int],
    at: int,
) -> None:
    """Have closed periods counted again that something was told of."""
    facts = load_one(session, product_id)
    zone = session.get_one(Product, product_id).zone
    for meter in meters.values():
        when = earliest.get(meter.number)
        if when is None:
            continue
        start, _ = period(facts, metered(facts, meter.meter.code), zone, at)
        if when < start:
            correct(session, product_id, meter.number, when, at)


def _meters(session: Session, product_id: str) -> dict[str, ModelMeter]:
    model = session.get_one(Product, product_id).model_number
    return {
        one.meter.code: one
        for one in load_meters(session).get(model, ())
        if one.meter.aggregation.name.lower() in BURNABLE - {"unique"}
    }


def _since(session: Session, product_id: str, at: int) -> int:
    owned = [one for one in load_one(session, product_id).ownership if one.end is None]
    return max([at - OLDEST_NS, *(one.start for one in owned)])


def _known(product_id: str, ids: Sequence[str]) -> Select[UsageEntry]:
    return select(UsageEntry).where(
        UsageEntry.product_id == product_id, UsageEntry.event_id.in_(ids)
    )
