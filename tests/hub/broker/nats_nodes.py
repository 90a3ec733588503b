"""Nodes of a NATS cluster for the tests, started as the documentation says: `nats-server -c FILE`."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub.ports.broker.nats_server import find_binary, last_lines

START_TIMEOUT_S = 60.0


class Node:
    """One server; `kill` is a power cut of it."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self.port = port
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [find_binary(), "-c", self._file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def accepts(self) -> bool:
        """Whether somebody listens for devices."""
        assert self._process.poll() is None, self.last_words()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            return True
        return False

    def last_words(self) -> str:
        return last_lines(self._file.parent / "nats.log", 20)


def await_nodes(nodes: Sequence[Node]) -> None:
    """Return when all nodes listen."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not all(node.accepts() for node in nodes):
        if time.monotonic() > deadline:
            pytest.fail("\n".join(node.last_words() for node in nodes))
        time.sleep(0.05)
