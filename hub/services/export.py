"""All that the hub keeps of a person, in one archive: records as JSON, telemetry as CSV and Parquet.

1. What is theirs is what `personal_tables` says, of the households that they live in, within their time.
2. Nobody else's personal data is in it: other people are named by what they are to the person.
3. Records are read in one state of the database, telemetry (`export_series`) while the archive is sent.
4. Each export stands in the audit trail.
What must never live here: HTTP.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from hub.errors import NotFoundError
from hub.ports.archive.zip_stream import zipped
from hub.ports.database.access_tables import Look
from hub.ports.database.coverage_tables import CaseStep
from hub.ports.database.engine import write_session
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Membership, Person
from hub.ports.store.port import TelemetryStore
from hub.services import audit, households, sessions, usage
from hub.services.caller import Caller, Scope
from hub.services.export_series import Series, files_of, series_of
from hub.services.export_words import FILES, HEAD
from hub.services.looks import pseudonym
from hub.services.personal_data import Holding, Subject
from hub.services.personal_tables import HOLDINGS
from hub.services.relations import Relation
from hub.services.tokens import Tokens
from hub.services.usage_accounts import Accounts

_INSTANT: Final = re.compile(r"(^|_)(at|until|since|deadline|end|contact|due|before|after)$")
_EARLIEST_NS: Final = 10**15
_PEOPLE: Final = re.compile(r"(^|_)(by|person_id|assigned_to|taker_id|author|actor)$")
_LIVES_THERE: Final = (Relation.OWNER, Relation.MEMBER)


@dataclass(frozen=True, slots=True)
class Export:
    """An archive on its way; `pieces` can be read once."""

    file_name: str
    pieces: Iterator[bytes]


def export(
    engine: Engine,
    store: TelemetryStore,
    accounts: Accounts,
    caller: Caller,
    person_id: str,
    at: int,
    tokens: Tokens,
) -> Export:
    """Export all of a person's data.

    Args:
        engine: the database.
        store: where telemetry is; the archive, which has every row.
        accounts: what the meter counted.
        caller: the person, or an operator.
        person_id: whose data.
        at: now, ns.
        tokens: makes the pseudonyms of who looked.

    Raises:
        ForbiddenError: an API key that may not read products.
        NotFoundError: no such person, or not one the caller may export.
    """
    with write_session(engine) as session:
        person = session.get(Person, person_id)
        if person is None or not (caller.is_operator or caller.person_id == person_id):
            raise NotFoundError(f"There is no person {person_id}.", person=person_id)
        caller.require(Scope.PEOPLE_WRITE if caller.is_operator else Scope.TELEMETRY_READ)
        subject = Subject(person.id, person.email, _households(session, person_id, at))
        records = {
            holding.file: _records(session, holding, subject, tokens)
            for holding in HOLDINGS
            if holding.file is not None
        }
        owner = sessions.caller_of(session, person, at)
        records["usage"] = _usage(session, store, accounts, owner, subject, at)
        series = list(series_of(session, subject.households))
        audit.record(session, at, caller.actor, "person.export", subject.actor, {})
    name = f"homeport-{person_id}-{_text(at)[:10]}.zip"
    members = _members(store, records, series, at)
    return Export(name, zipped(members, at // 1_000_000_000))


def _households(session: Session, person_id: str, at: int) -> tuple[str, ...]:
    lives = households.in_force(at).where(
        Membership.person_id == person_id, Membership.relation.in_(_LIVES_THERE)
    )
    return tuple(sorted(row.owner_id for row in session.scalars(lives)))


def _records(
    session: Session, holding: Holding, subject: Subject, tokens: Tokens
) -> list[dict[str, Any]]:
    table = holding.table.__table__
    query = select(holding.table).where(holding.rows(subject)).order_by(*table.primary_key)
    keys = [attribute.key for attribute in holding.table.__mapper__.column_attrs]
    shown = [key for key in keys if key not in holding.hidden]
    found = []
    for row in session.scalars(query):
        record = {key: _shown(key, getattr(row, key), subject) for key in shown}
        if isinstance(row, CaseStep) and not row.by_staff and row.actor != subject.actor:
            record["message"] = None  # of somebody else of the household
        if isinstance(row, Look):
            record["person_id"] = pseudonym(tokens, row.person_id)
        found.append(record)
    return found


def _shown(name: str, value: Any, subject: Subject) -> Any:
    """Return a value as it leaves: times as text, and nobody named but the person."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: _shown(key, one, subject) for key, one in value.items()}
        case list():
            return [_shown(name, one, subject) for one in value]
        case str():
            return _named(name, value, subject)
        case int() if abs(value) >= _EARLIEST_NS and _INSTANT.search(name):
            return _text(value)
        case _:
            return value


def _named(name: str, value: str, subject: Subject) -> str:
    if value in {subject.actor, subject.person_id}:
        return "you"
    somebody = value.startswith("person:") or (_PEOPLE.search(name) and value not in {"hub", ""})
    return "somebody else" if somebody else value


def _usage(
    session: Session,
    store: TelemetryStore,
    accounts: Accounts,
    owner: Caller,
    subject: Subject,
    at: int,
) -> list[dict[str, Any]]:
    owned = select(Ownership.product_id).where(
        Ownership.owner_id.in_(subject.households), Ownership.ended_at.is_(None)
    )
    return [
        {
            "product_id": product_id,
            **{key: _plain(key, value) for key, value in asdict(one).items()},
        }
        for product_id in sorted(session.scalars(owned))
        for one in usage.of_product(session, store, accounts, owner, product_id, at)
    ]


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON has it: quantities and instants as text."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return {key: _plain(key, one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(name, one) for one in value]
        case int() if name in {"start", "end"} or name.endswith("_at"):
            return _text(value)
        case _:
            return value


def _members(
    store: TelemetryStore,
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    series: Sequence[Series],
    at: int,
) -> Iterator[tuple[str, Iterator[bytes]]]:
    yield "README.txt", iter([_readme(records, at).encode()])
    for name in sorted(records):
        text = json.dumps(records[name], ensure_ascii=False, indent=1)
        yield f"records/{name}.json", iter([text.encode() + b"\n"])
    for one in series:
        yield from files_of(store, one)


def _readme(records: Mapping[str, Sequence[Any]], at: int) -> str:
    hidden = {holding.file: holding.hidden for holding in HOLDINGS if holding.file}
    lines = []
    for language, (title, text) in enumerate(HEAD):
        lines += [title, "=" * len(title), _text(at), "", text, ""]
        for name in sorted(records):
            line = f"records/{name}.json ({len(records[name])}): {FILES[name][language]}"
            left_out = ", ".join(sorted(hidden.get(name, ())))
            lines.append(f"{line} [- {left_out}]" if left_out else line)
        lines.append("")
    return "\n".join(lines)


def _text(at: int) -> str:
    try:
        whole = datetime.fromtimestamp(at // 1_000_000_000, UTC)
    except (OverflowError, ValueError):
        return str(at)
    fraction = f".{at % 1_000_000_000:09d}" if at % 1_000_000_000 else ""
    return whole.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
