"""A VictoriaMetrics for the tests: one process, whose folder and port stay over a restart."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

NEEDED = "VictoriaMetrics is not installed. On Debian: apt-get install victoria-metrics"
START_TIMEOUT_S = 30.0


class VictoriaServer:
    """One server; `kill` is a power cut of it."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("victoria-metrics")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail(NEEDED)
            pytest.skip(NEEDED)
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = int(holder.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "victoria.log"
        self._command = [program, f"-storageDataPath={folder / 'data'}"]
        self._command += [f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]
        self._command += ["-dedup.minScrapeInterval=1ms", "-memory.allowedBytes=256MB"]
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                httpx.get(f"{self.url}/health", trust_env=False).raise_for_status()
            except httpx.HTTPError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"VictoriaMetrics did not start:\n{self._log.read_text()[-2_000:]}")
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
