"""The hub's side of the NATS server: who is connected, ending connections, announcing revocations.

1. Live connections are read from the servers each time: nothing is remembered that a restart of
   either side could make wrong. Of a cluster every node is asked.
2. A connection is found by its MQTT client id, which admission has bound to the certificate.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError

from hub.config import Settings
from hub.ports.broker.identities import internal_identity
from hub.ports.broker.nats_server import REVOKE_SUBJECT, NatsAccess
from hub.ports.broker.port import BrokerError, ClientIdentity

REQUEST_TIMEOUT_S = 3.0

_PAGE = 1_024
_ROLL_CALL_S = 1.0
_RECONNECT_WAIT_S = 0.2
_PING_S = 5
"""A server that has gone silent is given up after two to three of these."""
_log = logging.getLogger("homeport.broker")


@dataclass(frozen=True, slots=True)
class Connection:
    """A live MQTT connection.

    `cid` is its number at the server, `client_id` MQTT's, `fingerprint` that of the certificate it
    came in with (SHA-256, lower-case hex; empty if the server does not say).
    """

    cid: int
    client_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class NatsServers:
    """Where the servers' own protocol is spoken.

    Attributes:
        addresses: host and port of each.
        ca_file: authorities that their certificates are checked against; None: without TLS, on loopback.
    """

    addresses: tuple[tuple[str, int], ...]
    ca_file: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of a hub; ports must be the ones chosen."""
        if settings.broker.nodes:
            nodes = tuple((node.host, node.client_port) for node in settings.broker.nodes)
            return cls(nodes, settings.pki_dir / "ca.pem")
        return cls((("127.0.0.1", settings.broker.client_port),))

    def options(self) -> dict[str, Any]:
        """Return what nats-py needs to know of them."""
        if self.ca_file is None:
            return {"servers": [f"nats://{host}:{port}" for host, port in self.addresses]}
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return {"servers": [f"tls://{host}:{port}" for host, port in self.addresses], "tls": trust}


class ServerControl:
    """Lists and ends connections, over a connection of the user `system`.

    Args:
        client: connected as `system`.
        count: how many servers there are.
    """

    def __init__(self, client: Client, count: int = 1) -> None:
        self._client = client
        self._count = count

    async def connections(self, client_id: str | None = None) -> AsyncIterator[Connection]:
        """Yield the live MQTT connections, of one client id or of all, at the servers that answer."""
        for server in await self._servers():
            async for connection in self._at(server, client_id):
                yield connection

    async def disconnect(self, client_id: str) -> tuple[int, bool]:
        """End all connections of a client id.

        Returns:
            How many there were, and whether every server was asked.
        """
        ended = 0
        servers = await self._servers()
        for server in servers:
            async for connection in self._at(server, client_id):
                await self._ask(f"$SYS.REQ.SERVER.{server}.KICK", {"cid": connection.cid})
                ended += 1
        return ended, len(servers) == self._count

    async def _at(self, server: str, client_id: str | None) -> AsyncIterator[Connection]:
        offset = 0
        while True:
            query: dict[str, Any] = {"offset": offset, "limit": _PAGE, "auth": True}
            if client_id is not None:
                query["mqtt_client"] = client_id
            data = await self._ask(f"$SYS.REQ.SERVER.{server}.CONNZ", query)
            page = data["connections"]
            for item in page:
                if item.get("mqtt_client"):
                    yield Connection(item["cid"], item["mqtt_client"], _fingerprint(item))
            offset += len(page)
            if len(page) < _PAGE:
                return

    async def _servers(self) -> list[str]:
        """Ask who is there; waits a moment for those that do not answer."""
        inbox = self._client.new_inbox()
        answers = await self._client.subscribe(inbox)
        found: list[str] = []
        try:
            await self._client.publish("$SYS.REQ.SERVER.PING.IDZ", reply=inbox)
            while len(found) < self._count:
                answer = await answers.next_msg(timeout=_ROLL_CALL_S)
                if answer.data:  # else nobody listens: the server says so
                    found.append(str(json.loads(answer.data)["id"]))
        except NatsTimeoutError:
            if not found:
                raise
        finally:
            await answers.unsubscribe()
        return found

    async def _ask(self, subject: str, query: dict[str, Any]) -> dict[str, Any]:
        reply = await self._client.request(
            subject, json.dumps(query).encode(), timeout=REQUEST_TIMEOUT_S
        )
        answer = json.loads(reply.data)
        if "error" in answer:
            raise BrokerError(f"The broker refused {subject}: {answer['error']}.")
        data: dict[str, Any] = answer.get("data") or {}
        return data


def _fingerprint(item: Mapping[str, Any]) -> str:
    chain = item.get("tls_peer_certs") or [{}]
    return str(chain[0].get("cert_sha256", ""))


async def connect(servers: NatsServers, user: str, password: str, **callbacks: Any) -> Client:
    """Connect to the own protocol of one of the servers; reconnects for ever, to whichever answers.

    Args:
        servers: of the broker.
        user: one of the users of `NatsAccess`.
        password: its password.
        callbacks: `reconnected_cb` and the like of nats-py.
    """
    return await nats.connect(
        **servers.options(),
        user=user,
        password=password,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_WAIT_S,
        ping_interval=_PING_S,
        error_cb=_note,
        **callbacks,
    )


class NatsBroker:
    """The broker as the parts of the hub see it: implements `Broker`.

    Args:
        settings: ports must be the ones chosen at start, not 0.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def identity(self, name: str) -> ClientIdentity:
        """See `Broker.identity`."""
        return internal_identity(self._settings, name)

    def disconnect(self, device_id: str) -> bool:
        """See `Broker.disconnect`: asks `authd`, the only one that may end connections."""
        return asyncio.run(self._announce(device_id))

    async def _announce(self, device_id: str) -> bool:
        client = await self._connected()
        if client is None:
            return False
        try:
            reply = await client.request(
                REVOKE_SUBJECT, device_id.encode(), timeout=REQUEST_TIMEOUT_S
            )
        except NatsError:
            return False
        finally:
            await client.close()
        return reply.data == b"ok"

    async def _connected(self) -> Client | None:
        """Connect to a server that answers; each is tried twice."""
        access = NatsAccess.load_or_create(self._settings.broker_dir)
        servers = NatsServers.of(self._settings)
        try:
            return await nats.connect(
                **servers.options(),
                user="hub",
                password=access.hub,
                connect_timeout=int(REQUEST_TIMEOUT_S),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=_RECONNECT_WAIT_S,
                error_cb=_note,
            )
        except (NatsError, OSError, TimeoutError):
            return None


async def _note(error: Exception) -> None:
    """Note what nats-py meets; it goes on by itself, and by default it logs a traceback for each attempt."""
    _log.debug("broker: %r", error)
