"""A real Mosquitto with the configuration that the hub writes, for the tests of brokers."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from hub.config import ApiSettings, BrokerSettings, MqttSettings, Settings
from hub.ports.broker.mosquitto import write_configuration
from hub.ports.broker.mosquitto_client import MosquittoBroker
from hub.ports.broker.port import BrokerError
from hub.services.pki import CertificateAuthority, save_pair
from hub.wiring import compose
from tests.hub.broker.conftest import PATIENCE_S, DeviceRig, Records, free_port

NEEDED = "Mosquitto is not installed. On Debian: apt-get install mosquitto"


def program() -> str:
    """Mosquitto's program; skips the test, or fails it in continuous integration."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDED)
        pytest.skip(NEEDED)
    return found


class Mosquitto:
    """One process over one folder; may be ended and started again."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port
        self.start()

    def start(self) -> None:
        with (self._file.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "-c", str(self._file)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((self._file.parent / "log").read_text()[-2_000:])
                time.sleep(0.02)
            else:
                return

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_S)


class MosquittoRig(DeviceRig):
    """Mosquitto, its authority, and what the hub would say of devices."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            data_dir=folder,
            api=ApiSettings(port=0),
            mqtt=MqttSettings(port=free_port()),
            broker=BrokerSettings(kind="mosquitto"),
            public_hosts=("127.0.0.1",),
        )
        pki = self.settings.pki_dir
        self.folder = folder
        self.authority = CertificateAuthority.load_or_create(pki, compose.now())
        save_pair(self.authority.issue_server(["127.0.0.1"], compose.now()), pki, "server")
        for part in ("hub-ingest-0", "hub-control", "hub-revoker", "hub-stranger"):
            save_pair(self.authority.issue_internal(part, compose.now()), pki, part)
        self.records = Records()
        self.broker = self.mosquitto = MosquittoBroker(self.settings)
        self.configuration = compose.mosquitto_configuration(
            self.settings, folder / "mosquitto", getpass.getuser()
        )
        try:
            file = write_configuration(self.configuration)
        except BrokerError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(error.detail)
        self.server = Mosquitto(file, self.settings.mqtt.port)
        self._clients = []

    def close(self) -> None:
        self.close_clients()
        self.server.end()
