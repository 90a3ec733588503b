"""What the hub needs of a broker, whichever it is.

1. The broker is a pipe: it may lose, repeat and reorder. Nothing of value is kept in it.
2. It admits a client by its certificate only, and binds topics and client id to it.
3. Ending a connection is best effort here and certain in the end: whoever watches admission
   ends connections of devices that are no longer welcome, also those it was not told of.

Adapters stand beside this file; only `hub.wiring` names them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hub.errors import HubError

INGEST = "hub-ingest"
CONTROL = "hub-control"
REVOKER = "hub-revoker"
"""Tells a broker that the hub does not start who is shut out; it may do nothing else."""

# The kind of a client stands in the URI name of its certificate, written by the hub's authority.
DEVICE_URI = "urn:homeport:device:"
INTERNAL_URI = "urn:homeport:internal:"


class BrokerError(HubError):
    """The broker did not start, or did not do what it was asked."""

    code = "broker"
    title = "The broker failed"
    status = 503


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """What a part of the hub needs to connect by MQTT.

    `name` is common name of the certificate and MQTT client id; `others` are further hosts and ports of the same
    broker, to be tried when the first does not answer.
    """

    name: str
    host: str
    port: int
    ca_file: Path
    certificate_file: Path
    key_file: Path
    others: tuple[tuple[str, int], ...] = ()


class Broker(Protocol):
    """A running broker, as the parts of the hub see it."""

    def identity(self, name: str) -> ClientIdentity:
        """Return address and TLS files of an internal client, such as `hub-control`."""

    def disconnect(self, device_id: str) -> bool:
        """End the live connections of a device that was just revoked (and committed as such).

        Blocks for up to a few seconds; call it from a worker thread, not from an event loop.

        Returns:
            True if the broker confirmed that no connection of the device is left; False if it
            could not be asked now, in which case the next regular check ends the connection.
        """


class EmbeddedBroker(Protocol):
    """A broker that the hub starts for itself."""

    def start(self) -> None:
        """Start it and return when it accepts connections.

        Raises:
            BrokerError: it ended or did not get ready; the message holds its last words.
        """

    def wait(self) -> int:
        """Block until it ends and return its exit status."""

    def take_certificates(self) -> bool:
        """Have it read its certificates again if they changed; clients may have to connect anew.

        Returns:
            Whether they had changed.
        """

    def stop(self) -> None:
        """End it in order; kill it if it does not end within seconds."""
