"""Every table says what it keeps of people, and what becomes of that."""

import pytest
from sqlalchemy import select

from hub.ports.database.schema import METADATA
from hub.services.personal_data import Blank, Keep, Subject
from hub.services.personal_tables import HOLDINGS, IMPERSONAL

_PROCESSES = {"wanted_by"}  # workers of the hub, not people
_NAMES_SOMEBODY = ("_by", "actor", "author", "email", "person_id", "owner_id", "assigned_to")


def _names_people(table_name: str) -> list[str]:
    table = METADATA.tables[table_name]
    keys = {key.column.table.name for key in table.foreign_keys}
    return [
        *(f"a reference to {name}" for name in sorted(keys & {"person", "owner"})),
        *(c.name for c in table.columns if c.name.endswith(_NAMES_SOMEBODY)),
    ]


def test_each_table_is_registered_once() -> None:
    held = {holding.table.__tablename__ for holding in HOLDINGS}
    tables = set(METADATA.tables)
    missing = tables - held - IMPERSONAL.keys()
    assert not missing, (
        f"{sorted(missing)}: say in hub/services/personal_tables.py what they keep of people "
        "(HOLDINGS), or why nothing (IMPERSONAL)"
    )
    assert not held & IMPERSONAL.keys()
    assert (held | IMPERSONAL.keys()) - tables <= {"alembic_version"}
    assert len(held) == len(HOLDINGS)


@pytest.mark.parametrize("name", sorted(IMPERSONAL.keys() & METADATA.tables.keys()))
def test_a_table_that_names_people_is_not_called_impersonal(name: str) -> None:
    assert set(_names_people(name)) <= _PROCESSES


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda one: one.table.__tablename__)
def test_conditions_and_columns_exist(holding: object) -> None:
    from hub.services.personal_data import Holding

    assert isinstance(holding, Holding)
    columns = set(holding.table.__table__.columns.keys())
    assert set(holding.hidden) <= columns
    if isinstance(holding.fate, Blank):
        assert set(holding.fate.values) <= columns
    if isinstance(holding.fate, Keep):
        assert holding.fate.why
    subject = Subject("p" * 16, "p@example.org", ("h" * 16,))
    assert str(select(holding.table).where(holding.rows(subject)))


def test_what_is_deleted_is_referred_to_only_by_what_went_before() -> None:
    from hub.services.personal_data import Delete

    place = {holding.table.__tablename__: i for i, holding in enumerate(HOLDINGS)}
    for i, holding in enumerate(HOLDINGS):
        if not isinstance(holding.fate, Delete):
            continue
        name = holding.table.__tablename__
        for table in METADATA.tables.values():
            for key in table.foreign_keys:
                if key.column.table.name != name:
                    continue
                referring = place.get(table.name)
                assert referring is not None, f"{table.name} refers to {name}"
                fate = HOLDINGS[referring].fate
                cleared = isinstance(fate, Blank) and key.parent.name in fate.values
                assert referring < i, f"{table.name} refers to {name}"
                assert cleared or isinstance(fate, Delete), f"{table.name} refers to {name}"
