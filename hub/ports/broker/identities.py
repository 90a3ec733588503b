"""Where the hub's own parts connect, and with which certificates; the same for every broker.

1. The files are made when the hub is prepared; nothing is read here.
2. All parts go to the same node of a cluster first: a lane that changes hands is then most often taken from a
   connection of the same node.
"""

from hub.config import Settings
from hub.ports.broker.port import ClientIdentity


def internal_identity(settings: Settings, name: str) -> ClientIdentity:
    """Return addresses and TLS files of an internal client; ports must be the ones chosen."""
    host = settings.mqtt.host
    reachable = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104  a comparison
    nodes = tuple((node.host, node.mqtt_port) for node in settings.broker.nodes)
    first, *others = nodes or ((reachable, settings.mqtt.port),)
    return ClientIdentity(
        name=name,
        host=first[0],
        port=first[1],
        ca_file=settings.pki_dir / "ca.pem",
        certificate_file=settings.pki_dir / f"{name}.pem",
        key_file=settings.pki_dir / f"{name}.key",
        others=tuple(others),
    )
