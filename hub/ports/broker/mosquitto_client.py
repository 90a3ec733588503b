"""The hub's side of Mosquitto: where its parts connect, and revocations over the control topic.

1. Each call connects anew as REVOKER, asks, and leaves: nothing is remembered that a restart of
   either side could make wrong. Calls queue, as the client id is one.
2. What could not be told is told later: `reconcile` compares who is shut out with the records.
"""

import contextlib
import json
import logging
import queue
import ssl
import threading
from collections.abc import Collection
from typing import Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from hub.config import Settings
from hub.ports.broker.identities import internal_identity
from hub.ports.broker.mosquitto import (
    CONTROL_TOPIC,
    RESPONSE_TOPIC,
    REVOKED,
    read_responses,
    revocation,
)
from hub.ports.broker.port import REVOKER, BrokerError, ClientIdentity

TIMEOUT_S: Final = 3.0
_log = logging.getLogger("homeport.broker")
_KEEPALIVE_S: Final = 15
_AT_ONCE: Final = 100  # devices in one request; its packet stays far below the limit


class MosquittoBroker:
    """A Mosquitto that somebody else runs: implements `Broker`.

    Args:
        settings: `mqtt.host` and `mqtt.port` say where it listens.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()

    def identity(self, name: str) -> ClientIdentity:
        """See `Broker.identity`."""
        return internal_identity(self._settings, name)

    def disconnect(self, device_id: str) -> bool:
        """See `Broker.disconnect`."""
        try:
            self._ask(revocation([device_id]))
        except (BrokerError, OSError) as error:
            _log.warning("Mosquitto was not told of a revocation: %s", error)
            return False
        return True

    def reconcile(self, revoked: Collection[str]) -> int:
        """Shut out every device of `revoked` that the broker does not shut out yet.

        Args:
            revoked: ids of all devices that are revoked.

        Returns:
            How many had to be shut out.

        Raises:
            BrokerError: the broker refused, or did not answer in time.
            OSError: the broker cannot be reached.
        """
        listed = self._ask([{"command": "listClients", "verbose": True}])
        known = {
            client["username"]
            for client in listed[0].get("data", {}).get("clients", ())
            if client.get("disabled") and REVOKED in {r.get("rolename") for r in client["roles"]}
        }
        missing = sorted(set(revoked) - known)
        for start in range(0, len(missing), _AT_ONCE):
            self._ask(revocation(missing[start : start + _AT_ONCE]))
        return len(missing)

    def _ask(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send commands in one request and return the answers."""
        with self._turn:
            return _Exchange(self.identity(REVOKER)).run(commands)


class _Exchange:
    """One connection for one request."""

    def __init__(self, identity: ClientIdentity) -> None:
        self._identity = identity
        self._answers: queue.Queue[bytes | BrokerError] = queue.Queue()

    def run(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        who = self._identity
        context = ssl.create_default_context(cafile=str(who.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(who.certificate_file), str(who.key_file))
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=who.name,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = TIMEOUT_S
        client.tls_set_context(context)
        client.on_connect = lambda c, *_: c.subscribe(RESPONSE_TOPIC, qos=1)
        payload = json.dumps({"commands": commands}).encode()
        client.on_subscribe = lambda c, *_: c.publish(CONTROL_TOPIC, payload, qos=1)
        client.on_message = lambda _c, _u, message: self._answers.put(bytes(message.payload))
        client.on_disconnect = lambda *_: self._answers.put(
            BrokerError("Mosquitto ended the connection; see its log.")
        )
        client.connect(who.host, who.port, _KEEPALIVE_S)
        client.loop_start()
        try:
            answer = self._answers.get(timeout=TIMEOUT_S)
        except queue.Empty:
            raise BrokerError(
                f"Mosquitto did not answer on {RESPONSE_TOPIC} within {TIMEOUT_S:.0f} s. "
                f"Its dynamic security must know the role of {REVOKER}."
            ) from None
        finally:
            with contextlib.suppress(OSError):
                client.disconnect()
            client.loop_stop()
        if isinstance(answer, BrokerError):
            raise answer
        return read_responses(answer)
