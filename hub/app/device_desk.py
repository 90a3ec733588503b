"""What the hub does when a device speaks on a control channel, and the state it sends back.

1. What a device says is kept in one transaction, then told to whoever listens live.
2. A device that asks gets its state at once; one whose facts changed gets it while it is
   connected. A device that is not connected asks when it comes.
3. States are issued on a thread of their own: many changes at once become one state each. It also
   looks every second for features and signing keys that turned by themselves.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, select

from device_sdk.wire.messages import Event, Get, Presence, Reply, Reported
from device_sdk.wire.topics import Down
from hub.app.findings_desk import Changes, FindingsDesk, Send
from hub.errors import NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Device
from hub.services import alerts, changes, contacts, pushes, reserved_events, state, waiting
from hub.services.contacts import Contact
from hub.services.events import Event as LiveEvent
from hub.services.state import StateIssuer

_COALESCE_S = 0.02
_LOOK_NS = 1_000_000_000
_RETRY_S = 1.0
_NAMED = 10_000
"""Products that a query names at once; databases limit the number of parameters."""

_log = logging.getLogger("homeport.control")


class StateDesk:
    """Issues states and sends them. One thread runs it; any thread may ask.

    Args:
        engine: the database, whose committed changes it follows.
        issuer: signs states.
        send: hands them to the broker.
        clock: the present time, ns.
    """

    def __init__(
        self, engine: Engine, issuer: StateIssuer, send: Send, clock: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._issuer = issuer
        self._send = send
        self._clock = clock
        self._devices: set[str] = set()
        self._products: set[str] = set()
        self._lock = threading.Lock()
        self._due = threading.Event()
        changes.listen(engine, self._hear, changes.About.DECISIONS)

    def ask(self, device_id: str) -> None:
        """Send a device its present state soon; returns at once."""
        with self._lock:
            self._devices.add(device_id)
        self._due.set()

    def run(self, stop: threading.Event) -> None:
        """Send what is asked for until `stop` is set."""
        look_at = 0
        while not stop.is_set():
            self._due.wait(0.25)
            try:
                now = self._clock()
                if not 0 < look_at - now <= _LOOK_NS:  # due, or the clock was set back
                    look_at = now + _LOOK_NS
                    self.ask_due(now)
                self.step()
            except Exception:  # noqa: BLE001  the database may be busy; what was asked is kept
                _log.exception("states could not be issued; trying again")
                self._due.set()
                stop.wait(_RETRY_S)
            stop.wait(_COALESCE_S)

    def ask_due(self, at: int) -> None:
        """Ask for states where features or signing keys have turned by themselves (`at`: now, ns)."""
        with read_session(self._engine) as session:
            turned = state.due(session, at)
        with self._lock:
            self._devices.update(turned)
            if self._issuer.keys_turned(at):
                self._products.add(changes.EVERY_PRODUCT)

    def turn(self, at: int) -> None:
        """Send the states in which something has turned by itself at an instant (now, ns)."""
        self.ask_due(at)
        self.step()

    def next_due(self, after: int) -> int | None:
        """Return when a state turns by itself next, after an instant; None: none does."""
        with read_session(self._engine) as session:
            return state.next_due(session, after)

    def step(self) -> int:
        """Send all that is asked for now; returns how many states were handed to the broker."""
        self._due.clear()
        with self._taken() as (devices, products):
            online = self._online(products) if products else set()
            return sum(self._issue(device_id) for device_id in sorted(devices | online))

    @contextmanager
    def _taken(self) -> Iterator[tuple[set[str], set[str]]]:
        """Take what is asked for; put it back if that fails."""
        with self._lock:
            devices, products = self._devices, self._products
            self._devices, self._products = set(), set()
        try:
            yield devices, products
        except BaseException:
            with self._lock:
                self._devices |= devices
                self._products |= products
            raise

    def _hear(self, products: frozenset[str]) -> None:
        with self._lock:
            self._products |= products
        self._due.set()

    def _online(self, products: set[str]) -> set[str]:
        online = select(Device.device_id).where(Device.online.is_(True))
        with read_session(self._engine) as session:
            if changes.EVERY_PRODUCT in products:
                return set(session.scalars(online))
            # By the index of products: what changed is few, what is online may be a million.
            named = sorted(products)
            return {
                device_id
                for first in range(0, len(named), _NAMED)
                for device_id in session.scalars(
                    online.where(Device.product_id.in_(named[first : first + _NAMED]))
                )
            }

    def _issue(self, device_id: str) -> bool:
        try:
            issued = self._issuer.issue(device_id, self._clock())
        except NotFoundError:  # removed since
            return False
        return self._send(device_id, Down.STATE, issued.payload)


class DeviceDesk:
    """Takes the messages of devices; implements `ControlHandler`.

    Args:
        engine: the database.
        states: sends states.
        send: hands commands and notices to the broker.
        publish: tells live listeners.
        findings: announces what a birth gives away.
    """

    def __init__(
        self,
        engine: Engine,
        states: StateDesk,
        send: Send,
        publish: Callable[[LiveEvent], None],
        findings: FindingsDesk,
    ) -> None:
        self._engine = engine
        self._states = states
        self._send = send
        self._publish = publish
        self._findings = findings

    def on_presence(self, device_id: str, message: Presence, at: int) -> None:
        """A device came, or went."""
        told: Changes = []
        with write_session(self._engine) as session:
            contact = contacts.presence(session, device_id, message, at)
            due = waiting.of(session, contact.slot, at) if contact and message.online else None
            if contact is not None and contact.found is not None:
                changed = alerts.apply_findings(session, [contact.found], at)
                told = self._findings.announced(session, changed, at)
        self._findings.publish(told)
        if due is not None:
            self._catch_up(device_id, due, at)
        self._tell("presence", at, contact, {"online": message.online})

    def on_event(self, device_id: str, message: Event, at: int) -> None:
        """Something happened on a device."""
        with write_session(self._engine) as session:
            contact = contacts.event(session, device_id, message, at)
            if contact is not None and contact.fresh:
                reserved_events.heard(session, contact.product_id, message, at)
        data = {"name": message.name, "arguments": dict(message.arguments), "time": message.time}
        self._tell("event", at, contact, data)

    def on_reported(self, device_id: str, message: Reported, at: int) -> None:
        """A device says what it has applied."""
        with write_session(self._engine) as session:
            contact = contacts.reported(session, device_id, message, at)
        data = {
            "state_version": message.state_version,
            "configuration": dict(message.configuration),
            "errors": dict(message.errors),
        }
        self._tell("reported", at, contact, data)

    def on_reply(self, device_id: str, message: Reply, at: int) -> None:
        """A device answers a command."""
        with write_session(self._engine) as session:
            command = pushes.keep_reply(session, device_id, message, at)
            asked = None if command is None else command.created_at
            contact = contacts.touch(session, device_id, at, about=asked)
        if command is not None:
            data = {"command_id": message.id.hex(), "status": message.status.name.lower()}
            self._tell("reply", at, contact, data)

    def on_get(self, device_id: str, message: Get, at: int) -> None:
        """A device asks for its state."""
        with write_session(self._engine) as session:
            contacts.touch(session, device_id, at)
        if "state" in message.wanted:
            self._states.ask(device_id)

    def _catch_up(self, device_id: str, due: waiting.Waiting, at: int) -> None:
        """Send a device what was meant for it while it was away."""
        for command in due.commands:
            self._send(device_id, Down.COMMAND, pushes.command_payload(command))
        told = [
            notice
            for notice in due.notices
            if self._send(device_id, Down.NOTICE, pushes.notice_payload(notice))
        ]
        if told:
            with write_session(self._engine) as session:
                waiting.keep_told(session, told, at)

    def _tell(self, kind: str, at: int, contact: Contact | None, data: Mapping[str, Any]) -> None:
        if contact is not None:
            facts = {"device_id": contact.device_id, **data}
            self._publish(LiveEvent(kind, at, contact.product_id, contact.owner_id, facts))
