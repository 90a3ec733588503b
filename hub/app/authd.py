"""Answers the broker's auth callout and ends connections of devices that are no longer welcome.

1. Nobody comes in without this process, so it does little, remembers nothing and may be
   restarted at any time; clients that connect meanwhile wait for it.
2. What it cannot decide it refuses: an unreadable request, a database that fails.
3. It ends connections when told (`homeport.revoke`), after each (re)connect to the broker, and
   every `SWEEP_S` seconds, so a revocation holds even if nobody could tell, of a device as well
   as of the one certificate that a connection came in with.

The decision itself is pure and stands in `hub.ports.broker.callout`.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from device_sdk.wire.topics import is_device_id
from hub.ports.broker import callout
from hub.ports.broker.nats_client import NatsServers, ServerControl, connect
from hub.ports.broker.nats_server import DEVICE_ACCOUNT, REVOKE_SUBJECT, NatsAccess
from hub.ports.broker.port import BrokerError

SWEEP_S = 30.0

_log = logging.getLogger("homeport.authd")


@dataclass(frozen=True, slots=True)
class Admission:
    """What the process needs of the outside.

    Attributes:
        servers: of the broker.
        access: passwords of the hub's users there.
        issuer: key that signs the answers.
        standing: how a device's certificate stands: device id, fingerprint to standing.
        unwelcome: those of the given live connections that may not (any longer) be.
        now: the present time, ns.
    """

    servers: NatsServers
    access: NatsAccess
    issuer: Ed25519PrivateKey
    standing: callout.Lookup
    unwelcome: Callable[[Collection[callout.Shown]], set[callout.Shown]]
    now: Callable[[], int]


async def serve(admission: Admission, ready: Callable[[], None], stop: threading.Event) -> None:
    """Answer callouts until `stop` is set.

    Args:
        admission: see there.
        ready: called once when callouts are answered.
        stop: ends the process in order.
    """
    due = asyncio.Event()  # a sweep is due
    due.set()

    async def reconnected() -> None:
        due.set()

    servers, access = admission.servers, admission.access
    answers = await connect(servers, "authd", access.authd, reconnected_cb=reconnected)
    system = await connect(servers, "system", access.system)
    desk = _Desk(admission, ServerControl(system, len(servers.addresses)))
    await answers.subscribe(callout.SUBJECT, cb=desk.admit)
    await answers.subscribe(REVOKE_SUBJECT, cb=desk.revoke)
    await answers.flush()
    sweeper = asyncio.create_task(desk.sweep_when_due(due))
    ready()
    await asyncio.to_thread(stop.wait)
    sweeper.cancel()
    for client in (answers, system):
        await _close(client)


class _Desk:
    """The handlers, each for one message."""

    def __init__(self, admission: Admission, control: ServerControl) -> None:
        self._admission = admission
        self._control = control
        self._refused: Counter[str] = Counter()

    async def admit(self, message: Msg) -> None:
        admission = self._admission
        try:
            request = callout.read_request(message.data)
        except (ValueError, KeyError, TypeError):
            _log.warning("unreadable callout", extra={"bytes": len(message.data)})
            return
        at = admission.now()
        decision: callout.Grant | callout.Refusal
        try:
            decision = callout.decide(request, admission.standing, at)
        except Exception:  # noqa: BLE001  whatever failed, the client stays out, the next is served
            _log.exception("admission failed")
            decision = callout.Refusal("internal", request.mqtt_client_id or "")
        if isinstance(decision, callout.Refusal):
            self._note(decision)
        else:
            _log.debug("admitted", extra={"client": decision.name})
        await message.respond(
            callout.answer(request, decision, admission.issuer, DEVICE_ACCOUNT, at)
        )

    def _note(self, refusal: callout.Refusal) -> None:
        """Log the 1st, 2nd, 4th, 8th ... refusal of a reason: no client can fill the disk so."""
        self._refused[refusal.reason] += 1
        count = self._refused[refusal.reason]
        if count & (count - 1) == 0:
            facts = {"reason": refusal.reason, "client": refusal.name, "count": count}
            _log.warning("refused", extra=facts)

    async def revoke(self, message: Msg) -> None:
        device_id = message.data.decode("ascii", errors="replace")
        if not is_device_id(device_id):
            await message.respond(b"not a device id")
            return
        try:
            everywhere = await self._end(device_id)
        except (NatsError, BrokerError, OSError) as error:
            _log.warning("disconnect failed", extra={"device": device_id, "error": repr(error)})
            await message.respond(b"failed")
            return
        await message.respond(b"ok" if everywhere else b"not everywhere")

    async def sweep_when_due(self, due: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(due.wait(), SWEEP_S)
            due.clear()
            try:
                await self._sweep()
            except Exception:  # noqa: BLE001  broker or database away: look again next time
                _log.exception("sweep failed")

    async def _sweep(self) -> None:
        connected = {(c.client_id, c.fingerprint) async for c in self._control.connections()}
        devices = {shown for shown in connected if is_device_id(shown[0])}
        for device_id, _ in sorted(self._admission.unwelcome(devices)):
            await self._end(device_id)

    async def _end(self, device_id: str) -> bool:
        """End a device's connections; False if a node did not answer, so that the next sweep has to look there."""
        ended, everywhere = await self._control.disconnect(device_id)
        if ended:
            _log.info("disconnected", extra={"client": device_id, "connections": ended})
        return everywhere


async def _close(client: Client) -> None:
    with contextlib.suppress(NatsError, OSError):
        await asyncio.wait_for(client.drain(), 1.0)
