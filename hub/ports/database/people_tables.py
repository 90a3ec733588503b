"""Households, partners, the people who sign in, what ties them together, sessions and API keys.

1. Passwords are argon2 hashes; session tokens, API keys and invitation codes are SHA-256 hashes.
2. Customers have a household of their own (`owner_id`), into which they claim; what they may do in
   it, and in others, their memberships say. People of a partner have a partner, staff have neither.
3. Memberships, grants and invitations end and stay; who was what, and when, is never overwritten.
"""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Digest, Id, Instant, Items, Name, json_document

_OPEN_MEMBERSHIP = text("ended_at IS NULL")
_OPEN_INVITATION = text("answered_at IS NULL AND email IS NOT NULL")


class Owner(Base):
    """A customer household."""

    __tablename__ = "owner"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    created_at: Mapped[Instant]


class Partner(Base):
    """An organisation that looks after products of others, such as a dealer."""

    __tablename__ = "partner"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    created_at: Mapped[Instant]


class OwnerSetting(Base):
    """A configuration value that a household wants for all of its products."""

    __tablename__ = "owner_setting"

    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), primary_key=True)
    name: Mapped[Name] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(json_document)


class Person(Base):
    """Someone who signs in."""

    __tablename__ = "person"
    __table_args__ = (
        CheckConstraint("role IN ('customer', 'partner', 'support', 'operator')", name="role"),
        CheckConstraint("(role = 'customer') = (owner_id IS NOT NULL)", name="owner"),
        CheckConstraint("(role = 'partner') = (partner_id IS NOT NULL)", name="partner"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    email: Mapped[Name] = mapped_column(unique=True)
    name: Mapped[Name]
    role: Mapped[Name]
    owner_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"), index=True)
    partner_id: Mapped[Id | None] = mapped_column(ForeignKey("partner.id"), index=True)
    password_hash: Mapped[str]
    password_changed_at: Mapped[Instant]
    password_one_time: Mapped[bool]
    locale: Mapped[Name]
    zone: Mapped[Name]
    created_at: Mapped[Instant]
    disabled_at: Mapped[Instant | None]


class Membership(Base):
    """What somebody is in a household, `[starts_at, ends_at)`; `ended_at` where it ended early.

    `relation` is a word of `hub.services.relations`; `product_ids` null means all products.
    """

    __tablename__ = "membership"
    __table_args__ = (
        CheckConstraint("relation IN ('owner', 'member', 'viewer', 'installer')", name="relation"),
        CheckConstraint("relation <> 'installer' OR ends_at IS NOT NULL", name="installer"),
        CheckConstraint("relation <> 'owner' OR ends_at IS NULL", name="owner"),
        Index(
            "uq_membership_open",
            "owner_id",
            "person_id",
            unique=True,
            sqlite_where=_OPEN_MEMBERSHIP,
            postgresql_where=_OPEN_MEMBERSHIP,
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), index=True)
    relation: Mapped[Name]
    product_ids: Mapped[Items | None]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant | None]
    given_by: Mapped[Name]
    ended_at: Mapped[Instant | None]
    ended_by: Mapped[Name | None]


class Invitation(Base):
    """A place in a household that was offered, to an address or to whoever has the code."""

    __tablename__ = "invitation"
    __table_args__ = (
        CheckConstraint("relation IN ('owner', 'member', 'viewer', 'installer')", name="relation"),
        CheckConstraint(
            "answer IN ('accepted', 'declined', 'withdrawn', 'expired')", name="answer"
        ),
        Index(
            "uq_invitation_open",
            "owner_id",
            "email",
            unique=True,
            sqlite_where=_OPEN_INVITATION,
            postgresql_where=_OPEN_INVITATION,
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    email: Mapped[Name | None] = mapped_column(index=True)
    code_hash: Mapped[Digest | None] = mapped_column(unique=True)
    relation: Mapped[Name]
    product_ids: Mapped[Items | None]
    ends_at: Mapped[Instant | None]
    created_at: Mapped[Instant]
    created_by: Mapped[Name]
    expires_at: Mapped[Instant]
    answered_at: Mapped[Instant | None]
    answer: Mapped[Name | None]
    answered_by: Mapped[Name | None]


class PartnerGrant(Base):
    """What a partner may do with some products, `[starts_at, ends_at)`, or until it is revoked.

    `owner_id` null means a grant of the operator, over products of any household; the other
    columns that may be null each narrow the products down. `acts` are words of
    `hub.services.relations`.
    """

    __tablename__ = "partner_grant"

    id: Mapped[Id] = mapped_column(primary_key=True)
    partner_id: Mapped[Id] = mapped_column(ForeignKey("partner.id"), index=True)
    owner_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"), index=True)
    product_ids: Mapped[Items | None]
    model_number: Mapped[int | None] = mapped_column(ForeignKey("product_model.number"))
    region: Mapped[Name | None]
    order_prefix: Mapped[Name | None]
    acts: Mapped[Items]
    reason: Mapped[Name]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant]
    given_by: Mapped[Name]
    revoked_at: Mapped[Instant | None]
    revoked_by: Mapped[Name | None]


class WebSession(Base):
    """A signed-in browser or program; `method` is how it signed in, `agent` what it says it is."""

    __tablename__ = "web_session"

    token_hash: Mapped[Digest] = mapped_column(primary_key=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), index=True)
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant] = mapped_column(index=True)
    revoked_at: Mapped[Instant | None]
    method: Mapped[Name] = mapped_column(server_default="password")
    agent: Mapped[Name | None]


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
