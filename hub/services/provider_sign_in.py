"""Signing in by an identity provider: from a browser that came back to a session.

1. Somebody comes in by an account elsewhere that is linked to theirs here. The first time it is linked
   by the e-mail address, if the provider has verified it and the settings permit it.
2. Nobody is created here: people without an account are told so.
3. One account elsewhere belongs to one person; an account that is disabled stays out.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.errors import NotAuthenticatedError
from hub.ports.database.people_tables import Person
from hub.ports.database.sign_in_tables import ExternalIdentity
from hub.ports.identity.port import Expected, Identity
from hub.services import audit, sessions
from hub.services.people import normal_email
from hub.services.sessions import SignedIn
from hub.services.sign_in_flows import derived
from hub.services.tokens import Tokens


def expected(secret: str) -> Expected:
    """Return what a sign-in that was begun with a secret must come back with."""
    return Expected(
        state=derived(secret, "state").hex(),
        nonce=derived(secret, "nonce").hex(),
        verifier=derived(secret, "verifier").hex(),
    )


def sign_in(
    session: Session,
    identity: Identity,
    at: int,
    tokens: Tokens,
    *,
    link_by_email: bool,
    agent: str = "",
) -> SignedIn:
    """Open a session for who somebody is at a provider.

    Args:
        session: a writing session.
        identity: as the provider says.
        at: now, ns.
        tokens: source of ids and the session's token.
        link_by_email: link an account that was never used, by the address that the provider verified.
        agent: what the browser says it is.

    Raises:
        NotAuthenticatedError: nobody here is that, or the account is disabled.
    """
    person = session.scalar(
        select(Person)
        .join(ExternalIdentity, ExternalIdentity.person_id == Person.id)
        .where(
            ExternalIdentity.issuer == identity.issuer,
            ExternalIdentity.subject == identity.subject,
        )
    )
    if person is None and link_by_email and identity.email:
        person = session.scalar(select(Person).where(Person.email == normal_email(identity.email)))
        if person is not None and person.disabled_at is None:
            _link(session, person, identity, at, tokens)
    if person is None or person.disabled_at is not None:
        raise NotAuthenticatedError(
            "Nobody here signs in with that account. Ask an operator, or use your password."
        )
    return sessions.open_session(session, person, at, tokens, method="provider", agent=agent)


def _link(session: Session, person: Person, identity: Identity, at: int, tokens: Tokens) -> None:
    session.add(
        ExternalIdentity(
            id=tokens.new_id(),
            person_id=person.id,
            issuer=identity.issuer,
            subject=identity.subject,
            linked_at=at,
        )
    )
    session.flush()
    actor = f"person:{person.id}"
    audit.record(session, at, actor, "person.link", actor, {"issuer": identity.issuer})
