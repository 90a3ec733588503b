"""Brokers for the benchmarks: real servers on free ports of the loopback, with plain MQTT listeners.

1. A broker is a process of its own, stopped and removed when the measurement is over.
2. Limits are set so that a flood is held back, not dropped: what is sent must arrive, or the benchmark fails.
"""

import datetime as dt
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PATIENCE_S = 10.0


@contextmanager
def nats(folder: Path) -> Iterator[int]:
    """A NATS server; yields the port of its MQTT listener."""
    folder.mkdir(parents=True)
    client, mqtt = _free_ports(2)
    (folder / "nats.conf").write_text(
        f'server_name: bench\nlisten: "127.0.0.1:{client}"\njetstream {{ store_dir: "{folder / "js"}" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{mqtt}" }}\nmax_payload: 524288\nmax_pending: 1073741824\n'
    )
    binary = Path(sys.executable).with_name("nats-server")
    with _running([str(binary), "-c", str(folder / "nats.conf")], folder / "log", mqtt):
        yield mqtt


@contextmanager
def nats_over_tls(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """A NATS server whose MQTT listener speaks TLS; yields its port, its process and the certificate to trust."""
    folder.mkdir(parents=True)
    client, mqtt = _free_ports(2)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
    shape = serialization.PrivateFormat.PKCS8
    (folder / "tls.pem").write_bytes(certificate.public_bytes(encoding))
    (folder / "tls.key").write_bytes(key.private_bytes(encoding, shape, none))
    tls = f'tls {{ cert_file: "{folder / "tls.pem"}", key_file: "{folder / "tls.key"}" }}'
    (folder / "nats.conf").write_text(
        f'server_name: bench\nlisten: "127.0.0.1:{client}"\njetstream {{ store_dir: "{folder / "js"}" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{mqtt}", {tls} }}\n'
    )
    binary = Path(sys.executable).with_name("nats-server")
    with _running([str(binary), "-c", str(folder / "nats.conf")], folder / "log", mqtt) as pid:
        yield mqtt, pid, folder / "tls.pem"


def has_mosquitto() -> bool:
    """Whether Mosquitto is installed on this machine."""
    return _mosquitto() is not None


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """A Mosquitto broker; yields its port. Call only where `has_mosquitto`."""
    folder.mkdir(parents=True)
    (mqtt,) = _free_ports(1)
    (folder / "mosquitto.conf").write_text(
        f"listener {mqtt} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n"
        "set_tcp_nodelay true\n"
    )
    command = [str(_mosquitto()), "-c", str(folder / "mosquitto.conf")]
    with _running(command, folder / "log", mqtt):
        yield mqtt


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[int]:
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()}")
            time.sleep(0.05)
        yield server.pid
    finally:
        server.terminate()
        server.wait(_PATIENCE_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports
