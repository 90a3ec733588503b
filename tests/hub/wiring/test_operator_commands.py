"""An operator at the command line of a running hub, and a device that feels it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

pytestmark = pytest.mark.hub

ROOT = Path(__file__).parents[3]
CATALOGUE = """
[models.kettle]
title = "Kettle"
[[models.kettle.metrics]]
name = "water_c"
title = "Water temperature"
unit = "Cel"
"""


def homeport(hub: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
    return subprocess.run(
        [sys.executable, "-m", "hub", *arguments],
        cwd=ROOT,
        env={**kept, "HOMEPORT_DATA_DIR": str(hub.data_dir)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def answered(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def enrol(hub: Any, product: dict[str, str], folder: Path) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = csr.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    body = {
        "serial": product["serial"],
        "model": product["model"],
        "secret": product["enrolment_secret"],
        "csr": pem,
    }
    with hub.anonymous() as nobody:
        answer = nobody.post("/api/v1/enroll", json=body)
    assert answer.status_code == 201, answer.text
    (folder / "device.pem").write_text(answer.json()["certificate"])
    (folder / "device.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(answer.json()["device_id"])


class Device:
    def __init__(self, hub: Any, device_id: str, folder: Path) -> None:
        self.outcome: list[str] = []
        self.heard = threading.Event()
        self.gone = threading.Event()
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=device_id, reconnect_on_failure=False
        )
        self.client.tls_set(
            str(hub.ca_file), str(folder / "device.pem"), str(folder / "device.key")
        )
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.connect(*hub.mqtt)
        self.client.loop_start()
        assert self.heard.wait(120)

    def _connected(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        self.outcome.append(str(reason))
        self.heard.set()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_from_the_catalogue_to_a_revoked_device(hub: Any, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text(CATALOGUE)
    would = answered(homeport(hub, "catalog", "apply", str(file), "--dry-run", "--json"))
    assert would["dry_run"]
    assert "metric kettle.water_c" in [edit["thing"] for edit in would["added"]]
    done = homeport(hub, "catalog", "apply", str(file))
    assert done.stdout.splitlines()[0] == "+ model kettle"
    same = homeport(hub, "catalogue", "apply", str(file))
    assert same.stdout == "Nothing to change: the catalogue is as the file says.\n"
    shown = homeport(hub, "catalog", "show").stdout
    assert 'name = "water_c"' in shown
    file.write_text(shown)
    assert homeport(hub, "catalog", "apply", str(file), "--whole").stdout == same.stdout
    product = answered(homeport(hub, "product", "add", "kettle", "K-1"))["products"][0]
    device_id = enrol(hub, product, tmp_path)
    file.write_text(CATALOGUE.replace('unit = "Cel"', 'unit = "K"'))
    refused = homeport(hub, "catalog", "apply", str(file), "--dry-run")
    assert refused.returncode == 1
    assert refused.stdout.startswith(
        f"! metric kettle.water_c cannot be changed ({file}:4). There is"
    )
    refused = homeport(hub, "catalog", "apply", str(file))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "append a metric with a new name" in refused.stderr

    device = Device(hub, device_id, tmp_path)
    assert device.outcome == ["Success"]
    revoked = homeport(hub, "revoke", device_id, "--reason", "reported stolen")
    assert revoked.returncode == 0, revoked.stderr
    assert device.gone.wait(120)
    again = Device(hub, device_id, tmp_path)
    assert again.outcome == ["Not authorized"]
    for client in (device, again):
        client.close()

    verified = homeport(hub, "audit", "verify")
    assert verified.returncode == 0, verified.stderr
    assert "is whole" in verified.stdout


def test_a_refusal_of_the_hub_is_one_sentence(hub: Any) -> None:
    done = homeport(hub, "product", "add", "no-such-model", "X-1")
    assert done.returncode == 1
    assert done.stderr.startswith("The hub refused: There is no product model")
    assert done.stderr.count("\n") == 1


def test_what_is_wrong_with_a_request_is_named(hub: Any) -> None:
    done = homeport(hub, "person", "add", "eve@example.org", "Eve", "--role", "boss")
    assert done.returncode == 1
    assert done.stderr.startswith("The hub refused: /role: Input should be 'customer'")
    assert done.stderr.count("\n") == 1


def test_a_person_gets_a_one_time_password(hub: Any) -> None:
    made = answered(homeport(hub, "person", "add", "ada@example.org", "Ada"))
    assert made["email"] == "ada@example.org"
    with hub.anonymous() as nobody:
        signed_in = nobody.post(
            "/api/v1/sessions",
            json={"email": "ada@example.org", "password": made["one_time_password"]},
        )
    assert signed_in.status_code == 201
    assert signed_in.json()["must_change_password"]
