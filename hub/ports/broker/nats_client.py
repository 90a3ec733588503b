"""The hub's side of the NATS server: who is connected, ending connections, announcing revocations.

1. Live connections are read from the server each time: nothing is remembered that a restart of
   either side could make wrong.
2. A connection is found by its MQTT client id, which admission has bound to the certificate.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from hub.config import Settings
from hub.ports.broker.identities import internal_identity
from hub.ports.broker.nats_server import REVOKE_SUBJECT, NatsAccess
from hub.ports.broker.port import BrokerError, ClientIdentity

REQUEST_TIMEOUT_S = 3.0

_PAGE = 1_024
_RECONNECT_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class Connection:
    """A live MQTT connection.

    `cid` is its number at the server, `client_id` MQTT's, `fingerprint` that of the certificate it
    came in with (SHA-256, lower-case hex; empty if the server does not say).
    """

    cid: int
    client_id: str
    fingerprint: str


class ServerControl:
    """Lists and ends connections, over a connection of the user `system`.

    Args:
        client: connected as `system`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def connections(self, client_id: str | None = None) -> AsyncIterator[Connection]:
        """Yield the live MQTT connections, of one client id or of all."""
        offset = 0
        while True:
            query: dict[str, Any] = {"offset": offset, "limit": _PAGE, "auth": True}
            if client_id is not None:
                query["mqtt_client"] = client_id
            data = await self._ask("$SYS.REQ.SERVER.PING.CONNZ", query)
            page = data["connections"]
            for item in page:
                if item.get("mqtt_client"):
                    yield Connection(item["cid"], item["mqtt_client"], _fingerprint(item))
            offset += len(page)
            if len(page) < _PAGE:
                return

    async def disconnect(self, client_id: str) -> int:
        """End all connections of a client id; return how many there were."""
        ended = 0
        async for connection in self.connections(client_id):
            await self._ask(f"$SYS.REQ.SERVER.{await self._server()}.KICK", {"cid": connection.cid})
            ended += 1
        return ended

    async def _server(self) -> str:
        reply = await self._client.request(
            "$SYS.REQ.SERVER.PING.IDZ", b"", timeout=REQUEST_TIMEOUT_S
        )
        return str(json.loads(reply.data)["id"])

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


async def connect(port: int, user: str, password: str, **callbacks: Any) -> Client:
    """Connect to the server's own protocol on loopback; reconnects for ever.

    Args:
        port: loopback port of the server.
        user: one of the users of `NatsAccess`.
        password: its password.
        callbacks: `reconnected_cb` and the like of nats-py.
    """
    return await nats.connect(
        f"nats://127.0.0.1:{port}",
        user=user,
        password=password,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_WAIT_S,
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
        access = NatsAccess.load_or_create(self._settings.broker_dir)
        try:
            client = await nats.connect(
                f"nats://127.0.0.1:{self._settings.broker.client_port}",
                user="hub",
                password=access.hub,
                connect_timeout=int(REQUEST_TIMEOUT_S),
                allow_reconnect=False,
            )
        except (NatsError, OSError):
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
