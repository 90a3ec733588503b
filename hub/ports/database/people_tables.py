"""Owners (customer households), the people who sign in, their sessions and API keys.

1. Passwords are argon2 hashes; session tokens and API keys are SHA-256 hashes of random tokens.
2. Staff have no owner; customers have exactly one.
"""

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Digest, Id, Instant, Items, Name


class Owner(Base):
    """A customer household."""

    __tablename__ = "owner"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    created_at: Mapped[Instant]


class Person(Base):
    """Someone who signs in."""

    __tablename__ = "person"
    __table_args__ = (
        CheckConstraint("role IN ('customer', 'support', 'operator')", name="role"),
        CheckConstraint("(role = 'customer') = (owner_id IS NOT NULL)", name="owner"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    email: Mapped[Name] = mapped_column(unique=True)
    name: Mapped[Name]
    role: Mapped[Name]
    owner_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"), index=True)
    password_hash: Mapped[str]
    password_changed_at: Mapped[Instant]
    password_one_time: Mapped[bool]
    locale: Mapped[Name]
    zone: Mapped[Name]
    created_at: Mapped[Instant]
    disabled_at: Mapped[Instant | None]


class WebSession(Base):
    """A signed-in browser or program."""

    __tablename__ = "web_session"

    token_hash: Mapped[Digest] = mapped_column(primary_key=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), index=True)
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant] = mapped_column(index=True)
    revoked_at: Mapped[Instant | None]


class ApiKey(Base):
    """A key for a program, with the scopes it was given."""

    __tablename__ = "api_key"

    id: Mapped[Id] = mapped_column(primary_key=True)
    key_hash: Mapped[Digest] = mapped_column(unique=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), index=True)
    name: Mapped[Name]
    scopes: Mapped[Items]
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant | None]
    revoked_at: Mapped[Instant | None]
