"""What happened to a device is kept, within bounds, and shown on its line of time."""

import math

from sqlalchemy import func, select

from device_sdk.wire.codes import ClockState
from device_sdk.wire.messages import Birth, Event, Presence
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import DeviceEvent
from hub.services import contacts, timeline
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
    told = Event(b"e" * 16, T0, contacts.CAME, odd)  # a device may call its events what it likes
    with write_session(world.engine) as session:
        for _ in range(2):
            contacts.event(session, device_id, told, T0 + S)
        assert contacts.event(session, "x" * 16, told, T0 + S) is None
    (entry,) = [e for e in line(world, made.product_id, T0 + S) if e.code == "device_event"]
    assert entry.details["name"] == contacts.CAME
    assert entry.details["arguments"] == {
        "x" * 200: "y" * 200,
        "raw": "01",
        "nan": "nan",
        "list": "[1]",
    }
    with write_session(world.engine) as session:
        for number in range(contacts.KEPT + 20):
            event = Event(number.to_bytes(16), T0, f"n{number}")
            contacts.event(session, device_id, event, T0 + number * S)
        assert session.scalar(select(func.count()).select_from(DeviceEvent)) == contacts.KEPT
        newest = session.scalar(select(DeviceEvent.name).order_by(DeviceEvent.id.desc()).limit(1))
        assert newest == f"n{contacts.KEPT + 19}"
