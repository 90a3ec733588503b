"""The doctor on ports, API and broker: who listens, and whether they answer as they should.

1. Ports of a hub that does not run are only tried, and let go at once.
2. The broker is asked with the certificate of the hub's part that speaks least, `hub-revoker`, so
   that no connection of the hub or of a device is taken over.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx

from hub.ports.broker.identities import internal_identity
from hub.ports.broker.port import REVOKER, ClientIdentity
from hub.wiring import compose
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_TIMEOUT_S = 5.0
_SOON_DAYS = 60
_REFUSALS = {4: "bad user name", 5: "not authorized"}


def check_ports(case: Case) -> Iterator[Line]:
    """Look at who has the ports of API and broker."""
    settings = case.settings
    wanted = {"api": (settings.api.host, settings.api.port)}
    if settings.broker.kind == "nats":
        wanted["mqtt"] = (settings.mqtt.host, settings.mqtt.port)
    for name, (host, port) in wanted.items():
        check = f"port {name}"
        if port == 0:
            yield ok(check, "chosen at the start")
        elif case.running:
            yield _listening(case, check, host, port)
        elif (why := _taken(host, port)) is None:
            yield ok(check, f"{host}:{port} is free")
        else:
            yield problem(
                check,
                f"{host}:{port} is {why}{_holder(port)}",
                f"End that program, or choose another port with {name}.port.",
            )


def check_api(case: Case) -> Iterator[Line]:
    """Ask the API whether the hub can work."""
    if not case.running:
        return
    url, log = compose.api_url(case.settings), case.settings.run_dir / "control.log"
    try:
        trust = ssl.create_default_context(cafile=str(case.settings.pki_dir / "ca.pem"))
        with httpx.Client(verify=trust, timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.get(f"{url}/readyz")
    except (httpx.HTTPError, OSError) as error:
        yield problem("api", f"{url} does not answer: {error}", f"Look at {log} and control.err.")
        return
    if answer.is_success:
        yield ok("api", f"{url} is ready")
    else:
        yield problem("api", f"{url} is not ready: {answer.text[:200]}", f"Look at {log}.")


def check_broker(case: Case) -> Iterator[Line]:
    """Connect to the broker by TLS and MQTT as a part of the hub would."""
    if not case.running:
        return
    who = internal_identity(case.settings, REVOKER)
    for host, port in ((who.host, who.port), *who.others):
        yield _ask_broker(case, replace(who, host=host, port=port))


def _ask_broker(case: Case, who: ClientIdentity) -> Line:
    where = f"{who.host}:{who.port}"
    look = (
        "Look at the log of that node (nats.log)."
        if case.settings.broker.nodes
        else f"Look at {case.settings.run_dir / 'broker.err'}."
    )
    try:
        context = ssl.create_default_context(cafile=str(who.ca_file))
        context.load_cert_chain(who.certificate_file, who.key_file)
        with (
            socket.create_connection((who.host, who.port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=who.host) as secure,
        ):
            code = _connect(secure, who.name)
            shown = secure.getpeercert() or {}
    except ssl.SSLError as error:
        return problem("broker", f"{where}: TLS failed: {error}", "See the lines on certificates.")
    except OSError as error:
        return problem("broker", f"{where} does not answer: {error}", look)
    if code != 0:
        return problem(
            "broker",
            f"{where} refuses the hub's certificate ({_REFUSALS.get(code, f'code {code}')})",
            f"Is the process authd alive? Look at {case.settings.run_dir / 'authd.log'}.",
        )
    ends_s = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    days = int(ends_s - (case.now_ns - case.ahead_ns) // 10**9) // 86_400
    if days < _SOON_DAYS and case.settings.broker.kind != "nats":  # the hub renews its own
        return warning(
            "broker",
            f"{where} shows a certificate that ends in {days} days; no device comes in then",
            "Give it another one, as when you set it up (docs/operations/certificates.md).",
        )
    return ok("broker", f"{where} accepts the hub's certificate")


def _connect(secure: ssl.SSLSocket, name: str) -> int:
    """Say CONNECT of MQTT 3.1.1 and return the code of the CONNACK; then say goodbye."""
    identity = name.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x0a" + len(identity).to_bytes(2, "big") + identity
    secure.sendall(bytes([0x10, len(body)]) + body)
    answer = b""
    while len(answer) < 4:
        part = secure.recv(4 - len(answer))
        if not part:
            raise ConnectionError("it closed the connection before it answered")
        answer += part
    if answer[0] != 0x20:
        raise ConnectionError("it does not speak MQTT")
    if answer[3] == 0:
        secure.sendall(b"\xe0\x00")
    return answer[3]


def _listening(case: Case, check: str, host: str, port: int) -> Line:
    target = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  a comparison
    try:
        with socket.create_connection((target, port), _TIMEOUT_S):
            return ok(check, f"{host}:{port} is open{_holder(port)}")
    except OSError as error:
        return problem(
            check,
            f"{host}:{port} does not answer: {error.strerror or error}",
            f"Look at the lines on processes, and at {case.settings.run_dir}.",
        )


def _taken(host: str, port: int) -> str | None:
    """Tell why nobody can listen there; None if one can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the hub does; else a port of a hub that has just ended counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return "taken" if error.errno == errno.EADDRINUSE else str(error.strerror)
    return None


def _holder(port: int) -> str:
    """Name the process that listens on a port, where the system tells (Linux, own processes)."""
    sockets = _listeners(port)
    for entry in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        try:
            if entry.readlink().name in sockets:
                process = entry.parents[1]
                words = process.joinpath("cmdline").read_bytes().split(b"\0")
                said = b" ".join(words).decode(errors="replace").strip()
                return f" by process {process.name} ({said[:80]})"
        except OSError:
            continue
    return ""


def _listeners(port: int) -> set[str]:
    """Sockets that listen on a port, as the links in /proc/PID/fd name them."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
        except OSError:
            continue
        found |= {
            f"socket:[{row[9]}]"
            for row in rows
            if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port
        }
    return found
