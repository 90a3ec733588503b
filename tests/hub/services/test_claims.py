import threading

import pytest
from sqlalchemy import func, select

from hub.errors import ConflictError, ForbiddenError, NotFoundError, RateLimitedError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import ClaimAttempt, Ownership
from hub.ports.database.record_tables import Audit
from hub.ports.store.port import Window
from hub.services import audit, ownership, products
from hub.services.caller import HUB, Caller
from hub.services.own_time import OwnTime, own_time
from tests.hub.services.service_world import DAY, T0, S, World


def try_claim(
    world: World, caller: Caller, code: str, at: int = T0, serial: str | None = None
) -> ownership.Claimed:
    with write_session(world.engine) as session:
        return ownership.claim(session, caller, code, at, world.tokens, serial=serial)


def test_a_code_is_taken_however_it_is_typed(world: World) -> None:
    made = world.product()
    typed = " " + made.claim_code.lower().replace("-", " ")
    claimed = try_claim(world, world.customer(), typed)
    assert (claimed.serial, claimed.epoch) == (made.serial, 1)


def test_the_eleventh_wrong_try_is_refused_even_with_the_right_code(world: World) -> None:
    made, caller = world.product(), world.customer()
    for tried in range(10):
        with pytest.raises(NotFoundError):
            try_claim(world, caller, "WRNG-WRNG-WRNG", T0 + tried)
    with pytest.raises(RateLimitedError) as refused:
        try_claim(world, caller, made.claim_code, T0 + 10)
    assert refused.value.retry_after_s == 3600
    with read_session(world.engine) as session:
        assert session.scalar(select(func.count()).select_from(ClaimAttempt)) == 10
        newest = session.scalars(select(Audit).order_by(Audit.id.desc())).first()
        assert newest is not None
        assert newest.action == "product.claim.refused"
        assert audit.verify(session) is None
    # Others are not held up, and an hour later neither is this one.
    assert try_claim(world, world.customer(), world.product().claim_code, T0 + 11).epoch == 1
    assert try_claim(world, caller, made.claim_code, T0 + 3600 * S).epoch == 1


def test_many_people_cannot_guess_one_products_code(world: World) -> None:
    made = world.product()
    for tried in range(10):
        with pytest.raises(NotFoundError):
            try_claim(world, world.customer(), "WRNG-WRNG-WRNG", T0 + tried, made.serial)
    with pytest.raises(RateLimitedError):
        try_claim(world, world.customer(), made.claim_code, T0 + 10, made.serial)


def test_the_code_of_another_product_is_wrong_when_the_serial_is_asked_for(world: World) -> None:
    one, other = world.product(), world.product()
    with pytest.raises(NotFoundError):
        try_claim(world, world.customer(), one.claim_code, T0, other.serial)


def test_of_two_claims_at_once_one_wins(world: World) -> None:
    made = world.product()
    callers = [world.customer() for _ in range(4)]
    start = threading.Barrier(len(callers))
    won: list[Caller] = []
    lost: list[Caller] = []

    def go(caller: Caller) -> None:
        start.wait()
        try:
            try_claim(world, caller, made.claim_code)
            won.append(caller)
        except ConflictError:
            lost.append(caller)

    threads = [threading.Thread(target=go, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    with read_session(world.engine) as session:
        assert session.scalars(select(Ownership.owner_id)).all() == [won[0].owner_id]


def test_staff_cannot_claim(world: World) -> None:
    with pytest.raises(ForbiddenError):
        try_claim(world, HUB, world.product().claim_code)


def test_release_and_the_next_owner(world: World) -> None:
    made, first, second = world.product(), world.customer(), world.customer()
    world.claim(made, first)
    with pytest.raises(ConflictError, match="You own"):
        world.claim(made, first)
    with write_session(world.engine) as session, pytest.raises(NotFoundError):
        ownership.release(session, second, made.product_id, T0 + DAY)
    with write_session(world.engine) as session:
        ownership.release(session, first, made.product_id, T0 + DAY)
    assert world.claim(made, second, T0 + 2 * DAY).epoch == 2
    with read_session(world.engine) as session:
        with pytest.raises(NotFoundError):
            products.visible(session, first, made.product_id)
        theirs = own_time(session, made.product_id, second.owner_id)
        assert theirs == OwnTime((Window(2, 2, T0 + 2 * DAY),), None)
        left = own_time(session, made.product_id, first.owner_id)
        assert left == OwnTime((Window(0, 1, None, T0 + DAY),), T0 + DAY)


def test_a_household_that_claims_again_at_once_keeps_its_past(world: World) -> None:
    made, caller = world.product(), world.customer()
    world.claim(made, caller)
    with write_session(world.engine) as session:
        ownership.release(session, caller, made.product_id, T0 + 1)
    world.claim(made, caller, T0 + 2)
    with read_session(world.engine) as session:
        own = own_time(session, made.product_id, caller.owner_id)
        assert own == OwnTime((Window(0, 1, None, T0 + 1), Window(0, 2, T0 + 2)), None)
