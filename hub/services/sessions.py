"""Signing in: sessions of people and API keys of programs, both as random bearer tokens.

1. Tokens are stored hashed, expire, and can be revoked; they are shown once.
2. An unknown e-mail address costs the same work as a wrong password, and answers the same.
3. Passwords are checked and hashed outside of any transaction: argon2 must not hold the write lock.
   Who guesses is slowed down (`lockout`), before anything is checked.
4. An API key never permits more than its person may do at the moment of the call.
5. What ties somebody to products is read anew for each call: what ends, ends at once.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from argon2.exceptions import VerificationError
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from hub.errors import ForbiddenError, InvalidInputError, NotAuthenticatedError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import ApiKey, Person, WebSession
from hub.services import audit, households, lockout, promises, ties
from hub.services.caller import ROLE_SCOPES, Caller, Role, Scope
from hub.services.lockout import Brake
from hub.services.people import HASHER, MAX_PASSWORD, check_new_password, normal_email
from hub.services.tokens import Tokens, secret_hash

SESSION_PREFIX = "hps_"
API_KEY_PREFIX = "hpk_"
COOKIE = "__Host-homeport"
"""Where browsers keep a session's token; only this host over TLS can have set one so named."""
_S = 1_000_000_000
SESSION_NS = 12 * 3600 * _S
"""How long a session lasts."""
SLOWED = "session.slowed"
"""Action in the audit trail: a series of wrong passwords was slowed down."""

# What a password is checked against when nobody has the e-mail address.
_NOBODY = HASHER.hash("nobody has this password")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session; `token` is shown now and never again."""

    token: str
    expires_at: int
    caller: Caller
    must_change_password: bool


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new API key; `key` is shown now and never again."""

    id: str
    key: str
    expires_at: int | None


def sign_in(
    engine: Engine,
    email: str,
    password: str,
    at: int,
    tokens: Tokens,
    *,
    address: str = "",
    agent: str = "",
) -> SignedIn:
    """Open a session by a password.

    Args:
        engine: the database; this runs its own short transactions.
        email: as typed.
        password: as typed.
        at: now, ns.
        tokens: source of the session's token.
        address: network address that it comes from.
        agent: what the browser or program says it is.

    Raises:
        NotAuthenticatedError: e-mail and password do not fit, or the account is disabled.
        RateLimitedError: there were too many wrong passwords.
    """
    brakes = (lockout.of_account(normal_email(email)), lockout.of_address(address))
    person = _checked(engine, email, password, brakes, at)
    better = HASHER.hash(password) if HASHER.check_needs_rehash(person.password_hash) else None
    with write_session(engine) as session:
        # Disabled or changed while the password was being checked.
        present = session.get(Person, person.id)
        if present is None or not _usable(present, person.password_hash):
            raise _refusal()
        present.password_hash = better or present.password_hash
        lockout.give_back(session, *brakes)
        return open_session(session, present, at, tokens, agent=agent)


def open_session(
    session: Session,
    person: Person,
    at: int,
    tokens: Tokens,
    *,
    method: str = "password",
    agent: str = "",
) -> SignedIn:
    """Open a session of somebody who has proved who they are.

    Args:
        session: a writing session.
        person: whose account is not disabled.
        at: now, ns.
        tokens: source of the session's token.
        method: how they proved it: `password`, `passkey` or `provider`.
        agent: what the browser or program says it is.
    """
    token = tokens.secret(SESSION_PREFIX)
    row = WebSession(
        token_hash=secret_hash(token),
        person_id=person.id,
        created_at=at,
        expires_at=at + SESSION_NS,
        method=method,
        agent="".join(sign for sign in agent if sign.isprintable())[:200],
    )
    session.add(row)
    actor = f"person:{person.id}"
    audit.record(session, at, actor, "session.open", actor, {"method": method})
    caller = _caller(session, person, None, at)
    # A one-time password is out of the game for who does not use it.
    change = person.password_one_time and method == "password"
    return SignedIn(token, row.expires_at, caller, change)


def authenticate(session: Session, token: str, at: int) -> Caller:
    """Tell who holds a session token or an API key.

    Raises:
        NotAuthenticatedError: unknown, expired or revoked, or the account is disabled.
    """
    holder = _holder(session, token)
    if holder is None or holder[0].revoked_at is not None:
        raise NotAuthenticatedError("This token is not known or was revoked. Sign in again.")
    found, person = holder
    if found.expires_at is not None and at >= found.expires_at:
        raise NotAuthenticatedError("This session or key has expired. Sign in again.")
    if person.disabled_at is not None:
        raise NotAuthenticatedError("This account is disabled. Ask an operator.")
    return _caller(session, person, found if isinstance(found, ApiKey) else None, at)


def _holder(session: Session, token: str) -> tuple[WebSession | ApiKey, Person] | None:
    digest = secret_hash(token)
    if token.startswith(API_KEY_PREFIX):
        keys = select(ApiKey, Person).join(Person, Person.id == ApiKey.person_id)
        return session.execute(keys.where(ApiKey.key_hash == digest)).first()
    sessions = select(WebSession, Person).join(Person, Person.id == WebSession.person_id)
    return session.execute(sessions.where(WebSession.token_hash == digest)).first()


def sign_out(session: Session, token: str, at: int) -> None:
    """End a session; one that is not known or already ended is left as it is."""
    found = session.get(WebSession, secret_hash(token))
    if found is not None and found.revoked_at is None:
        found.revoked_at = at
        ties.note(session, found.person_id)


def revoke_all(session: Session, person_id: str, at: int, but: str = "") -> int:
    """End all sessions of a person, but the one of a token; returns how many."""
    ended: Any = session.execute(
        update(WebSession)
        .where(
            WebSession.person_id == person_id,
            WebSession.revoked_at.is_(None),
            WebSession.token_hash != (secret_hash(but) if but else ""),
        )
        .values(revoked_at=at)
    )
    ties.note(session, person_id)
    return int(ended.rowcount)


def disable(session: Session, caller: Caller, person_id: str, at: int) -> None:
    """Let nobody sign in with an account any more; end its sessions and what it gave out as an owner.

    Raises:
        ConflictError: the person is the last owner of a household that is in use.
        ForbiddenError: the caller may not.
        NotFoundError: no such person.
    """
    caller.require(Scope.PEOPLE_WRITE)
    person = session.get(Person, person_id)
    if person is None:
        raise NotFoundError(f"There is no person {person_id}.", person=person_id)
    if person.disabled_at is not None:
        return
    households.check_not_last(session, person_id)
    person.disabled_at = at
    revoke_all(session, person_id, at)
    for owner_id in households.owned_by(session, person_id):
        promises.end(session, caller, owner_id, person_id, at)
    audit.record(session, at, caller.actor, "person.disable", f"person:{person_id}", {})


def change_password(engine: Engine, caller: Caller, old: str, new: str, at: int) -> None:
    """Change the caller's password and end all their sessions.

    Raises:
        InvalidInputError: the new password is too short, too long, or the old one.
        NotAuthenticatedError: the old password is wrong.
        RateLimitedError: it was wrong too often.
    """
    check_new_password(new)
    if new == old:
        raise InvalidInputError("The new password is the old one. Choose another.")
    checked = check_password(engine, caller, old, at)
    hashed = HASHER.hash(new)
    with write_session(engine) as session:
        person = session.get_one(Person, caller.person_id)
        if not _usable(person, checked.password_hash):
            raise _refusal()
        person.password_hash = hashed
        person.password_changed_at = at
        person.password_one_time = False
        revoke_all(session, person.id, at)
        audit.record(session, at, caller.actor, "person.password", f"person:{person.id}", {})


def check_password(engine: Engine, caller: Caller, password: str, at: int) -> Person:
    """Let a caller show once more that it is them, before something that cannot be undone.

    Args:
        engine: the database; this runs its own short transactions.
        caller: a person who is signed in.
        password: as typed.
        at: now, ns.

    Raises:
        ForbiddenError: the caller is a program or the hub itself.
        NotAuthenticatedError: the password is wrong.
        RateLimitedError: it was wrong too often.
    """
    caller.require_person()
    with read_session(engine) as session:
        email = session.get_one(Person, caller.person_id).email
    brakes = (lockout.of_account(email), lockout.of_address(f"person/{caller.person_id}"))
    checked = _checked(engine, email, password, brakes, at)
    with write_session(engine) as session:
        lockout.give_back(session, *brakes)
    return checked


def create_api_key(
    session: Session,
    caller: Caller,
    name: str,
    scopes: Collection[Scope],
    expires_at: int | None,
    at: int,
    tokens: Tokens,
) -> NewApiKey:
    """Give the caller a key for a program.

    Args:
        session: a writing session.
        caller: whose key it will be.
        name: what it is for.
        scopes: what it permits; only what the caller may do now.
        expires_at: ns, or None.
        at: now, ns.
        tokens: source of the key.

    Raises:
        ForbiddenError: the caller lacks one of the scopes, or is a key that ends sooner.
        InvalidInputError: no scopes, no name, or an expiry in the past.
    """
    if not scopes or not 1 <= len(name.strip()) <= 200:
        raise InvalidInputError("An API key needs a name and at least one scope.")
    if expires_at is not None and expires_at <= at:
        raise InvalidInputError("The key would expire before it is made. Choose a later expiry.")
    for scope in scopes:
        caller.require(scope)
    ends = caller.key_until
    if ends is not None and (expires_at is None or expires_at > ends):
        raise ForbiddenError(
            "A key that expires cannot make one that lasts longer. Sign in to make it."
        )
    key = tokens.secret(API_KEY_PREFIX)
    row = ApiKey(
        id=tokens.new_id(),
        key_hash=secret_hash(key),
        person_id=caller.person_id,
        name=name.strip(),
        scopes=sorted(scopes),
        created_at=at,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    details = {"name": row.name, "scopes": row.scopes}
    audit.record(session, at, caller.actor, "api_key.create", f"api_key:{row.id}", details)
    return NewApiKey(row.id, key, expires_at)


def revoke_api_key(session: Session, caller: Caller, key_id: str, at: int) -> None:
    """End an API key of the caller.

    Raises:
        NotFoundError: the caller has no such key.
    """
    row = session.get(ApiKey, key_id)
    if row is None or row.person_id != caller.person_id:
        raise NotFoundError(f"You have no API key {key_id}.", api_key=key_id)
    if row.revoked_at is None:
        row.revoked_at = at
        ties.note(session, row.person_id)
        audit.record(session, at, caller.actor, "api_key.revoke", f"api_key:{row.id}", {})


def _checked(
    engine: Engine, email: str, password: str, brakes: tuple[Brake, Brake], at: int
) -> Person:
    """Return the person whose e-mail and password these are, at the same cost if nobody's."""
    with write_session(engine) as session:
        beyond = lockout.take(session, list(brakes), at)
        person = session.scalar(select(Person).where(Person.email == normal_email(email)))
    try:
        HASHER.verify(
            _NOBODY if person is None else person.password_hash, password[: MAX_PASSWORD + 1]
        )
    except VerificationError:
        if beyond == 1 and person is not None:  # from now on they wait; told once for each series
            with write_session(engine) as session:
                audit.record(session, at, "hub", SLOWED, f"person:{person.id}", {})
        raise _refusal() from None
    if person is None or person.disabled_at is not None:
        raise _refusal()
    return person


def _usable(person: Person, password_hash: str) -> bool:
    return person.disabled_at is None and person.password_hash == password_hash


def _refusal() -> NotAuthenticatedError:
    return NotAuthenticatedError("E-mail address and password do not fit. Try again.")


def _caller(session: Session, person: Person, key: ApiKey | None, at: int) -> Caller:
    role = Role(person.role)
    allowed, until = ROLE_SCOPES[role], None
    if key is not None:
        allowed = frozenset(scope for scope in allowed if scope in key.scopes)
        until = key.expires_at
    tied = ties.of(session, person, at)
    return Caller(
        role, person.id, person.owner_id, allowed, tied, by_key=key is not None, key_until=until
    )


def caller_of(session: Session, person: Person, at: int) -> Caller:
    """Return a person as a caller, for what is read on their behalf."""
    return _caller(session, person, None, at)
