"""Guessing passwords is slowed down; who owns the account, and who only shares an address, is not lost."""

import pytest

from hub.errors import NotAuthenticatedError, RateLimitedError
from hub.ports.database.engine import read_session
from hub.services import audit, session_list, sessions
from hub.services.caller import HUB
from hub.services.sessions import SignedIn
from tests.hub.services.service_world import DAY, T0, S, World
from tests.hub.services.test_people_sessions import person

MINUTE = 60 * S


def sign_in(world: World, email: str, password: str, at: int, address: str = "a") -> SignedIn:
    return sessions.sign_in(world.engine, email, password, at, world.tokens, address=address)


def fails(world: World, email: str, at: int, address: str = "a") -> None:
    with pytest.raises(NotAuthenticatedError):
        sign_in(world, email, "wrong", at, address)


def wait_of(world: World, email: str, password: str, at: int, address: str = "a") -> int:
    with pytest.raises(RateLimitedError) as refused:
        sign_in(world, email, password, at, address)
    return refused.value.retry_after_s


@pytest.mark.parametrize("known", [True, False])
def test_the_wait_doubles_and_says_nothing_about_who_exists(world: World, known: bool) -> None:
    new = person(world)
    email = new.email if known else "nobody@example.org"
    at = T0
    for _ in range(5):
        fails(world, email, at)
    waits = []
    for _ in range(8):
        wait = wait_of(world, email, new.one_time_password, at)
        waits.append(wait)
        at += wait * S
        fails(world, email, at)
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]


def test_the_right_password_opens_after_the_wait_and_forgets_the_failures(world: World) -> None:
    new = person(world)
    for _ in range(5):
        fails(world, new.email, T0)
    assert wait_of(world, new.email, new.one_time_password, T0 + 29 * S) == 1
    sign_in(world, new.email, new.one_time_password, T0 + 30 * S)
    for _ in range(5):
        fails(world, new.email, T0 + MINUTE)
    assert wait_of(world, new.email, "x", T0 + MINUTE) == 30


def test_failures_of_the_day_before_are_forgotten(world: World) -> None:
    new = person(world)
    for _ in range(5):
        fails(world, new.email, T0)
    for _ in range(5):
        fails(world, new.email, T0 + DAY + S)


def test_many_accounts_from_one_address_are_one_guesser(world: World) -> None:
    new = person(world)
    for n in range(50):
        fails(world, f"p{n}@example.org", T0)
    assert wait_of(world, new.email, new.one_time_password, T0) == 30
    sign_in(world, new.email, new.one_time_password, T0, "elsewhere")


def test_who_signs_in_rightly_never_closes_their_address(world: World) -> None:
    new = person(world)
    for n in range(60):
        sign_in(world, new.email, new.one_time_password, T0 + n)


def test_the_old_password_is_guessed_no_faster_in_a_stolen_session(world: World) -> None:
    new = person(world)
    thief = sign_in(world, new.email, new.one_time_password, T0).caller
    for _ in range(5):
        with pytest.raises(NotAuthenticatedError):
            sessions.change_password(world.engine, thief, "guess", "long enough now", T0)
    with pytest.raises(RateLimitedError):
        sessions.change_password(world.engine, thief, "guess", "long enough now", T0)
    assert wait_of(world, new.email, new.one_time_password, T0, "elsewhere") == 30


def test_audit_and_owner_are_told_once_when_an_account_was_closed(world: World) -> None:
    new = person(world)
    for _ in range(4):
        fails(world, new.email, T0)
    caller = sign_in(world, new.email, new.one_time_password, T0).caller  # at last
    for _ in range(5):
        fails(world, new.email, T0 + S)
    fails(world, new.email, T0 + 31 * S)
    with read_session(world.engine) as session:
        assert session_list.guessed(session, caller, T0 + DAY) == [T0 + S]
        assert session_list.guessed(session, caller, T0 + 31 * DAY) == []
    with read_session(world.engine) as session:
        told = audit.trail(session, HUB, object_=f"person:{new.person_id}")
    assert [row.action for row in told].count("session.slowed") == 1
