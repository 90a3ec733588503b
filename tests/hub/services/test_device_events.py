"""What happened to a device is kept, within bounds, and shown on its line of time."""

import math

from sqlalchemy import func, select

from device_sdk.wire.codes import ClockState
from device_sdk.wire.messages import Birth, Event, Presence, Reported
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import DeviceEvent
from hub.services import contacts, happenings, pushes, timeline
from hub.services.caller import HUB
from hub.services.timeline import Entry
from tests.hub.services.service_world import T0, S, World


def birth(boot: bytes, firmware: str = "1.0") -> Presence:
    return Presence(Birth(b"s" * 8, boot, firmware, "sdk", (), 0, 0, ClockState.SYNCED, T0))


def line(world: World, product_id: str, at: int) -> list[Entry]:
    with read_session(world.engine) as session:
        return timeline.timeline(session, HUB, product_id, at)


def test_coming_going_and_other_firmware_are_on_the_line_of_time(world: World) -> None:
    made = world.product()
    device_id = world.enrol(made).device_id
    said = [
        birth(b"a" * 8),
        birth(b"a" * 8),  # told again on the same boot
        Presence(),
        Presence(),  # its will, after it said goodbye
        birth(b"b" * 8, "1.1"),
        birth(b"c" * 8, "1.1"),  # booted again, nobody saw it go
    ]
    for number, message in enumerate(said, start=1):
        with write_session(world.engine) as session:
            contacts.presence(session, device_id, message, T0 + number * S)
    entries = line(world, made.product_id, T0 + 9 * S)
    seen = [(e.at - T0, e.code) for e in entries if e.code in {"came", "silent", "firmware"}]
    assert sorted(seen) == [
        (S, "came"),
        (3 * S, "silent"),
        (5 * S, "came"),
        (5 * S, "firmware"),
        (6 * S, "came"),
    ]
    change = next(entry for entry in entries if entry.code == "firmware")
    assert change.details == {"before": "1.0", "after": "1.1"}


def test_what_a_device_tells_is_kept_once_and_within_bounds(world: World) -> None:
    made = world.product()
    device_id = world.enrol(made).device_id
    odd = {"x" * 300: "y" * 300, "raw": b"\x01", "nan": math.nan, "list": [1]}
    told = Event(b"e" * 16, T0, happenings.CAME, odd)  # a device may call its events what it likes
    with write_session(world.engine) as session:
        for _ in range(2):
            contacts.event(session, device_id, told, T0 + S)
        assert contacts.event(session, "x" * 16, told, T0 + S) is None
    (entry,) = [e for e in line(world, made.product_id, T0 + S) if e.code == "device_event"]
    assert entry.details["name"] == happenings.CAME
    assert entry.details["arguments"] == {
        "x" * 200: "y" * 200,
        "raw": "01",
        "nan": "nan",
        "list": "[1]",
    }
    with write_session(world.engine) as session:
        for number in range(happenings.KEPT + 20):
            event = Event(number.to_bytes(16), T0, f"n{number}")
            contacts.event(session, device_id, event, T0 + number * S)
        assert session.scalar(select(func.count()).select_from(DeviceEvent)) == happenings.KEPT
        newest = session.scalar(select(DeviceEvent.name).order_by(DeviceEvent.id.desc()).limit(1))
        assert newest == f"n{happenings.KEPT + 19}"


def test_a_configuration_is_on_the_line_of_time_when_asked_for_and_when_in_force(
    world: World,
) -> None:
    made = world.product()
    device_id = world.enrol(made).device_id

    def ask(at: int, values: dict[str, pushes.Scalar], *, replace: bool = False) -> None:
        with write_session(world.engine) as session:
            pushes.configure(session, HUB, made.product_id, values, T0 + at * S, replace=replace)

    def report(at: int, values: dict[str, pushes.Scalar], **errors: str) -> None:
        with write_session(world.engine) as session:
            contacts.reported(session, device_id, Reported(1, values, 1, errors), T0 + at * S)

    report(1, {})  # nothing was asked for
    ask(2, {"target_c": 21, "eco": True})
    ask(3, {"eco": True})  # no change
    report(4, {"target_c": 21})
    report(5, {"target_c": 21, "eco": True, "own": 1})
    report(6, {"target_c": 21, "eco": True, "own": 2})  # nothing new of what was asked for
    ask(7, {"target_c": 99}, replace=True)
    report(8, {"target_c": 21}, target_c="too hot")
    report(9, {"target_c": 21}, target_c="too hot")
    report(10, {"target_c": 99})
    entries = line(world, made.product_id, T0 + 20 * S)
    seen = [
        ((entry.at - T0) // S, entry.code.removeprefix("configuration_"), entry.details)
        for entry in reversed(entries)
        if entry.code.startswith("configuration")
    ]
    assert seen == [
        (2, "asked", {"arguments": {"target_c": 21, "eco": True}}),
        (5, "applied", {"version": 1}),
        (7, "asked", {"arguments": {"target_c": 99, "eco": None}}),
        (8, "refused", {"arguments": {"target_c": "too hot"}}),
        (10, "applied", {"version": 2}),
    ]
