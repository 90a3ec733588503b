"""Puts the parts of the hub together from its settings: the only place that names adapters.

1. One function for one part; a role calls those it needs.
2. The clock and the source of randomness enter here.
3. Imports stand inside the functions where a part is heavy: the broker's process must not carry
   the database, nor the supervisor numba.
"""

import time
from typing import TYPE_CHECKING

from hub.config import Settings
from hub.ports.broker.nats_server import (
    NatsAccess,
    NatsConfiguration,
    NatsServer,
    load_or_create_issuer,
)
from hub.ports.broker.nkeys import account_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Engine

    from hub.app.authd import Admission
    from hub.ports.broker.callout import Standing
    from hub.ports.broker.port import Broker, EmbeddedBroker
    from hub.services.pki import CertificateAuthority


def now() -> int:
    """Return the present time, ns since 1970 UTC."""
    return time.time_ns()


def engine(settings: Settings) -> "Engine":
    """Open the relational database."""
    from hub.ports.database.engine import open_engine  # noqa: PLC0415  heavy, see rule 3

    return open_engine(settings.database_url.get_secret_value())


def authority(settings: Settings) -> "CertificateAuthority":
    """Open the hub's certificate authority; made at first start."""
    from hub.services.pki import CertificateAuthority  # noqa: PLC0415  heavy, see rule 3

    return CertificateAuthority.load_or_create(settings.pki_dir, now(), settings.pki)


def embedded_broker(settings: Settings) -> "EmbeddedBroker":
    """Return the broker that the hub starts for itself; its ports must be chosen."""
    issuer = load_or_create_issuer(settings.keys_dir)
    return NatsServer(
        NatsConfiguration(
            folder=settings.broker_dir,
            mqtt_host=settings.mqtt.host,
            mqtt_port=settings.mqtt.port,
            client_port=settings.broker.client_port,
            ca_file=settings.pki_dir / "ca.pem",
            certificate_file=settings.pki_dir / "server.pem",
            key_file=settings.pki_dir / "server.key",
            issuer=account_name(issuer.public_key()),
            access=NatsAccess.load_or_create(settings.broker_dir),
            settings=settings.broker,
        )
    )


def broker(settings: Settings) -> "Broker":
    """Return the running broker as the parts of the hub see it."""
    from hub.ports.broker.nats_client import NatsBroker  # noqa: PLC0415  heavy, see rule 3

    return NatsBroker(settings)


def admission(settings: Settings) -> "Admission":
    """Return what the auth callout works with."""
    from hub.app.authd import Admission  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.database.engine import read_session  # noqa: PLC0415  heavy, see rule 3
    from hub.services import admission as records  # noqa: PLC0415  heavy, see rule 3

    database = engine(settings)

    def standing(device_id: str, fingerprint: str) -> "Standing":
        with read_session(database) as session:
            return records.standing(session, device_id, fingerprint)

    def unwelcome(device_ids: "Collection[str]") -> set[str]:
        with read_session(database) as session:
            return records.unwelcome(session, device_ids)

    return Admission(
        client_port=settings.broker.client_port,
        access=NatsAccess.load_or_create(settings.broker_dir),
        issuer=load_or_create_issuer(settings.keys_dir),
        standing=standing,
        unwelcome=unwelcome,
        now=now,
    )
