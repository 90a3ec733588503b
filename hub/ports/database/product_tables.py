"""Products as they were made, the devices they become when they enrol, and their certificates.

1. A product is a manufactured unit; it exists before anyone owns it and before it ever connects.
2. A device slot is never reused; one product has one device for life.
3. `desired` and `reported` are configuration maps of text to null, bool, int, float or text.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import (
    Base,
    Big,
    Digest,
    Document,
    Id,
    Identity16,
    Instant,
    Name,
    Number,
    big_number,
)


class Product(Base):
    """A manufactured unit."""

    __tablename__ = "product"
    __table_args__ = (UniqueConstraint("model_number", "serial"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    model_number: Mapped[int] = mapped_column(ForeignKey("product_model.number"))
    serial: Mapped[Name] = mapped_column(index=True)
    name: Mapped[Name | None]
    zone: Mapped[Name]
    order_reference: Mapped[Name | None] = mapped_column(index=True)
    hardware_lot: Mapped[Name | None]
    region: Mapped[Name | None]
    enrolment_secret_hash: Mapped[Digest]
    claim_code_hash: Mapped[Digest] = mapped_column(unique=True)
    made_at: Mapped[Instant]


class Cohort(Base):
    """Products of one model with one firmware: what detection compares a product with."""

    __tablename__ = "cohort"
    __table_args__ = (UniqueConstraint("model_number", "firmware"),)

    number: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=True)
    model_number: Mapped[int] = mapped_column(ForeignKey("product_model.number"))
    firmware: Mapped[Name]


class Device(Base):
    """The identity a product got at enrolment, and what it last said of itself."""

    __tablename__ = "device"
    __table_args__ = (
        CheckConstraint("slot BETWEEN 1 AND 4294967295", name="slot_range"),
        {"sqlite_autoincrement": True},
    )

    slot: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=True)
    device_id: Mapped[Id] = mapped_column(unique=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), unique=True)
    public_key: Mapped[bytes]
    enrolled_at: Mapped[Instant]
    revoked_at: Mapped[Instant | None]
    # What the device says of itself.
    firmware: Mapped[str | None]
    cohort: Mapped[int | None] = mapped_column(big_number, ForeignKey("cohort.number"), index=True)
    sdk: Mapped[str | None]
    boot: Mapped[bytes | None]
    online: Mapped[bool]
    last_contact: Mapped[Instant | None]
    state_version_reported: Mapped[Big]
    entitlement_version_reported: Mapped[Big]
    reported: Mapped[Document]
    reported_errors: Mapped[Document]
    # What the hub wants of it.
    desired: Mapped[Document]
    desired_version: Mapped[Big]
    state_version: Mapped[Big]
    state_digest: Mapped[Digest | None]
    entitlement_version: Mapped[Big]
    entitlement_digest: Mapped[Digest | None]
    # When a feature turns by itself: the device is then to hear what holds instead, and why.
    state_due: Mapped[Instant | None] = mapped_column(index=True)


class IssuedToken(Base):
    """What a version of a device's entitlement token says, and when it was first issued.

    `claims` is the token as encoded, without version, id and time of issue.
    """

    __tablename__ = "issued_token"

    slot: Mapped[int] = mapped_column(big_number, ForeignKey("device.slot"), primary_key=True)
    version: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=False)
    issued_at: Mapped[Instant]
    claims: Mapped[bytes]


class DeviceEvent(Base):
    """Something that happened to a device: what it said itself, or its coming and going.

    `at` is the hub's time of receipt; `event_id` is the device's own, null for what the hub saw.
    """

    __tablename__ = "device_event"
    __table_args__ = (
        Index(None, "slot", "at"),
        Index("uq_device_event_slot_event_id", "slot", "event_id", unique=True),
    )

    id: Mapped[Number]
    slot: Mapped[int] = mapped_column(ForeignKey("device.slot"))
    at: Mapped[Instant]
    event_id: Mapped[Identity16 | None]
    name: Mapped[Name]
    arguments: Mapped[Document]


class Certificate(Base):
    """A client certificate the hub's CA issued; one is in force, earlier ones are superseded."""

    __tablename__ = "certificate"
    __table_args__ = (Index(None, "slot", "not_after"),)

    serial: Mapped[Name] = mapped_column(primary_key=True)
    fingerprint: Mapped[Digest] = mapped_column(unique=True)
    slot: Mapped[int] = mapped_column(ForeignKey("device.slot"))
    not_before: Mapped[Instant]
    not_after: Mapped[Instant]
    issued_at: Mapped[Instant]
    superseded_at: Mapped[Instant | None]
    revoked_at: Mapped[Instant | None]
