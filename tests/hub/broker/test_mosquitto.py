"""Mosquitto beyond the contract: its files, and revocations that were missed."""

import json
import stat
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.app.shut_out import keep_out
from hub.ports.broker.mosquitto import read_responses, write_configuration
from hub.ports.broker.port import BrokerError
from tests.hub.broker.mosquitto_rig import MosquittoRig

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoRig]:
    made = MosquittoRig(tmp_path_factory.mktemp("mosquitto"))
    try:
        yield made
    finally:
        made.close()


def test_the_files_are_private_and_the_state_survives_a_rewrite(
    rig: MosquittoRig, tmp_path: Path
) -> None:
    folder = tmp_path / "conf"
    configuration = replace(rig.configuration, folder=folder)
    write_configuration(configuration)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    state = folder / "dynamic-security.json"
    state.write_text('{"who": "is revoked"}')
    write_configuration(replace(configuration, port=1))
    assert state.read_text() == '{"who": "is revoked"}'
    assert "listener 1 127.0.0.1" in (folder / "mosquitto.conf").read_text()


def test_a_folder_that_the_configuration_cannot_name_is_refused(
    rig: MosquittoRig, tmp_path: Path
) -> None:
    with pytest.raises(BrokerError, match="space"):
        write_configuration(replace(rig.configuration, folder=tmp_path / "a b"))
    assert not (tmp_path / "a b").exists()


def test_each_ingest_worker_has_a_role(rig: MosquittoRig) -> None:
    state = replace(rig.configuration, workers=3).dynamic_security()
    names = {client["username"] for client in state["clients"]}
    assert names >= {"hub-control", "hub-revoker", "hub-ingest-0", "hub-ingest-2"}
    assert {role["rolename"] for role in state["roles"]} >= names


def test_revocations_that_were_missed_are_made_good(rig: MosquittoRig) -> None:
    """Many at once, as when the broker's state was lost."""
    devices = [f"lost{number:012d}" for number in range(250)]
    online = rig.device(rig.enrol(devices[7]))
    assert online.connect()
    assert rig.mosquitto.reconcile(devices) == 250
    assert online.disconnected.wait(120)
    assert rig.mosquitto.reconcile(devices) == 0
    rig.server.end()
    assert not rig.broker.disconnect("another000000001")
    with pytest.raises((BrokerError, OSError)):
        rig.mosquitto.reconcile(devices)
    rig.server.start()
    assert rig.mosquitto.reconcile([*devices, "another000000001"]) == 1  # it kept the others


def test_the_watch_goes_on_after_a_failure() -> None:
    stop = threading.Event()
    seen: list[Collection[str]] = []

    def reconcile(revoked: Collection[str]) -> int:
        seen.append(revoked)
        if len(seen) == 1:
            raise ConnectionRefusedError
        if len(seen) == 2:
            raise BrokerError("not yet")
        stop.set()
        return len(revoked)

    keep_out(lambda: ["one"], reconcile, stop, pause_s=0)
    assert seen == [["one"]] * 3


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"responses": 1}', b'{"responses": [1]}'])
def test_an_answer_that_is_none_is_an_error(payload: bytes) -> None:
    with pytest.raises(BrokerError):
        read_responses(payload)


def test_a_refused_command_is_named() -> None:
    answer = {"responses": [{"command": "modifyClient", "error": "Role not found"}]}
    with pytest.raises(BrokerError, match="modifyClient: Role not found"):
        read_responses(json.dumps(answer).encode())
