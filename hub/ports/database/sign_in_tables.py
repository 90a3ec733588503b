"""How people sign in beside their password: passkeys, accounts elsewhere; and the brakes on guessing.

1. Nothing here opens anything by itself: public keys, names of accounts elsewhere, hashes.
2. A flow (a sign-in that is under way) is taken once and ends by itself.
"""

from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Big, Digest, Id, Instant, Name, json_document


class SignInFailure(Base):
    """Failed sign-ins in a row, of an account or from an address; `key` is a hash of which.

    Accounts are counted whether they exist or not. Nobody is let try before `closed_until`.
    """

    __tablename__ = "sign_in_failure"

    key: Mapped[Digest] = mapped_column(primary_key=True)
    count: Mapped[Big]
    last_at: Mapped[Instant] = mapped_column(index=True)
    closed_until: Mapped[Instant]


class Passkey(Base):
    """A public key that somebody's authenticator holds the private half of (WebAuthn)."""

    __tablename__ = "passkey"

    id: Mapped[Id] = mapped_column(primary_key=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), index=True)
    credential_hash: Mapped[Digest] = mapped_column(unique=True)
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    sign_count: Mapped[Big]
    name: Mapped[Name]
    created_at: Mapped[Instant]
    used_at: Mapped[Instant | None]


class ExternalIdentity(Base):
    """An account at an identity provider (OpenID Connect) that signs a person in."""

    __tablename__ = "external_identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"), index=True)
    issuer: Mapped[Name]
    subject: Mapped[Name]
    linked_at: Mapped[Instant]


class SignInFlow(Base):
    """A sign-in or registration that is under way: what its end must fit to."""

    __tablename__ = "sign_in_flow"

    token_hash: Mapped[Digest] = mapped_column(primary_key=True)
    kind: Mapped[Name]
    person_id: Mapped[Id | None] = mapped_column(ForeignKey("person.id"))
    details: Mapped[dict[str, Any]] = mapped_column(json_document)
    expires_at: Mapped[Instant] = mapped_column(index=True)
