import pytest
from sqlalchemy import select, text

from hub.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotAuthenticatedError,
    NotFoundError,
)
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import ApiKey, Person, WebSession
from hub.services import people, sessions
from hub.services.caller import HUB, Caller, Role, Scope
from hub.services.people import NewPerson
from tests.hub.services.service_world import T0, S, World


def person(world: World, role: Role = Role.SUPPORT, email: str = "Ada@Example.org") -> NewPerson:
    password = people.OneTimePassword.new(world.tokens)
    with write_session(world.engine) as session:
        return people.create_person(
            session,
            HUB,
            email=email,
            name="Ada",
            role=role,
            at=T0,
            tokens=world.tokens,
            password=password,
        )


def who(world: World, token: str, at: int) -> Caller:
    with read_session(world.engine) as session:
        return sessions.authenticate(session, token, at)


def test_a_session_ends_when_it_expires_and_when_signed_out(world: World) -> None:
    new = person(world)
    one, other = (
        sessions.sign_in(world.engine, " ada@example.ORG", new.one_time_password, T0, world.tokens)
        for _ in range(2)
    )
    assert one.must_change_password
    assert who(world, one.token, one.expires_at - 1) == one.caller
    with pytest.raises(NotAuthenticatedError, match="expired"):
        who(world, one.token, one.expires_at)
    with write_session(world.engine) as session:
        sessions.sign_out(session, other.token, T0 + S)
    with pytest.raises(NotAuthenticatedError, match="revoked"):
        who(world, other.token, T0 + S)
    with read_session(world.engine) as session:
        stored = session.scalars(select(WebSession.token_hash)).all()
    assert one.token not in stored
    assert all(len(digest) == 64 for digest in stored)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.org", "wrong"),
        ("nobody@example.org", "wrong"),
        ("", ""),
        ("x" * 999, "y" * 999),
    ],
)
def test_wrong_words_are_answered_alike(world: World, email: str, password: str) -> None:
    person(world)
    with pytest.raises(NotAuthenticatedError, match="do not fit"):
        sessions.sign_in(world.engine, email, password, T0, world.tokens)


def test_passwords_are_argon2_and_change_ends_all_sessions(world: World) -> None:
    new = person(world)
    with read_session(world.engine) as session:
        assert session.scalars(select(Person.password_hash)).one().startswith("$argon2id$")
    old = sessions.sign_in(world.engine, new.email, new.one_time_password, T0, world.tokens)
    with pytest.raises(InvalidInputError):
        sessions.change_password(world.engine, old.caller, new.one_time_password, "short", T0)
    with pytest.raises(NotAuthenticatedError):
        sessions.change_password(world.engine, old.caller, "not the old one", "long enough now", T0)
    sessions.change_password(world.engine, old.caller, new.one_time_password, "long enough now", T0)
    with pytest.raises(NotAuthenticatedError):
        who(world, old.token, T0)
    again = sessions.sign_in(world.engine, new.email, "long enough now", T0, world.tokens)
    assert not again.must_change_password


def test_a_disabled_account_is_out_at_once(world: World) -> None:
    new = person(world)
    signed = sessions.sign_in(world.engine, new.email, new.one_time_password, T0, world.tokens)
    with write_session(world.engine) as session:
        session.get_one(Person, new.person_id).disabled_at = T0
    with pytest.raises(NotAuthenticatedError, match="disabled"):
        who(world, signed.token, T0)
    with pytest.raises(NotAuthenticatedError, match="do not fit"):
        sessions.sign_in(world.engine, new.email, new.one_time_password, T0, world.tokens)


def test_api_keys_narrow_what_their_person_may_do(world: World) -> None:
    signed = sessions.sign_in(
        world.engine, (new := person(world)).email, new.one_time_password, T0, world.tokens
    )
    with write_session(world.engine) as session:
        made = sessions.create_api_key(
            session, signed.caller, "report", [Scope.TELEMETRY_READ], T0 + S, T0, world.tokens
        )
    caller = who(world, made.key, T0)
    assert caller.scopes == {Scope.TELEMETRY_READ}
    with pytest.raises(ForbiddenError):
        caller.require(Scope.ALERTS_READ)
    with pytest.raises(NotAuthenticatedError, match="expired"):
        who(world, made.key, T0 + S)
    with write_session(world.engine) as session:
        assert session.scalars(select(ApiKey.key_hash)).one() != made.key
        with pytest.raises(ForbiddenError):
            sessions.create_api_key(
                session, caller, "more", [Scope.ALERTS_READ], None, T0, world.tokens
            )
        with pytest.raises(NotFoundError):
            sessions.revoke_api_key(session, world_caller(), made.id, T0)
        sessions.revoke_api_key(session, signed.caller, made.id, T0)
    with pytest.raises(NotAuthenticatedError, match="revoked"):
        who(world, made.key, T0)


def world_caller() -> Caller:
    return Caller(Role.CUSTOMER, "x" * 16, "y" * 16, frozenset())


def test_people_that_cannot_be_created(world: World) -> None:
    person(world)
    with pytest.raises(ConflictError):
        person(world, email="ada@example.org")
    for email in ("nobody", "a b@example.org", "@", "x" * 300 + "@example.org"):
        with pytest.raises(InvalidInputError):
            person(world, email=email)
    with write_session(world.engine) as session, pytest.raises(ForbiddenError):
        people.create_person(
            session,
            world_caller(),
            email="eve@example.org",
            name="Eve",
            role=Role.OPERATOR,
            at=T0,
            tokens=world.tokens,
            password=people.OneTimePassword("word", "hash"),
        )


def test_no_password_or_token_in_the_audit(world: World) -> None:
    new = person(world)
    signed = sessions.sign_in(world.engine, new.email, new.one_time_password, T0, world.tokens)
    with read_session(world.engine) as session:
        trail = str(session.execute(text("SELECT * FROM audit")).all())
    for secret in (new.one_time_password, signed.token):
        assert secret not in trail
