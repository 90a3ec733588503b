"""What the hub keeps of a person: whose it is, how a table says so, and what becomes of it.

1. `Subject` names a person, the households that are theirs, and nothing else; conditions over tables
   are made from it here, so that export and erasure mean the same rows.
2. A `Holding` says of one table which rows are a subject's, how they leave in an export, and how they
   end. `personal_tables` has one for each table that refers to people.
3. What was measured is a household's by owner epoch or by time, as `own_time` has it.
What must never live here: which tables there are; telemetry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Boolean, ColumnElement, and_, exists, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.functions import GenericFunction

from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device
from hub.ports.database.tables import Base

Column: TypeAlias = InstrumentedAttribute[Any]
Condition: TypeAlias = ColumnElement[bool]
ERASED = "erased"
"""What stands in the place of a text that may not be empty."""


class _OctetsIn(GenericFunction[bool]):
    """Whether some bytes stand in others: `_OctetsIn(needle, whole)`."""

    type = Boolean()
    inherit_cache = True
    name = "octets_in"


@compiles(_OctetsIn)
def _position(element: Any, compiler: Any, **more: Any) -> str:
    needle, whole = (compiler.process(one, **more) for one in element.clauses)
    return f"position({needle} in {whole}) > 0"


@compiles(_OctetsIn, "sqlite")
def _instr(element: Any, compiler: Any, **more: Any) -> str:
    needle, whole = (compiler.process(one, **more) for one in element.clauses)
    return f"instr({whole}, {needle}) > 0"


@dataclass(frozen=True, slots=True)
class Subject:
    """A person and the households that are theirs.

    Args:
        person_id: the person.
        email: as stored; offers and invitations name people by it.
        households: whose things are theirs: to export, those they live in; to erase, those that
            end with them.
    """

    person_id: str
    email: str
    households: tuple[str, ...]

    @property
    def actor(self) -> str:
        """How records name the person."""
        return f"person:{self.person_id}"


Rows: TypeAlias = Callable[[Subject], Condition]


@dataclass(frozen=True, slots=True)
class Delete:
    """The rows go."""


@dataclass(frozen=True, slots=True)
class Blank:
    """The rows stay, their columns get these values; a callable is given the table's class."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Keep:
    """The rows stay as they are, and why."""

    why: str


Fate: TypeAlias = Delete | Blank | Keep


@dataclass(frozen=True, slots=True)
class Holding:
    """What one table keeps of a person.

    Args:
        table: its class.
        rows: which rows are a subject's.
        fate: what becomes of them when the person is erased.
        file: name in an export, without suffix; None: nothing of it leaves, `hidden` says why.
        hidden: columns that do not leave with the rows, and why.
    """

    table: type[Base]
    rows: Rows
    fate: Fate
    file: str | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)


def any_of(*several: Rows) -> Rows:
    """Rows that one of several conditions holds for."""
    return lambda subject: or_(*(one(subject) for one in several))


def of_person(column: Column) -> Rows:
    """Rows with the person's id."""
    return lambda subject: column == subject.person_id


def by_person(column: Column) -> Rows:
    """Rows whose author is the person."""
    return lambda subject: column == subject.actor


def of_household(column: Column) -> Rows:
    """Rows of the subject's households."""
    return lambda subject: column.in_(subject.households)


def to_address(column: Column) -> Rows:
    """Rows that name the person's e-mail address."""
    return lambda subject: column == subject.email


def of_epoch(epoch: Column, *, slot: Column | None = None, product: Column | None = None) -> Rows:
    """Rows of an owner epoch of a product that was the subject's.

    Args:
        epoch: the column with the epoch.
        slot: the column with the device slot, or
        product: the one with the product's id.
    """
    return _owned(lambda own, _subject: own.epoch == epoch, slot, product)


def of_time(at: Column, *, slot: Column | None = None, product: Column | None = None) -> Rows:
    """Rows of a product from a time in which it was the subject's; arguments as for `of_epoch`."""
    return _owned(
        lambda own, _subject: and_(
            own.started_at <= at, or_(own.ended_at.is_(None), at <= own.ended_at)
        ),
        slot,
        product,
    )


def of_product(product: Column) -> Rows:
    """Rows of a product that is the subject's now."""
    return _owned(lambda own, _subject: own.ended_at.is_(None), None, product)


def names(octets: Column) -> Rows:
    """Rows with bytes in which the person or one of the households is named."""
    return lambda subject: or_(
        *(
            _OctetsIn(literal(needle.encode()), octets)
            for needle in (subject.email, subject.person_id, *subject.households)
        )
    )


def child_of(column: Column, parent: Column, rows: Rows) -> Rows:
    """Rows that refer to a row of another table that is the subject's."""
    return lambda subject: column.in_(select(parent).where(rows(subject)))


def _owned(
    when: Callable[[Any, Subject], Condition], slot: Column | None, product: Column | None
) -> Rows:
    def rows(subject: Subject) -> Condition:
        own = aliased(Ownership)
        theirs = and_(own.owner_id.in_(subject.households), own.undone_at.is_(None))
        if product is not None:
            found = select(own.epoch).where(theirs, own.product_id == product)
            return exists(found.where(when(own, subject)).correlate(product.class_))
        assert slot is not None  # noqa: S101  one of the two is given
        device = aliased(Device)
        found = select(own.epoch).join(device, device.product_id == own.product_id)
        found = found.where(theirs, device.slot == slot, when(own, subject))
        return exists(found.correlate(slot.class_))

    return rows
