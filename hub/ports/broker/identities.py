"""Where the hub's own parts connect, and with which certificates; the same for every broker.

1. The files are made when the hub is prepared; nothing is read here.
"""

from hub.config import Settings
from hub.ports.broker.port import ClientIdentity


def internal_identity(settings: Settings, name: str) -> ClientIdentity:
    """Return address and TLS files of an internal client; ports must be the ones chosen."""
    host = settings.mqtt.host
    return ClientIdentity(
        name=name,
        host="127.0.0.1" if host == "0.0.0.0" else host,  # noqa: S104  a comparison
        port=settings.mqtt.port,
        ca_file=settings.pki_dir / "ca.pem",
        certificate_file=settings.pki_dir / f"{name}.pem",
        key_file=settings.pki_dir / f"{name}.key",
    )
