"""Erasures of people: what was asked for, what of it is still to come, and which telemetry goes.

1. A row names people and households by their ids only: they stand for nobody once the rows that they
   named are empty.
2. A telemetry erasure stays for ever: rows of that time that a product sends later are not kept either.
"""

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Document, Id, Instant, Items, Name, Number, big_number


class Erasure(Base):
    """A person whose data was erased, `households` with them; `finished_at` when nothing is left to do.

    `counted` says how many rows of which table went; `parts` when each part that takes longer was
    done, null for those still to come.
    """

    __tablename__ = "erasure"

    id: Mapped[Id] = mapped_column(primary_key=True)
    person_id: Mapped[Id] = mapped_column(index=True)
    households: Mapped[Items]
    at: Mapped[Instant]
    asked_by: Mapped[Name]
    counted: Mapped[Document]
    parts: Mapped[Document]
    finished_at: Mapped[Instant | None] = mapped_column(index=True)


class TelemetryErasure(Base):
    """Rows of a product that are to go: of these owner epochs and of this stretch of time, both."""

    __tablename__ = "telemetry_erasure"

    id: Mapped[Number]
    erasure_id: Mapped[Id] = mapped_column(ForeignKey("erasure.id"), index=True)
    slot: Mapped[int] = mapped_column(big_number, ForeignKey("device.slot"))
    first_epoch: Mapped[int] = mapped_column(BigInteger())
    last_epoch: Mapped[int] = mapped_column(BigInteger())
    starts_at: Mapped[Instant | None]
    ends_at: Mapped[Instant | None]
