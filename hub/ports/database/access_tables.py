"""Who looked at whose product and why, and who let them: looks, reasons, consents, broken glass.

1. Looks are only ever appended, each carrying the hash of the one before; the oldest are pruned.
2. A look is kept once for each person, product, part, reason and quarter of an hour.
"""

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Digest, Id, Instant, Name, big_number

_OF_HOUSEHOLD = text("product_id IS NULL")


class Look(Base):
    """Somebody of the staff or of a partner looked at a part of a household's product, or (null) at its money.

    `reason_key` is the hash of reason and case; `previous` the digest of the row before.
    """

    __tablename__ = "look"
    __table_args__ = (
        UniqueConstraint("product_id", "person_id", "part", "reason_key", "quarter"),
        Index(
            "uq_look_household",
            "owner_id",
            "person_id",
            "part",
            "reason_key",
            "quarter",
            unique=True,
            sqlite_where=_OF_HOUSEHOLD,
            postgresql_where=_OF_HOUSEHOLD,
        ),
        Index(None, "product_id", "id"),
    )

    id: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=False)
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"))
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"))
    person_id: Mapped[Name]
    role: Mapped[Name]
    part: Mapped[Name]
    reason: Mapped[Name]
    case_reference: Mapped[Name | None]
    reason_key: Mapped[Digest]
    quarter: Mapped[Instant]
    at: Mapped[Instant] = mapped_column(index=True)
    previous: Mapped[Digest]
    digest: Mapped[Digest]


class StatedReason(Base):
    """Why somebody of the staff looks at a product, remembered until `ends_at`."""

    __tablename__ = "stated_reason"

    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    reason: Mapped[Name]
    case_reference: Mapped[Name | None]
    stated_at: Mapped[Instant]
    ends_at: Mapped[Instant]


class Consent(Base):
    """A household lets support see what its products measured, `[starts_at, ends_at)`.

    `product_id` null means all products, `case_reference` null any case.
    """

    __tablename__ = "consent"

    id: Mapped[Id] = mapped_column(primary_key=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"))
    case_reference: Mapped[Name | None]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant]
    given_by: Mapped[Name]
    withdrawn_at: Mapped[Instant | None]
    withdrawn_by: Mapped[Name | None]


class BrokenGlass(Base):
    """Somebody of the staff saw what a product measured without consent, `[starts_at, ends_at)`."""

    __tablename__ = "broken_glass"
    __table_args__ = (Index(None, "product_id", "person_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"))
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"))
    reason: Mapped[Name]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant]
