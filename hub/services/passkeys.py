"""Passkeys (WebAuthn): several for a person, made by who has just signed in, used without a password.

1. A passkey verifies its user (PIN, finger, face), so it stands for password and possession at once.
2. The challenge is derived from the secret of a flow; an answer works once, from this hub's own pages.
3. A count that does not rise means that an authenticator was copied: refused, and audited.
4. Who signs in names nobody first: the passkey says who it is, so nobody learns who exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from hub.errors import ConflictError, ForbiddenError, NotAuthenticatedError, NotFoundError
from hub.ports.database.people_tables import Person, WebSession
from hub.ports.database.sign_in_tables import Passkey
from hub.services import audit, sessions, sign_in_flows
from hub.services.caller import Caller
from hub.services.sessions import SignedIn
from hub.services.sign_in_flows import Flow, derived
from hub.services.tokens import Tokens, secret_hash

MOST = 20
"""Passkeys of a person."""
RECENT_NS = 900 * 1_000_000_000
"""How long ago somebody may have signed in to add a passkey: a session that was stolen adds none."""
_CHALLENGE = "passkey"


class SignInAgainError(ForbiddenError):
    """What is asked for needs somebody who has just signed in."""

    code = "sign-in-again"
    title = "Sign in again first"


@dataclass(frozen=True, slots=True)
class Site:
    """The hub as browsers know it.

    Args:
        name: its DNS name; passkeys belong to it.
        origins: addresses of its pages, such as `https://hub.example:8443`.
    """

    name: str
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """What a browser needs to go on: the flow's secret, and options for `navigator.credentials`."""

    flow: str
    options: str


@dataclass(frozen=True, slots=True)
class PasskeyView:
    """A passkey as its person sees it; instants in ns."""

    id: str
    name: str
    created_at: int
    used_at: int | None


def begin_new(
    session: Session, caller: Caller, site: Site, token: str, at: int, tokens: Tokens
) -> Begun:
    """Begin to make a passkey.

    Args:
        session: a writing session.
        caller: a person who is signed in.
        site: this hub.
        token: of their session.
        at: now, ns.
        tokens: source of the flow's secret.

    Raises:
        ConflictError: they have too many.
        ForbiddenError: the caller is a program, or signed in too long ago.
    """
    person = session.get_one(Person, caller.require_person())
    opened = session.scalar(
        select(WebSession.created_at).where(WebSession.token_hash == secret_hash(token))
    )
    if opened is None or at - opened > RECENT_NS:
        raise SignInAgainError("Sign in again, and add the passkey within a quarter of an hour.")
    mine = session.scalars(select(Passkey).where(Passkey.person_id == person.id)).all()
    if len(mine) >= MOST:
        raise ConflictError(f"You have {MOST} passkeys. Remove one that you no longer use.")
    flow = sign_in_flows.begin(session, Flow.NEW_PASSKEY, at, tokens, person_id=person.id)
    options = generate_registration_options(
        rp_id=site.name,
        rp_name="Homeport",
        user_name=person.email,
        user_id=person.id.encode(),
        user_display_name=person.name,
        challenge=derived(flow, _CHALLENGE),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one.credential_id) for one in mine],
    )
    return Begun(flow, options_to_json(options))


def end_new(
    session: Session,
    caller: Caller,
    site: Site,
    flow: str,
    credential: Mapping[str, Any],
    name: str,
    at: int,
    tokens: Tokens,
) -> str:
    """Keep a passkey that a browser has made; returns its id.

    Raises:
        ConflictError: it is known here.
        ForbiddenError: the caller is a program.
        NotAuthenticatedError: the flow is over or somebody else's, or the answer does not fit it.
    """
    person_id = caller.require_person()
    if sign_in_flows.take(session, Flow.NEW_PASSKEY, flow, at).person_id != person_id:
        raise NotAuthenticatedError("This was begun by somebody else. Begin again.")
    try:
        made = verify_registration_response(
            credential=dict(credential),
            expected_challenge=derived(flow, _CHALLENGE),
            expected_rp_id=site.name,
            expected_origin=list(site.origins),
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _unfit() from error
    known = select(Passkey.id).where(Passkey.credential_hash == _digest(made.credential_id))
    if session.scalar(known) is not None:
        raise ConflictError("This passkey is known already.")
    row = Passkey(
        id=tokens.new_id(),
        person_id=person_id,
        credential_hash=_digest(made.credential_id),
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=" ".join(name.split())[:100] or "Passkey",
        created_at=at,
    )
    session.add(row)
    session.flush()
    details = {"passkey": row.id, "name": row.name}
    audit.record(session, at, caller.actor, "passkey.add", caller.actor, details)
    return row.id


def begin_sign_in(session: Session, site: Site, at: int, tokens: Tokens) -> Begun:
    """Begin to sign in; nobody is named."""
    flow = sign_in_flows.begin(session, Flow.PASSKEY, at, tokens)
    options = generate_authentication_options(
        rp_id=site.name,
        challenge=derived(flow, _CHALLENGE),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Begun(flow, options_to_json(options))


def sign_in(
    session: Session,
    site: Site,
    flow: str,
    credential: Mapping[str, Any],
    at: int,
    tokens: Tokens,
    *,
    agent: str = "",
) -> SignedIn:
    """Open a session by the answer of a passkey.

    Raises:
        NotAuthenticatedError: the flow is over, the passkey is not known, or the answer does not fit.
    """
    sign_in_flows.take(session, Flow.PASSKEY, flow, at)
    row = _found(session, credential)
    person = None if row is None else session.get(Person, row.person_id)
    if row is None or person is None or person.disabled_at is not None:
        raise _unfit()
    try:
        shown = verify_authentication_response(
            credential=dict(credential),
            expected_challenge=derived(flow, _CHALLENGE),
            expected_rp_id=site.name,
            expected_origin=list(site.origins),
            credential_public_key=row.public_key,
            # Compared below, to tell a copied authenticator from an answer that does not fit.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _unfit() from error
    if row.sign_count and shown.new_sign_count <= row.sign_count:
        actor, details = f"person:{person.id}", {"passkey": row.id}
        audit.record_refusal(session, at, actor, "passkey.copied", actor, details)
        raise _unfit()
    row.sign_count, row.used_at = shown.new_sign_count, at
    return sessions.open_session(session, person, at, tokens, method="passkey", agent=agent)


def listed(session: Session, caller: Caller) -> list[PasskeyView]:
    """List the caller's passkeys, the oldest first; raises `ForbiddenError` for programs."""
    query = select(Passkey).where(Passkey.person_id == caller.require_person())
    rows: Sequence[Passkey] = session.scalars(query.order_by(Passkey.created_at, Passkey.id)).all()
    return [PasskeyView(row.id, row.name, row.created_at, row.used_at) for row in rows]


def remove(session: Session, caller: Caller, passkey_id: str, at: int) -> None:
    """Remove one of the caller's passkeys, at once.

    Raises:
        ForbiddenError: the caller is a program.
        NotFoundError: the caller has no such passkey.
    """
    row = session.get(Passkey, passkey_id)
    if row is None or row.person_id != caller.require_person():
        raise NotFoundError(f"You have no passkey {passkey_id}.", passkey=passkey_id)
    session.delete(row)
    session.flush()
    details = {"passkey": passkey_id}
    audit.record(session, at, caller.actor, "passkey.remove", caller.actor, details)


def _found(session: Session, credential: Mapping[str, Any]) -> Passkey | None:
    try:
        digest = _digest(base64url_to_bytes(str(credential["id"])))
    except (KeyError, ValueError):
        return None
    return session.scalar(select(Passkey).where(Passkey.credential_hash == digest))


def _digest(credential_id: bytes) -> str:
    return secret_hash(credential_id.hex())


def _unfit() -> NotAuthenticatedError:
    return NotAuthenticatedError("This passkey does not fit. Try again, or use your password.")
