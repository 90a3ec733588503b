"""Mosquitto as the hub's broker: its configuration, and revoking devices on it while it runs.

1. A client is its certificate: the common name becomes user name and client id, so a client that
   claims another id gets its own. Pattern ACLs bind topics to that name; a device can say anything
   below its own `up` only and is sent nothing but what is below its own `down`.
2. Mosquitto's file ACL does not refuse a subscription, it withholds what may not be read.
3. Dynamic security holds who is revoked, and ends live connections. With certificate identities it
   is not asked at CONNECT (measured on 2.0.11), so `disableClient` alone lets a device come back:
   the role REVOKED denies it every topic. It may connect, and neither say nor hear anything.
4. The parts of the hub are roles in dynamic security. Only REVOKER may change it.
5. Nothing is kept or retained: devices resend, and ask for their state.
What must never live here: who is revoked; the hub's records say.
"""

import json
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device_sdk.wire.topics import ROOT
from hub.config import BrokerSettings
from hub.ports.broker.grants import internal_topics
from hub.ports.broker.port import CONTROL, INGEST, REVOKER, BrokerError
from hub.ports.keyfile import create_private, make_private_folder, replace_private

CONTROL_TOPIC: Final = "$CONTROL/dynamic-security/v1"
RESPONSE_TOPIC: Final = f"{CONTROL_TOPIC}/response"
REVOKED: Final = "revoked"

_QUEUED_PACKETS: Final = 100_000
_ALREADY: Final = frozenset({"Client already exists"})
_PLUGIN: Final = "mosquitto_dynamic_security.so"
_PLUGIN_FOLDERS: Final = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")
_ACL: Final = f"""\
# Every client by its own name (%u, the common name of its certificate) and no other.
pattern write {ROOT}/+/%u/up/+
pattern read {ROOT}/+/%u/down/+
"""


@dataclass(frozen=True, slots=True)
class MosquittoConfiguration:
    """What `write_configuration` makes a folder of.

    Attributes:
        folder: where the files go and stay; Mosquitto must be able to write in it.
        host: address to listen on; empty for all.
        port: of the TLS listener.
        user: whom Mosquitto becomes if root starts it.
        workers: how many ingest workers the hub has.
        ca_pem: the hub's authority, which signs all clients.
        certificate_pem: of the broker.
        key_pem: of the broker.
        settings: limits.
    """

    folder: Path
    host: str
    port: int
    user: str
    workers: int
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes
    settings: BrokerSettings

    def text(self) -> str:
        """Return `mosquitto.conf`."""
        folder, settings = self.folder, self.settings
        return f"""\
# Written by `homeport broker mosquitto-conf`. Run it again for a new certificate, then send SIGHUP.
user {self.user}
allow_anonymous false
acl_file {folder / "acl"}
plugin {find_plugin()}
plugin_opt_config_file {folder / "dynamic-security.json"}

# Devices keep what has no receipt and send it again, so nothing is kept here.
persistence false
retain_available false
sys_interval 0
set_tcp_nodelay true

# A packet above this ends the connection of who sent it.
max_packet_size {settings.max_payload}
# For a slow subscriber: the hub's ingest takes bursts, a device that reads nothing costs this.
max_queued_bytes {settings.max_pending}
max_queued_messages {_QUEUED_PACKETS}
max_inflight_messages 20
max_keepalive 3600

listener {self.port} {self.host}
max_connections {settings.max_connections}
cafile {folder / "ca.pem"}
certfile {folder / "server.pem"}
keyfile {folder / "server.key"}
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
"""

    def dynamic_security(self) -> dict[str, Any]:
        """Return the first state of dynamic security: the hub's parts and their roles."""
        parts = [CONTROL, *(f"{INGEST}-{worker}" for worker in range(self.workers))]
        return {
            "defaultACLAccess": dict.fromkeys(
                ("publishClientSend", "publishClientReceive", "subscribe"), False
            )
            | {"unsubscribe": True},
            "clients": [
                {"username": name, "roles": [{"rolename": name}]} for name in (*parts, REVOKER)
            ],
            "roles": [
                {
                    "rolename": REVOKED,
                    "acls": [
                        _acl(kind, "#", allow=False)
                        for kind in (
                            "publishClientSend",
                            "publishClientReceive",
                            "subscribePattern",
                        )
                    ],
                },
                {
                    "rolename": REVOKER,
                    "acls": [
                        _acl("publishClientSend", CONTROL_TOPIC),
                        _acl("publishClientReceive", RESPONSE_TOPIC),
                        _acl("subscribeLiteral", RESPONSE_TOPIC),
                    ],
                },
                *({"rolename": name, "acls": list(_part_acls(name))} for name in parts),
            ],
        }


def write_configuration(configuration: MosquittoConfiguration) -> Path:
    """Write everything that Mosquitto needs into a folder.

    The state of dynamic security is left as it is if there is one: it says who is revoked.

    Returns:
        Path of `mosquitto.conf`.

    Raises:
        BrokerError: Mosquitto's dynamic security plugin is not installed here.
        StorageError: a file cannot be written.
    """
    folder = configuration.folder
    if any(character.isspace() for character in str(folder)):
        raise BrokerError(
            f"Mosquitto's configuration cannot name the folder {folder}: its path has a space."
        )
    text = configuration.text()
    make_private_folder(folder)
    replace_private(folder / "ca.pem", configuration.ca_pem)
    replace_private(folder / "server.key", configuration.key_pem)
    replace_private(folder / "server.pem", configuration.certificate_pem)
    replace_private(folder / "acl", _ACL.encode())
    state = json.dumps(configuration.dynamic_security(), indent=1)
    create_private(folder / "dynamic-security.json", state.encode())
    replace_private(folder / "mosquitto.conf", text.encode())
    return folder / "mosquitto.conf"


def find_plugin() -> Path:
    """Return the dynamic security plugin, which comes with Mosquitto 2.

    Raises:
        BrokerError: it is nowhere.
    """
    program = shutil.which("mosquitto")
    folders = [Path(folder) for folder in _PLUGIN_FOLDERS]
    if program is not None:
        folders.insert(0, Path(program).resolve().parents[1] / "lib")
    for folder in folders:
        for pattern in (_PLUGIN, f"*/{_PLUGIN}"):
            for found in sorted(folder.glob(pattern)):
                return found
    raise BrokerError(
        f"Mosquitto's plugin {_PLUGIN} was not found. Install Mosquitto 2 on this machine "
        "(Debian: apt-get install mosquitto), and run this command where the broker will run."
    )


def revocation(device_ids: Collection[str]) -> list[dict[str, Any]]:
    """Return the commands of dynamic security that shut devices out and end their connections.

    The role comes before `disableClient`: what ends the connection must find the door locked.
    """
    commands: list[dict[str, Any]] = []
    for device_id in device_ids:
        commands.append({"command": "createClient", "username": device_id})
        # All roles at once: adding one that is there already is an "Internal error".
        roles = [{"rolename": REVOKED, "priority": 0}]
        commands.append({"command": "modifyClient", "username": device_id, "roles": roles})
        commands.append({"command": "disableClient", "username": device_id})
    return commands


def read_responses(payload: bytes) -> list[dict[str, Any]]:
    """Decode an answer of dynamic security.

    Raises:
        BrokerError: a command failed other than by being done already, or this is no answer.
    """
    try:
        answers = json.loads(payload)["responses"]
        failed = [a for a in answers if a.get("error", "") not in {"", *_ALREADY}]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokerError("Mosquitto's dynamic security gave an answer that is none.") from error
    if failed:
        raise BrokerError(
            f"Mosquitto's dynamic security refused {failed[0].get('command')}: "
            f"{failed[0]['error']}. Compare its configuration with a fresh one of "
            "`homeport broker mosquitto-conf`."
        )
    return list(answers)


def _part_acls(name: str) -> Iterator[dict[str, Any]]:
    topics = internal_topics(name)
    if topics is None:
        raise BrokerError(f"There is no part of the hub called {name}.")
    for subject in topics.publish:
        yield _acl("publishClientSend", _filter(subject))
    for subject in topics.subscribe:
        yield _acl("subscribeLiteral", _filter(subject))
        yield _acl("publishClientReceive", _filter(subject))
    # What no role decides is left to the file ACL, which grants every subscription.
    yield _acl("subscribePattern", "#", allow=False, priority=-1)


def _acl(kind: str, topic: str, *, allow: bool = True, priority: int = 0) -> dict[str, Any]:
    return {"acltype": kind, "topic": topic, "priority": priority, "allow": allow}


def _filter(subject: str) -> str:
    """Turn a subject of NATS, as grants are written, into an MQTT topic filter."""
    return subject.replace(".", "/").replace("*", "+")
