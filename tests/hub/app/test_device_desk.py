"""What a device says, over a real database: kept, answered and told to listeners."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select

from device_sdk.wire import cose
from device_sdk.wire.codes import ClockState, ReplyStatus, Severity
from device_sdk.wire.messages import Birth, Command, Event, Get, Notice, Presence, Reply, Reported
from device_sdk.wire.state import State, decode_state
from device_sdk.wire.topics import Down
from hub.app.device_desk import DeviceDesk, StateDesk
from hub.app.findings_desk import FindingsDesk
from hub.ports.database import alert_tables as tables
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Device
from hub.services import ownership, pushes
from hub.services.caller import HUB
from hub.services.events import Event as LiveEvent
from hub.services.signing_keys import SigningKeys
from hub.services.state import Place, StateIssuer
from tests.hub.services.service_world import DAY, T0, S, World

STRANGER = "stranger00000000"
BIRTH = Presence(Birth(b"s" * 8, b"b" * 8, "2.1.0", "homeport 0.1", (), 3, 2, ClockState.SYNCED, 0))
GONE = Presence()


@dataclass
class Scene:
    """The desks over a database, one product of one household, and what was sent and told."""

    world: World
    keys: SigningKeys
    reachable: bool = True
    sent: list[tuple[str, Down, bytes]] = field(default_factory=list)
    told: list[LiveEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        place = Place((("hub.example.org", 8883),), "https://hub.example.org")
        issuer = StateIssuer(self.world.engine, self.keys, place, lambda: (b"certificate",))
        self.states = StateDesk(self.world.engine, issuer, self.send, lambda: T0)
        findings = FindingsDesk(self.send, self.told.append)
        self.desk = DeviceDesk(
            self.world.engine, self.states, self.send, self.told.append, findings
        )
        self.caller, self.made = self.world.customer(), self.world.product()
        self.device_id = self.world.enrol(self.made).device_id
        self.world.claim(self.made, self.caller)
        self.states.step()  # what enrolling and claiming asked for

    def send(self, device_id: str, channel: Down, payload: bytes) -> bool:
        self.sent.append((device_id, channel, payload))
        return self.reachable

    def device(self) -> Device:
        with read_session(self.world.engine) as session:
            return session.scalars(select(Device).where(Device.device_id == self.device_id)).one()

    def command(self, name: str, expires_at: int, at: int = T0) -> tables.Command:
        with write_session(self.world.engine) as session:
            product = self.made.product_id
            return pushes.command(session, HUB, product, name, {"n": 1}, expires_at, at)[1]

    def notice(self, code: str, at: int) -> tables.Notice:
        with write_session(self.world.engine) as session:
            product = self.made.product_id
            return pushes.notify(session, HUB, product, code, {}, Severity.INFO, at)[1]

    def notices(self) -> list[tuple[bytes, str]]:
        """Ids and codes of the notices that were sent, nothing else having been."""
        assert {channel for _, channel, _ in self.sent} <= {Down.NOTICE}
        notices = [Notice.decode(payload) for *_, payload in self.sent]
        return [(notice.id, notice.code) for notice in notices]

    def state(self, payload: bytes) -> State:
        trusted = {
            key.kid: Ed25519PublicKey.from_public_bytes(key.key) for key in self.keys.public(T0)
        }
        return decode_state(cose.verify1(payload, trusted, cose.STATE_EXTERNAL))


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Scene:
    return Scene(world, SigningKeys.load_or_create(tmp_path / "keys"))


def test_a_birth_is_kept_and_told(scene: Scene) -> None:
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + S)
    device = scene.device()
    assert (device.online, device.last_contact) == (True, T0 + S)
    assert (device.firmware, device.sdk, device.boot) == ("2.1.0", "homeport 0.1", b"b" * 8)
    assert (device.state_version_reported, device.entitlement_version_reported) == (3, 2)
    (event,) = scene.told
    assert (event.kind, event.at, event.owner_id) == ("presence", T0 + S, scene.caller.owner_id)
    assert event.product_id == scene.made.product_id
    assert event.data == {"device_id": scene.device_id, "online": True}
    assert scene.sent == []


def test_a_last_word_keeps_what_the_birth_said(scene: Scene) -> None:
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + S)
    scene.desk.on_presence(scene.device_id, GONE, T0 + 2 * S)
    device = scene.device()
    assert (device.online, device.last_contact, device.firmware) == (False, T0 + 2 * S, "2.1.0")
    assert [event.data["online"] for event in scene.told] == [True, False]


def test_commands_given_while_it_was_away_are_delivered_at_birth(scene: Scene) -> None:
    first = scene.command("restart", T0 + DAY)
    second = scene.command("identify", T0 + DAY, at=T0 + S)
    scene.command("too_late", T0 + S)
    scene.desk.on_presence(scene.device_id, GONE, T0 + 2 * S)
    assert scene.sent == []
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 3 * S)
    assert [(device, channel) for device, channel, _ in scene.sent] == [
        (scene.device_id, Down.COMMAND)
    ] * 2
    commands = [Command.decode(payload) for *_, payload in scene.sent]
    assert [(c.id, c.name, c.expiry) for c in commands] == [
        (first.id, "restart", T0 + DAY),
        (second.id, "identify", T0 + DAY),
    ]
    assert commands[0].arguments == {"n": 1}


def test_a_notice_is_sent_again_at_the_next_birth_only(scene: Scene) -> None:
    first, second = scene.notice("service.due", T0), scene.notice("filter.full", T0 + S)
    scene.desk.on_presence(scene.device_id, GONE, T0 + 2 * S)
    assert scene.sent == []
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 3 * S)
    assert scene.notices() == [(first.id, "service.due"), (second.id, "filter.full")]
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 4 * S)
    assert len(scene.sent) == 2
    third = scene.notice("leak", T0 + 5 * S)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 6 * S)
    assert scene.notices()[2:] == [(third.id, "leak")]


def test_a_notice_that_the_broker_did_not_take_goes_on_waiting(scene: Scene) -> None:
    scene.notice("service.due", T0)
    scene.reachable = False
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + S)
    scene.reachable = True
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 2 * S)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 3 * S)
    assert len(scene.sent) == 2


def test_an_old_notice_is_not_sent_any_more(scene: Scene) -> None:
    scene.notice("service.due", T0)
    later = scene.notice("filter.full", T0 + DAY)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 30 * DAY)
    assert scene.notices() == [(later.id, "filter.full")]


def test_a_notice_for_an_earlier_owner_is_not_shown_to_the_next(scene: Scene) -> None:
    scene.notice("service.due", T0)
    with write_session(scene.world.engine) as session:
        ownership.release(session, scene.caller, scene.made.product_id, T0 + S)
    nobodys = scene.notice("reset", T0 + 2 * S)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 3 * S)
    assert scene.notices() == [(nobodys.id, "reset")]


def test_a_command_is_for_the_owner_under_whom_it_was_given(scene: Scene) -> None:
    scene.command("restart", T0 + DAY)
    with write_session(scene.world.engine) as session:
        ownership.release(session, scene.caller, scene.made.product_id, T0 + S)
    scene.command("identify", T0 + DAY, at=T0 + 2 * S)  # by staff, while nobody owned it
    scene.world.claim(scene.made, scene.world.customer(), T0 + 3 * S)
    present = scene.command("reset", T0 + DAY, at=T0 + 4 * S)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 5 * S)
    (sent,) = [data for _, channel, data in scene.sent if channel is Down.COMMAND]
    command = Command.decode(sent)
    assert (command.id, command.owner_epoch) == (present.id, 2)


def test_keys_that_turn_are_told_to_who_is_there(scene: Scene) -> None:
    scene.desk.on_presence(scene.device_id, BIRTH, T0)
    scene.states.ask_due(T0)
    scene.states.step()
    scene.sent.clear()
    scene.keys.rotate(scene.world.engine, HUB, T0, 10 * S)
    scene.states.ask_due(T0)
    assert scene.states.step() == 1
    (state,) = [scene.state(data) for _, channel, data in scene.sent if channel is Down.STATE]
    assert [key.kid for key in state.signing_keys] == [k.kid for k in scene.keys.public(T0)]
    scene.states.ask_due(T0)
    assert scene.states.step() == 0


def test_a_command_waits_until_it_is_replied_to(scene: Scene) -> None:
    command = scene.command("restart", T0 + DAY)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + S)
    reply = Reply(command.id, ReplyStatus.REFUSED, {"why": "busy"}, "not now")
    scene.desk.on_reply(scene.device_id, reply, T0 + 2 * S)
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + 3 * S)
    assert len(scene.sent) == 1
    with read_session(scene.world.engine) as session:
        kept = session.get_one(tables.Command, command.id)
    assert (kept.replied_at, kept.reply_status) == (T0 + 2 * S, ReplyStatus.REFUSED)
    assert (kept.reply_result, kept.reply_message) == ({"why": "busy"}, "not now")
    (event,) = [event for event in scene.told if event.kind == "reply"]
    assert event.data == {
        "device_id": scene.device_id,
        "command_id": command.id.hex(),
        "status": "refused",
    }


def test_a_reply_to_what_was_never_asked_is_not_told(scene: Scene) -> None:
    scene.desk.on_reply(scene.device_id, Reply(b"c" * 16, ReplyStatus.DONE), T0 + S)
    assert scene.told == []
    assert scene.device().last_contact == T0 + S


def test_a_reply_counts_for_the_device_that_was_asked(scene: Scene) -> None:
    command = scene.command("restart", T0 + DAY)
    other = scene.world.enrol(scene.world.product()).device_id
    scene.desk.on_reply(other, Reply(command.id, ReplyStatus.DONE), T0 + S)
    with read_session(scene.world.engine) as session:
        assert session.get_one(tables.Command, command.id).replied_at is None
    assert scene.told == []


def test_who_asks_gets_its_signed_state(scene: Scene) -> None:
    scene.desk.on_get(scene.device_id, Get(("state",), 0), T0 + S)
    assert scene.device().last_contact == T0 + S
    assert scene.sent == []  # the thread of the states sends it
    assert scene.states.step() == 1
    ((device_id, channel, payload),) = scene.sent
    assert (device_id, channel) == (scene.device_id, Down.STATE)
    state = scene.state(payload)
    assert (state.device, state.owner_epoch, state.time) == (scene.device_id, 1, T0)
    assert state.version == scene.device().state_version
    assert scene.states.step() == 0


def test_asking_for_something_else_sends_no_state(scene: Scene) -> None:
    scene.desk.on_get(scene.device_id, Get(("weather",), 0), T0 + S)
    assert scene.states.step() == 0


def test_a_device_that_was_removed_gets_no_state(scene: Scene) -> None:
    scene.states.ask(STRANGER)
    scene.states.ask(scene.device_id)
    assert scene.states.step() == 1


def test_a_change_is_sent_at_once_to_a_device_that_is_there(scene: Scene) -> None:
    def configure(target: float) -> None:
        with write_session(scene.world.engine) as session:
            product = scene.made.product_id
            pushes.configure(session, HUB, product, {"target_c": target}, T0)

    configure(20.5)
    assert scene.states.step() == 0
    scene.desk.on_presence(scene.device_id, BIRTH, T0 + S)
    configure(21.5)
    configure(22.5)
    assert scene.states.step() == 1  # many changes become one state
    assert scene.state(scene.sent[-1][2]).configuration == {"target_c": 22.5}


def test_what_was_asked_outlasts_a_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.states.ask(scene.device_id)

    def fail(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(scene.states, "_send", fail)
        with pytest.raises(OSError, match="No space left"):
            scene.states.step()
    assert scene.states.step() == 1


def test_what_is_reported_is_kept_and_told(scene: Scene) -> None:
    message = Reported(5, {"target_c": 21.5}, 4, {"mode": "x" * 300})
    scene.desk.on_reported(scene.device_id, message, T0 + S)
    device = scene.device()
    assert (device.last_contact, device.state_version_reported) == (T0 + S, 5)
    assert (device.reported, device.entitlement_version_reported) == ({"target_c": 21.5}, 4)
    assert device.reported_errors == {"mode": "x" * 200}
    (event,) = scene.told
    assert (event.kind, event.data["state_version"]) == ("reported", 5)
    assert event.data["configuration"] == {"target_c": 21.5}


def test_an_event_is_told_with_its_own_time(scene: Scene) -> None:
    message = Event(b"e" * 16, T0 - DAY, "door.opened", {"count": 2})
    scene.desk.on_event(scene.device_id, message, T0 + S)
    (event,) = scene.told
    assert (event.kind, event.at) == ("event", T0 + S)
    assert event.data == {
        "device_id": scene.device_id,
        "name": "door.opened",
        "arguments": {"count": 2},
        "time": T0 - DAY,
    }
    assert scene.device().last_contact == T0 + S


SAYINGS: dict[str, Callable[[DeviceDesk], None]] = {
    "presence": lambda desk: desk.on_presence(STRANGER, BIRTH, T0),
    "event": lambda desk: desk.on_event(STRANGER, Event(b"e" * 16, T0, "hello"), T0),
    "reported": lambda desk: desk.on_reported(STRANGER, Reported(1, {}, 1), T0),
    "reply": lambda desk: desk.on_reply(STRANGER, Reply(b"c" * 16, ReplyStatus.DONE), T0),
    "get": lambda desk: desk.on_get(STRANGER, Get(("state",), 0), T0),
}


@pytest.mark.parametrize("saying", SAYINGS)
def test_who_is_not_known_is_ignored(scene: Scene, saying: str) -> None:
    SAYINGS[saying](scene.desk)
    scene.states.step()
    assert (scene.sent, scene.told) == ([], [])


def test_two_live_copies_of_a_device_are_told_to_support_once_an_hour(scene: Scene) -> None:
    def born(boot: bytes, at: int) -> None:
        assert BIRTH.birth is not None
        birth = replace(BIRTH.birth, boot=boot * 8)
        scene.desk.on_presence(scene.device_id, Presence(birth), at)

    def told() -> list[LiveEvent]:
        return [event for event in scene.told if event.kind == "alert"]

    for number, boot in enumerate((b"a", b"a", b"b", b"b", b"c")):  # reconnections and restarts
        born(boot, T0 + number * S)
    assert told() == []
    for number in range(4):  # two of them take turns
        born(b"b" if number % 2 == 0 else b"c", T0 + (10 + number) * S)
    (event,) = told()
    assert event.owner_id is None  # for support alone
    assert (event.data["change"], event.data["status"]) == ("opened", "open")
    born(b"b", T0 + 2 * 3_600 * S)
    assert [one.data["change"] for one in told()][1:] == ["updated"]
