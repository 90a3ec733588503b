"""The hub's own records: the audit chain, positions in logs, dead letters, settings.

1. Audit rows are only ever appended, each carrying the hash of the one before.
2. A cursor moves in the same transaction as what was done with the log up to it.
"""

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import (
    Base,
    Big,
    Digest,
    Document,
    Instant,
    Name,
    OptionalDocument,
    big_number,
)


class Audit(Base):
    """One privileged act; `digest` covers the row and `previous`, the digest of the row before."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "object", "id"),)

    id: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=False)
    at: Mapped[Instant]
    actor: Mapped[Name]
    action: Mapped[Name]
    object: Mapped[Name]
    details: Mapped[Document]
    previous: Mapped[Digest]
    digest: Mapped[Digest]


class Cursor(Base):
    """How far a reader of a log has come, and the fencing token of the segment that it read last.

    A reader that goes on after a restart finds out by the token whether another writer has taken the place of what was
    read (`JournalReader`).
    """

    __tablename__ = "cursor"

    name: Mapped[Name] = mapped_column(primary_key=True)
    offset: Mapped[Big]
    token: Mapped[Big] = mapped_column(default=0, server_default="0")


class DeadLetter(Base):
    """A frame that will never be accepted, kept for support.

    `rows` holds its stream (hex) and the ranges of seqs that were rejected, null where they have no
    identity. `replayed_at` is when somebody had it taken again.
    """

    __tablename__ = "dead_letter"
    __table_args__ = (Index(None, "slot", "at"), Index(None, "at"))

    log: Mapped[Name] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[Instant]
    slot: Mapped[Big]
    channel: Mapped[Name]
    reason: Mapped[int]
    hash: Mapped[bytes]
    size: Mapped[int]
    sample: Mapped[bytes]
    detail: Mapped[str] = mapped_column(default="", server_default=text("''"))
    rows: Mapped[OptionalDocument]
    replayed_at: Mapped[Instant | None]


class Setting(Base):
    """A fact about this hub itself, such as its incarnation."""

    __tablename__ = "setting"

    name: Mapped[Name] = mapped_column(primary_key=True)
    value: Mapped[str]
