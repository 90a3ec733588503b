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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias, cast

from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import UsageEntry
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.catalogue_facts import load_catalogue
from hub.services.credit_grants import BURNABLE
from hub.services.facts import load_one
from hub.services.tokens import Tokens
from hub.services.usage_limits import correct
from hub.services.usage_meters import ModelMeter, smallest
from hub.services.usage_periods import metered, period

MOST: Final = 10_000
"""Events in one batch."""
OLDEST_NS: Final = 400 * 86_400 * 10**9
AHEAD_NS: Final = 300 * 10**9
"""How far (ns) an event's clock may be ahead of the hub's."""
_AT_ONCE: Final = 1_000
_EVENT: Final = "event"
_CORRECTION: Final = "correction"
_TABLE: Final = cast("Table", UsageEntry.__table__)
_Entry: TypeAlias = tuple[int, int, int]
"""What is kept of an event: number of the meter, quantity in its smallest, time (ns)."""
OTHER: Final = "This id was used for another event."


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
        wrong: why it cannot even be read; the rest says nothing then.
    """

    id: str
    meter: str
    at: int | None
    quantity: Decimal
    wrong: str = ""


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
    read = [one.wrong or _read(one, meters, since, at, negative=False) for one in events]
    entries: dict[str, _Entry] = {}
    for event, entry in zip(events, read, strict=True):
        if not isinstance(entry, str):
            entries.setdefault(event.id, entry)
    new = _insert(session, caller.actor, product_id, entries, at)
    kept = entries | _kept(session, product_id, [id_ for id_ in entries if id_ not in new])
    if new:
        earliest: dict[int, int] = {}
        for meter, _, when in (entries[id_] for id_ in new):
            earliest[meter] = min(earliest.get(meter, when), when)
        _follow(session, product_id, meters, earliest, at)
        changes.note(session, product_id, changes.About.COUNTING)
    return _answers(events, read, kept, new)


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
        ConflictError: the id was used for another correction.
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
        meter=meter,
        event_id=f"~{event.id or tokens.new_id()}",
        kind=_CORRECTION,
        at=when,
        quantity=quantity,
        received_at=at,
        author=caller.actor,
        reason=reason,
    )
    same = session.scalar(
        select(UsageEntry).where(
            UsageEntry.product_id == product_id, UsageEntry.event_id == row.event_id
        )
    )
    if same is not None:
        if not _same(event, read, (same.meter, same.quantity, same.at)):
            raise ConflictError(
                f"Id {event.id} was used for another correction. Make up a new one.", id=event.id
            )
        return same
    session.add(row)
    session.flush()
    about = {"meter": event.meter, "quantity": f"{event.quantity:f}", "at": when, "reason": reason}
    audit.record(session, at, caller.actor, "usage.correct", f"product:{product_id}", about)
    _follow(session, product_id, meters, {meter: when}, at)
    changes.note(session, product_id, changes.About.COUNTING)
    return row


def _answers(
    events: Sequence[Event], read: Sequence[_Entry | str], kept: Mapping[str, _Entry], new: set[str]
) -> list[Answer]:
    """Answer each event by what is kept under its id; `new`: ids that this batch brought."""
    answers = []
    for event, entry in zip(events, read, strict=True):
        if isinstance(entry, str):
            answers.append(Answer(event.id, Fate.REJECTED, entry))
        elif event.id in new:
            new.remove(event.id)  # what comes after it in the batch is compared with it
            answers.append(Answer(event.id, Fate.ACCEPTED))
        elif _same(event, entry, kept[event.id]):
            answers.append(Answer(event.id, Fate.DUPLICATE))
        else:
            answers.append(Answer(event.id, Fate.REJECTED, OTHER))
    return answers


def _same(event: Event, entry: _Entry, kept: _Entry) -> bool:
    """Say whether an event is the one that is kept; one without a time is, whenever it comes."""
    return entry[:2] == kept[:2] and event.at in {None, kept[2]}


def _insert(
    session: Session, author: str, product_id: str, entries: Mapping[str, _Entry], at: int
) -> set[str]:
    """Keep events under ids that are new, and return those ids.

    The unique index decides, so it holds whatever another transaction does meanwhile.
    """
    rows = [
        {
            "product_id": product_id,
            "meter": meter,
            "event_id": event_id,
            "kind": _EVENT,
            "at": when,
            "quantity": quantity,
            "received_at": at,
            "author": author,
            "reason": "",
        }
        for event_id, (meter, quantity, when) in entries.items()
    ]
    if not rows:
        return set()
    postgres = session.connection().dialect.name == "postgresql"
    insert = (postgresql.insert if postgres else sqlite.insert)(_TABLE)
    insert = insert.on_conflict_do_nothing(index_elements=["product_id", "event_id"])
    return set(session.scalars(insert.returning(_TABLE.c.event_id), rows))


def _kept(session: Session, product_id: str, ids: Sequence[str]) -> dict[str, _Entry]:
    columns = (UsageEntry.event_id, UsageEntry.meter, UsageEntry.quantity, UsageEntry.at)
    found: dict[str, _Entry] = {}
    for start in range(0, len(ids), _AT_ONCE):
        query = select(*columns).where(
            UsageEntry.product_id == product_id,
            UsageEntry.event_id.in_(ids[start : start + _AT_ONCE]),
        )
        rows = session.execute(query).all()
        found |= {event_id: (meter, quantity, when) for event_id, meter, quantity, when in rows}
    return found


def _read(
    event: Event, meters: Mapping[str, ModelMeter], since: int, at: int, *, negative: bool
) -> _Entry | str:
    """Return what an event says, or why it cannot be counted."""
    meter = meters.get(event.meter)
    if meter is None:
        return f"The product has no meter {event.meter!r} that adds up."
    quantity = smallest(event.quantity, meter.meter.decimals)
    if quantity is None:
        return f"The quantity must be a number with at most {meter.meter.decimals} decimals."
    if quantity < 0 and not negative:
        return "The quantity is negative. Usage is taken back by a correction."
    when = at if event.at is None else event.at
    if when > at + AHEAD_NS:
        return "The time lies in the future."
    if when < since:
        return "The time lies before the present owner had the product, or too long ago."
    return meter.number, quantity, when


def _follow(
    session: Session,
    product_id: str,
    meters: Mapping[str, ModelMeter],
    earliest: Mapping[int, int],
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
        for one in load_catalogue(session).meters.get(model, ())
        if one.meter.aggregation.name.lower() in BURNABLE - {"unique"}
    }


def _since(session: Session, product_id: str, at: int) -> int:
    owned = [one for one in load_one(session, product_id).ownership if one.end is None]
    return max([at - OLDEST_NS, *(one.start for one in owned)])
