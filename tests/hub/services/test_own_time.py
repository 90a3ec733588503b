"""Whose time something was measured in: windows of households, and what a change of owner cuts."""

from sqlalchemy import select

from device_sdk.wire.messages import Event, Reported
from hub.ports.database.alert_tables import Command
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Ownership
from hub.ports.store.port import Window
from hub.services import alert_desk, contacts, ownership, pushes, waiting
from hub.services.alerts import apply_findings
from hub.services.caller import HUB, Caller
from hub.services.found import Found
from hub.services.own_time import OwnTime, own_time
from hub.services.products import Manufactured
from tests.hub.services.service_world import DAY, T0, S, World


def give_up(world: World, caller: Caller, made: Manufactured, at: int) -> None:
    with write_session(world.engine) as session:
        ownership.release(session, caller, made.product_id, at)


def time_of(world: World, caller: Caller, made: Manufactured) -> OwnTime | None:
    with read_session(world.engine) as session:
        return own_time(session, made.product_id, caller.owner_id)


def found(slot: int, time: int, number: int) -> Found:
    return Found(
        id=number.to_bytes(16, "big"),
        slot=slot,
        metric=0,
        kind=6,
        severity=2,
        time=time,
        since=time,
        surprise=20.0,
        observed=99.0,
        low=-40.0,
        high=95.0,
    )


def test_who_buys_back_sees_both_times_and_not_the_one_between(world: World) -> None:
    made, anna, bert = world.product(), world.customer(), world.customer()
    world.claim(made, anna)
    give_up(world, anna, made, T0 + S)
    world.claim(made, bert, T0 + 2 * S)
    give_up(world, bert, made, T0 + 3 * S)
    world.claim(made, anna, T0 + 4 * S)
    assert time_of(world, anna, made) == OwnTime(
        (Window(0, 1, None, T0 + S), Window(3, 3, T0 + 4 * S)), None
    )
    assert time_of(world, bert, made) == OwnTime(
        (Window(2, 2, T0 + 2 * S, T0 + 3 * S),), T0 + 3 * S
    )
    assert time_of(world, world.customer(), made) is None


def test_a_clock_that_goes_back_gives_no_two_owners_at_an_instant(world: World) -> None:
    made, anna, bert = world.product(), world.customer(), world.customer()
    world.claim(made, anna, T0 + 2 * S)
    give_up(world, anna, made, T0 + S)
    world.claim(made, bert, T0)
    assert time_of(world, anna, made) == OwnTime((Window(0, 1, None, T0 + 2 * S),), T0 + 2 * S)
    assert time_of(world, bert, made) == OwnTime((Window(2, 2, T0 + 2 * S),), None)


def test_an_ownership_that_was_undone_shows_nobody_anything(world: World) -> None:
    made, wrong, right = world.product(), world.customer(), world.customer()
    world.claim(made, wrong)
    give_up(world, wrong, made, T0 + S)
    with write_session(world.engine) as session:
        session.get_one(Ownership, (made.product_id, 1)).undone_at = T0 + S
    world.claim(made, right, T0 + 2 * S)
    assert time_of(world, wrong, made) is None
    assert time_of(world, right, made) == OwnTime(
        (Window(0, 0, None, T0), Window(2, 2, T0 + 2 * S)), None
    )


def test_late_rows_of_the_owner_before_alarm_nobody(world: World) -> None:
    made, anna, bert = world.product(), world.customer(), world.customer()
    slot = world.enrol(made).slot
    world.claim(made, anna)
    give_up(world, anna, made, T0 + DAY)
    world.claim(made, bert, T0 + DAY)
    with write_session(world.engine) as session:
        apply_findings(session, [found(slot, T0 + DAY - 1, 1)], T0 + DAY + S)
    with read_session(world.engine) as session:
        assert alert_desk.listed(session, HUB) == []
        assert [one.at for one in alert_desk.findings(session, anna, at=T0)] == [T0 + DAY - 1]
        assert alert_desk.findings(session, bert, at=T0) == []
    with write_session(world.engine) as session:
        apply_findings(session, [found(slot, T0 + DAY, 2)], T0 + DAY + S)
    with read_session(world.engine) as session:
        assert alert_desk.listed(session, anna) == []
        assert len(alert_desk.listed(session, bert)) == 1
        assert [one.at for one in alert_desk.findings(session, bert, at=T0)] == [T0 + DAY]


def test_what_an_owner_asked_of_a_device_ends_with_them(world: World) -> None:
    made, anna, bert = world.product(), world.customer(), world.customer()
    enrolled = world.enrol(made)
    world.claim(made, anna)
    with write_session(world.engine) as session:
        pushes.configure(session, anna, made.product_id, {"wifi": "anna"}, T0)
        _, command = pushes.command(
            session, anna, made.product_id, "open", {}, T0 + DAY, T0, key="1"
        )
        contacts.reported(session, enrolled.device_id, Reported(1, {"wifi": "anna"}, 1, {}), T0)
        session.get_one(Ownership, (made.product_id, 1))
    give_up(world, anna, made, T0 + S)
    world.claim(made, bert, T0 + 2 * S)
    with write_session(world.engine) as session:
        session.get_one(Ownership, (made.product_id, 2)).state_version = 1
        settings = pushes.configuration(session, bert, made.product_id)
        assert (settings.desired, settings.reported) == ({}, {})
        assert waiting.of(session, enrolled.slot, T0 + 2 * S).commands == []
        kept = session.scalars(select(Command).where(Command.id == command.id)).one()
        assert kept.expires_at == T0 + S
        # The device has not heard of it yet, and says what its owner before wanted.
        late = contacts.reported(
            session, enrolled.device_id, Reported(1, {"wifi": "anna"}, 1, {}), T0 + 3 * S
        )
        assert late is not None
        assert late.owner_id is None
        assert pushes.configuration(session, bert, made.product_id).reported == {}
        fresh = contacts.reported(session, enrolled.device_id, Reported(2, {}, 2, {}), T0 + 3 * S)
        assert fresh is not None
        assert fresh.owner_id == bert.owner_id
        event = Event(bytes(16), T0 + S - 1, "opened", {})
        before = contacts.event(session, enrolled.device_id, event, T0 + 3 * S)
        assert before is not None
        assert before.owner_id is None
