import itertools
import math

import pytest
from sqlalchemy import select, text

from device_sdk.wire.codes import ClockState, ReplyStatus, Severity
from device_sdk.wire.messages import Birth, Command, Notice, Presence, Reply, Reported
from entitlements.facts import HoldKind
from entitlements.gate import Quarantine
from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Device, Product
from hub.ports.store.port import Window
from hub.services import (
    contacts,
    holds,
    identity,
    ownership,
    product_detail,
    products,
    pushes,
    subscriptions,
    telemetry,
    waiting,
)
from hub.services.caller import HUB, Caller
from hub.services.events import Broadcaster, Event
from hub.services.products import Manufactured
from hub.services.relations import Act
from hub.services.tokens import CODE_ALPHABET, Tokens
from tests.hub.services.service_world import DAY, T0, S, World


def owned(world: World) -> tuple[Caller, Manufactured, str]:
    caller, made = world.customer(), world.product()
    device_id = world.enrol(made).device_id
    world.claim(made, caller)
    return caller, made, device_id


def test_codes_and_ids_use_their_alphabets_evenly() -> None:
    counter = itertools.count()
    tokens = Tokens(b"x" * 16, lambda n: bytes(next(counter) % 256 for _ in range(n)))
    letters = "".join(tokens.claim_code().replace("-", "") for _ in range(200))
    assert set(letters) == set(CODE_ALPHABET)
    assert not set("01ILOU") & set(CODE_ALPHABET)
    assert len(tokens.new_id()) == 16


def test_lookup_by_what_somebody_on_the_phone_can_say(world: World) -> None:
    caller, made, device_id = owned(world)
    other = world.product()
    with read_session(world.engine) as session:
        email = product_detail.detail(session, HUB, made.product_id, T0).owner
        assert email is not None
        for said in (
            made.serial,
            device_id,
            made.product_id,
            email.emails[0],
            f"SO-{made.serial[-1]}",
        ):
            assert [p.product_id for p in products.found(session, HUB, said)] == [made.product_id]
        assert {p.serial for p in products.found(session, HUB, "HP-")} == {
            made.serial,
            other.serial,
        }
        assert products.found(session, HUB, "nothing") == []
        assert products.found(session, caller, other.serial) == []
        with pytest.raises(InvalidInputError):
            products.found(session, HUB, " ")


def test_lookups_use_indexes(world: World) -> None:
    caller, made, _ = owned(world)
    plans: list[str] = []
    explain, whole = "EXPLAIN QUERY PLAN", "SCAN product"
    with read_session(world.engine) as session:
        if world.engine.dialect.name == "postgresql":
            # Of a table as small as this PostgreSQL reads all, unless that is made costly.
            session.execute(text("SET LOCAL enable_seqscan = off"))
            explain, whole = "EXPLAIN", "Seq Scan on product"
        for said in ("HP-1", "a@example.org"):
            for way in (HUB, caller):
                query = products._SUMMARIES.where(
                    Product.serial == said, products.permitted(way, Act.SEE)
                )
                compiled = query.compile(world.engine, compile_kwargs={"literal_binds": True})
                rows = session.execute(text(f"{explain} {compiled}"))
                plans += [str(row) for row in rows]
    assert not [plan for plan in plans if whole in plan and "product_model" not in plan]
    assert made.serial


def test_products_of_others_do_not_exist(world: World) -> None:
    caller, made, _ = owned(world)
    stranger, _, _ = owned(world)
    with read_session(world.engine) as session:
        assert [p.product_id for p in products.listed(session, caller)] == [made.product_id]
        assert len(products.listed(session, HUB)) == 2
        page = products.listed(session, HUB, limit=1)
        rest = products.listed(session, HUB, after=page[0].product_id)
        assert len(page) == len(rest) == 1
        for act in (
            lambda: products.visible(session, stranger, made.product_id),
            lambda: product_detail.detail(session, stranger, made.product_id, T0),
            lambda: product_detail.explanation(
                session, stranger, made.product_id, "telemetry", T0, T0
            ),
            lambda: telemetry.series(session, stranger, made.product_id, "temp_c", T0),
            lambda: pushes.configuration(session, stranger, made.product_id),
        ):
            with pytest.raises(NotFoundError):
                act()


def test_detail_says_plan_status_and_why(world: World) -> None:
    caller, made, device_id = owned(world)
    with write_session(world.engine) as session:
        subscriptions.start(
            session, HUB, made.product_id, "comfort", T0, world.tokens, paid_until=T0 + DAY
        )
    with read_session(world.engine) as session:
        now = product_detail.detail(session, caller, made.product_id, T0)
        later = product_detail.detail(session, HUB, made.product_id, T0 + 40 * DAY)
        why = product_detail.explanation(session, caller, made.product_id, "telemetry", T0, T0)
        with pytest.raises(NotFoundError):
            product_detail.explanation(session, caller, made.product_id, "nothing", T0, T0)
    assert now.summary.device_id == device_id
    assert [plan.status for plan in (*now.plans, *later.plans)] == ["active", "lapsed"]
    decisions = {decision.feature: decision for decision in now.entitlements}
    assert decisions["telemetry"].allowed
    assert decisions["boost_hours"].value == 20
    lapsed = {decision.feature: decision.allowed for decision in later.entitlements}
    assert lapsed == {"boost_hours": False, "frost_protection": True, "telemetry": False}
    assert why.decision.allowed
    assert now.owner is not None
    assert now.owner.emails == ()


def test_unenrolled_products_have_details_too(world: World) -> None:
    made, caller = world.product(), world.customer()
    world.claim(made, caller)
    with read_session(world.engine) as session:
        detail = product_detail.detail(session, caller, made.product_id, T0)
        assert detail.device is None
        with pytest.raises(ConflictError, match="has not connected"):
            telemetry.series(session, caller, made.product_id, "temp_c", T0)


def test_registration_refuses_doubles_and_nonsense(world: World) -> None:
    made = world.product()
    with write_session(world.engine) as session:
        for model, serial, error in (
            ("heat-pump", made.serial, ConflictError),
            ("toaster", "1", NotFoundError),
            ("heat-pump", "", InvalidInputError),
            ("heat-pump", "a b", InvalidInputError),
            ("heat-pump", "ä", InvalidInputError),
        ):
            with pytest.raises(error):
                products.register(
                    session, HUB, model=model, serial=serial, at=T0, tokens=world.tokens
                )


def test_visibility_follows_ownership_and_the_present_decision(world: World) -> None:
    caller, made, _ = owned(world)
    released = frozenset({Quarantine.LAPSED, Quarantine.UNCLAIMED, Quarantine.HOLD})

    def seen(who: Caller, at: int) -> tuple[tuple[Window, ...], frozenset[int]]:
        with read_session(world.engine) as session:
            visible = telemetry.series(session, who, made.product_id, "temp_c", at).visible
        return visible.windows, visible.reasons

    assert seen(caller, T0) == ((Window(0, 1),), frozenset())
    with write_session(world.engine) as session:
        subscriptions.start(
            session, HUB, made.product_id, "comfort", T0, world.tokens, paid_until=T0 + DAY
        )
    assert seen(caller, T0) == ((Window(0, 1),), released)
    assert seen(caller, T0 + 40 * DAY)[1] == frozenset()
    assert seen(HUB, T0)[1] == frozenset(Quarantine)
    with write_session(world.engine) as session:
        held = holds.place(
            session, HUB, made.product_id, HoldKind.FRAUD, "odd", T0, world.tokens
        ).id
    assert seen(caller, T0)[1] == frozenset()
    with write_session(world.engine) as session:
        holds.lift(session, HUB, held, T0 + S)
        ownership.release(session, caller, made.product_id, T0 + S)
    second = world.customer()
    world.claim(made, second, T0 + 2 * S)
    assert seen(second, T0 + 2 * S)[0] == (Window(2, 2, T0 + 2 * S),)
    assert seen(caller, T0 + 2 * S)[0] == (Window(0, 1, None, T0 + S),)
    with read_session(world.engine) as session:
        with pytest.raises(NotFoundError, match="no metric"):
            telemetry.series(session, second, made.product_id, "nothing", T0)
        with pytest.raises(ForbiddenError):
            telemetry.fleet(session, second, "heat-pump", "temp_c")
        assert telemetry.fleet(session, HUB, "heat-pump", "energy_wh").slots == [1]


def test_configuration_is_merged_replaced_and_counted(world: World) -> None:
    caller, made, _ = owned(world)
    with write_session(world.engine) as session:

        def configure(values: dict[str, pushes.Scalar], **how: bool | int) -> pushes.Configuration:
            return pushes.configure(session, caller, made.product_id, values, T0, **how)  # type: ignore[arg-type]

        assert configure({"b": 1, "a": "x"}).desired == {"a": "x", "b": 1}
        again = configure({"a": "x"})
        assert (again.version, again.changed) == (1, False)
        assert configure({"b": True}).version == 2
        assert configure({"a": None, "c": 1.5}).desired == {"b": True, "c": 1.5}
        assert configure({"d": -1}, replace=True).desired == {"d": -1}
        with pytest.raises(ConflictError, match="at version 4"):
            configure({"d": 2}, expected_version=3)
        for wrong in (
            {"d": math.nan},
            {"d": 2**63},
            {"d": "x" * 1025},
            {"D": 1},
            {"": 1},
            {"d": [1]},
            {f"s{number}": 1 for number in range(65)},
        ):
            with pytest.raises(InvalidInputError):
                configure(wrong)  # type: ignore[arg-type]
        assert pushes.configuration(session, caller, made.product_id).version == 4


def test_notices_and_commands_are_told_once(world: World) -> None:
    caller, made, device_id = owned(world)
    other, _, other_device = owned(world)
    with write_session(world.engine) as session:
        device, notice = pushes.notify(
            session, HUB, made.product_id, "service.due", {"days": 3}, Severity.INFO, T0, key="k"
        )
        assert device.device_id == device_id
        again = pushes.notify(
            session, HUB, made.product_id, "service.due", {}, Severity.INFO, T0 + S, key="k"
        )[1]
        assert again is notice
        assert Notice.decode(pushes.notice_payload(notice)).arguments == {"days": 3}
        _, command = pushes.command(
            session, caller, made.product_id, "reboot", {}, T0 + DAY, T0, key="k"
        )
        assert Command.decode(pushes.command_payload(command)).expiry == T0 + DAY
        assert waiting.of(session, device.slot, T0).commands == [command]
        for expires_at in (T0, T0 + 31 * DAY):
            with pytest.raises(InvalidInputError):
                pushes.command(session, caller, made.product_id, "reboot", {}, expires_at, T0)
        with pytest.raises(NotFoundError):
            pushes.command(session, other, made.product_id, "reboot", {}, T0 + DAY, T0)
        reply = Reply(command.id, ReplyStatus.DONE, {"raw": b"\x01", "x": math.nan})
        assert pushes.keep_reply(session, other_device, reply, T0 + S) is None
        assert pushes.keep_reply(session, device_id, reply, T0 + S) is command
        late = Reply(command.id, ReplyStatus.FAILED)
        pushes.keep_reply(session, device_id, late, T0 + 2 * S)
        assert (command.reply_status, command.replied_at) == (ReplyStatus.DONE, T0 + S)
        assert command.reply_result == {"raw": "01", "x": "nan"}
        assert waiting.of(session, device.slot, T0).commands == []


def test_what_devices_say_of_themselves(world: World) -> None:
    caller, made, device_id = owned(world)
    birth = Birth(b"s" * 8, b"b" * 8, "1.2.3", "sdk", (), 4, 2, ClockState.SYNCED, T0)
    with write_session(world.engine) as session:
        contact = contacts.presence(session, device_id, Presence(birth), T0 + S)
        assert contact is not None
        assert (contact.product_id, contact.owner_id) == (made.product_id, caller.owner_id)
        contacts.reported(session, device_id, Reported(5, {"a": 1}, 3, {"b": "no"}), T0 + 2 * S)
        assert contacts.presence(session, "x" * 16, Presence(), T0) is None
    with read_session(world.engine) as session:
        detail = product_detail.detail(session, caller, made.product_id, T0)
        assert (detail.summary.online, detail.summary.firmware) == (True, "1.2.3")
        assert detail.summary.last_contact == T0 + 2 * S
        assert detail.device is not None
        assert detail.device.state_version_reported == 5
        assert detail.device.configuration.reported == {"a": 1}
    with write_session(world.engine) as session:
        contacts.presence(session, device_id, Presence(), T0 + 3 * S)
        assert not session.scalars(select(Device.online)).one()


def test_listeners_hear_what_is_theirs_and_are_told_what_they_lost(world: World) -> None:
    caller = world.customer()
    broadcaster = Broadcaster()
    woken: list[None] = []
    with (
        broadcaster.listening(caller, lambda: woken.append(None), size=2) as mine,
        broadcaster.listening(HUB, lambda: None) as staff,
    ):
        for number in range(4):
            broadcaster.publish(Event("alert", T0, "p", caller.owner_id, {"n": number}))
        broadcaster.publish(Event("alert", T0, "q", "somebody"))
        broadcaster.publish(Event("hub", T0))
        assert [event.data for event in mine.drain(T0)] == [{"n": 0}, {"n": 1}, {"count": 2}]
        assert mine.drain(T0) == []
        assert len(staff.drain(T0)) == 6
        assert len(woken) == 4
        reached = mine.reached
        assert reached == broadcaster.newest
    assert len(broadcaster) == 0
    broadcaster.publish(Event("alert", T0, "p", caller.owner_id, {"n": 5}))
    with broadcaster.listening(caller, lambda: None, since=reached) as back:
        assert [(event.data, event.id) for event in back.drain(T0)] == [({"n": 5}, back.reached)]


def test_the_incarnation_stays_until_it_is_renewed(world: World) -> None:
    with write_session(world.engine) as session:
        first = identity.incarnation(session, world.tokens)
        assert identity.incarnation(session, world.tokens) == first
        assert identity.renew_incarnation(session, T0, world.tokens) != first
        assert len(first) == 8


def test_a_key_is_of_who_chose_it(world: World) -> None:
    made, caller, other = world.product(), world.customer(), world.customer()
    world.enrol(made)
    world.claim(made, caller)

    def asked(who: Caller, name: str, at: int) -> tuple[bytes, str]:
        with write_session(world.engine) as session:
            until = T0 + DAY
            row = pushes.command(session, who, made.product_id, name, {}, until, at, key="1")[1]
            return row.id, row.name

    first = asked(caller, "reboot", T0)
    assert asked(caller, "reboot", T0 + S) == first
    with write_session(world.engine) as session:
        ownership.release(session, caller, made.product_id, T0 + 2 * S)
    world.claim(made, other, T0 + 3 * S)
    assert asked(other, "open_valve", T0 + 4 * S)[1] == "open_valve"
