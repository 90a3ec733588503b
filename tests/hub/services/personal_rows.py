"""One row of each registered table about a person, with a text of its own in every column that takes one.

Rows are made from the tables' own columns, so a column that is added later is filled too.
"""

import re
from typing import Any

from sqlalchemy import JSON, Boolean, CheckConstraint, Float, LargeBinary, String, Text
from sqlalchemy.orm import Session

from hub.ports.database.schema import METADATA
from hub.ports.database.tables import Base
from hub.services.personal_data import Holding
from hub.services.personal_tables import HOLDINGS

CANARY = "zq7canary"
_WORDS = {
    "role": "customer",
    "relation": "viewer",
    "kind": "word",
    "answer": "declined",
    "severity": "notice",
    "locale": "en",
    "zone": "UTC",
}
_MADE_BY_THE_WORLD = {
    "person",
    "owner",
    "product",
    "device",
    "ownership",
    "audit",
    "erasure",
    "look",
}


def text_of(table: str, column: str) -> str:
    """Return the text that stands in a column, of no word or id's form."""
    return f"{CANARY} {table} {column}!"


def plant(session: Session, ids: dict[str, Any], at: int) -> list[str]:
    """Add a row to each table that keeps something of people; returns the tables.

    Args:
        session: a writing session.
        ids: what columns refer to, by column name or `table.column`.
        at: time of the rows, ns.
    """
    made: dict[str, Any] = {}
    planted = []
    for holding in sorted(HOLDINGS, key=_order):
        table = holding.table
        name = table.__tablename__
        if name in _MADE_BY_THE_WORLD:
            continue
        row = table(**_values(table, {**ids, **made}, at))
        session.add(row)
        session.flush()
        made[f"{name}.id"] = getattr(row, "id", None)
        planted.append(name)
    return planted


def _order(holding: Holding) -> int:
    """What is referred to comes first."""
    return METADATA.sorted_tables.index(METADATA.tables[holding.table.__tablename__])


def _values(table: type[Base], ids: dict[str, Any], at: int) -> dict[str, Any]:
    name = table.__tablename__
    values: dict[str, Any] = {}
    constraints = METADATA.tables[name].constraints
    checks = [str(one.sqltext) for one in constraints if isinstance(one, CheckConstraint)]
    for column in table.__table__.columns:
        key = column.key
        if f"{name}.{key}" in ids:
            given = ids[f"{name}.{key}"]
        elif column.foreign_keys:
            parent = next(iter(column.foreign_keys)).column
            given = ids.get(f"{parent.table.name}.{parent.name}")
        elif column.primary_key and column.autoincrement is True:
            continue
        else:
            given = _value(name, key, column.type, ids, at, checks)
        if given is not None:
            values[key] = given
    return values


def _one_of(key: str) -> re.Pattern[str]:
    """A check that a column has one of some words; the first is caught."""
    return re.compile(rf"^{key} IN \('([^']*)'")


def _value(table: str, key: str, kind: Any, ids: dict[str, Any], at: int, checks: list[str]) -> Any:
    chosen = dict(ids)
    allowed = [found[1] for one in checks if (found := _one_of(key).match(one))]
    if allowed and key not in ids:
        return allowed[0]
    if isinstance(kind, String | Text):
        chosen = {**_WORDS, **ids, "id": f"id of {table}"[-16:]}
        chosen |= dict.fromkeys((key,) if key.endswith("_by") else (), ids["actor"])
    if key in chosen:
        return chosen[key]
    if isinstance(kind, String | Text):
        return text_of(table, key)[: getattr(kind, "length", None)]
    some = {
        JSON: {"text": text_of(table, key)},
        Boolean: False,
        Float: 1.5,
        LargeBinary: f"{CANARY}{key}"[:16].encode(),
    }
    number = at if key.endswith("at") or key in {"since", "until"} else 1
    return next((value for of, value in some.items() if isinstance(kind, of)), number)
