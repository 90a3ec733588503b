"""A running hub from outside: which ports listen, and whether any log holds a secret."""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from device_sdk.keys import DeviceKey
from tests.conftest import RunningHub, hub_environment, reach, start_hub, stop_hub

pytestmark = pytest.mark.hub

HOOK = "marked-hook-secret-0123456789abcdef"
STRIPE = "whsec_marked0123456789abcdef"
OIDC = "marked-client-secret-0123456789"
PASSWORD, WRONG, NEXT = "marked right password", "marked wrong password", "marked next password"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    data = tmp_path_factory.mktemp("exposed") / "data"
    environment = hub_environment(data) | {
        "HOMEPORT_LOG_LEVEL": "debug",
        "HOMEPORT_BROKER__HOOK_SECRET": HOOK,
        "HOMEPORT_BILLING__STRIPE_WEBHOOK_SECRET": STRIPE,
        "HOMEPORT_OIDC__ISSUER": "https://127.0.0.1:9",
        "HOMEPORT_OIDC__CLIENT_ID": "homeport",
        "HOMEPORT_OIDC__CLIENT_SECRET": OIDC,
    }
    process = start_hub(data, environment)
    hub = reach(data, process)
    yield hub
    hub.client.close()
    stop_hub(process)


def family(root: int) -> set[int]:
    """Return a process and all below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """Return where processes listen: loopback or not, and the port."""
    sockets = set()
    for pid in pids:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    sockets.add(str(link.readlink()))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            state = fields[3]
            waiting = state == "0A" if table.startswith("tcp") else state == "07"
            if waiting and f"socket:[{fields[9]}]" in sockets:
                address, port = fields[1].split(":")
                where = "loopback" if address == "0100007F" else address
                found.add((where, int(port, 16)))
    return found


def test_only_documented_ports_listen(running: RunningHub) -> None:
    api = int(running.api_url.rpartition(":")[2])
    configured = (running.data_dir / "broker" / "nats.conf").read_text()
    client = int(re.search(r'^listen: "127\.0\.0\.1:(\d+)"', configured, re.MULTILINE)[1])  # type: ignore[index]
    wanted = {("loopback", port) for port in (api, running.mqtt[1], client)}
    assert listening(family(running.process.pid)) == wanted


def test_no_log_holds_a_secret(running: RunningHub, tmp_path: Path) -> None:
    secrets = {HOOK, STRIPE, OIDC, PASSWORD, WRONG, NEXT, running.operator_token}
    vendor = running.client

    def ask(client: httpx.Client, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = client.request(method, f"/api/v1{path}", json=body, **more)
        return answer.json() if answer.content else {}

    model = {
        "possession": "label",
        "title": "Heat pump",
        "metrics": [{"name": "temp_c", "unit": "Cel"}],
        "features": {"telemetry": {}},
    }
    catalogue = {"models": {"heat-pump": model}}
    ask(vendor, "PUT", "/catalogue", catalogue)
    ask(vendor, "POST", "/catalogue", catalogue)
    product = ask(
        vendor, "POST", "/products", {"products": [{"model": "heat-pump", "serial": "HP-1"}]}
    )
    made = product["products"][0] if "products" in product else {}
    secrets |= {made[name] for name in ("enrolment_secret", "claim_code") if name in made}
    ada = ask(
        vendor, "POST", "/people", {"email": "ada@example.org", "name": "A", "role": "customer"}
    )
    secrets.add(ada["one_time_password"])
    verify = ssl.create_default_context(cafile=str(running.ca_file))
    with httpx.Client(base_url=running.api_url, verify=verify, trust_env=False) as person:
        for password in (WRONG, ada["one_time_password"]):
            signed = ask(
                person, "POST", "/sessions", {"email": "ada@example.org", "password": password}
            )
        secrets.add(signed["token"])
        person.cookies.clear()
        person.headers["Authorization"] = f"Bearer {signed['token']}"
        key = ask(person, "POST", "/me/api-keys", {"name": "x", "scopes": ["products:read"]})
        secrets.add(key["key"])
        ask(person, "GET", "/me", headers={"X-API-Key": key["key"]})
        begun = ask(person, "POST", "/me/passkeys/options")
        secrets.add(begun["flow"])
        ask(person, "POST", "/me/passkeys", {"flow": begun["flow"], "credential": {"id": WRONG}})
        ask(person, "POST", "/claims", {"claim_code": made.get("claim_code", "AAAA-BBBB-CCCC")})
        invited = ask(person, "POST", "/invitations", {"relation": "viewer"})
        secrets |= {value for name, value in invited.items() if name == "code" and value}
        device = DeviceKey.load_or_create(tmp_path / "device.key")
        enrol = {"serial": "HP-1", "model": "heat-pump", "csr": device.signing_request("HP-1")}
        for secret in (WRONG, made.get("enrolment_secret", "")):
            ask(person, "POST", "/enroll", {**enrol, "secret": secret})
        ask(person, "PUT", "/me/password", {"old": ada["one_time_password"], "new": NEXT})
        # What is not valid, and what fails inside of the hub, is where secrets slip out.
        person.post("/api/v1/sessions", content=f'{{"email": "x", "password": "{PASSWORD}"')
        person.post("/api/v1/sessions", json={"email": 7, "password": PASSWORD, "more": PASSWORD})
        person.get(f"/sign-in/provider/back?code={WRONG}&state={PASSWORD}")
        person.get("/sign-in/provider")
        signed_by = {"Stripe-Signature": f"t=1,v1={WRONG}"}
        person.post("/api/v1/webhooks/stripe", content="{}", headers=signed_by)
        for path in ("auth", "acl"):
            person.post(f"/api/v1/broker/emqx/{path}", json={}, headers={"X-Homeport-Hook": HOOK})
    assert len([secret for secret in secrets if secret]) >= 13
    logs = [*(running.data_dir / "run").glob("*.log"), *(running.data_dir / "run").glob("*.err")]
    logs += [*(running.data_dir / "broker").glob("*.log"), running.data_dir.with_suffix(".log")]
    assert len(logs) > 6
    text = "\n".join(path.read_text(errors="replace") for path in logs if path.exists())
    assert "debug" in text or "info" in text
    quoted = {json.dumps(secret)[1:-1] for secret in secrets if secret}
    assert [secret for secret in secrets | quoted if secret and secret in text] == []
