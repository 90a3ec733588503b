"""Ports that a hub chose stay its own until its processes listen, and between their restarts."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from hub.app.supervisor import StartError
from hub.config import Settings
from hub.wiring.serve import choose_ports


def settings(**parts: object) -> Settings:
    return Settings.model_validate({"api": {"port": 0}, "mqtt": {"port": 0}, **parts})


def ports(chosen: Settings) -> list[int]:
    return [chosen.api.port, chosen.mqtt.port, chosen.broker.client_port]


def test_three_ports_that_differ_and_that_a_role_may_bind_again_and_again() -> None:
    with ExitStack() as held:
        chosen = ports(choose_ports(settings(), held))
        assert 0 not in chosen
        assert len(set(chosen)) == 3
        for port in chosen * 2:
            with socket.create_server(("127.0.0.1", port)):
                pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port is held by listening on it")
def test_nobody_else_is_given_a_port_before_its_role_has_bound_it() -> None:
    with ExitStack() as held:
        chosen = ports(choose_ports(settings(), held))
        for port in chosen:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
    for port in chosen:
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))


def test_a_port_that_was_set_stays() -> None:
    with ExitStack() as held:
        chosen = choose_ports(settings(api={"port": 8443}), held)
    assert chosen.api.port == 8443


def test_the_port_of_a_broker_of_others_cannot_be_chosen(tmp_path: Path) -> None:
    broker = {"kind": "mosquitto", "hook_secret": "x" * 32}
    with ExitStack() as held, pytest.raises(StartError, match=r"Set mqtt\.host and mqtt\.port"):
        choose_ports(settings(broker=broker, data_dir=tmp_path), held)
