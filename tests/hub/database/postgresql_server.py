"""A PostgreSQL server for the tests: started once, one database a test, made from a template.

It listens on a unix socket in a private folder only. PostgreSQL refuses to run as root, so there it
runs as the user `postgres` of the Debian package.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.ports.database.engine import migrate, open_engine

START_TIMEOUT_S = 60.0
TEMPLATE = "migrated"
NEEDED = "PostgreSQL is not installed. On Debian: apt-get install postgresql"


@dataclass
class PostgresServer:
    """A running server; `folder` holds its socket."""

    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, name: str) -> str:
        return f"postgresql://homeport@/{name}?host={self.folder}"

    def empty(self, locale: str = "C") -> str:
        """Make a database without tables and return its URL."""
        return self._make(f"TEMPLATE template0 ENCODING 'UTF8' LOCALE '{locale}'")

    def migrated(self) -> str:
        """Make a database with the newest schema and return its URL."""
        return self._make(f"TEMPLATE {TEMPLATE}")

    def drop(self, url: str) -> None:
        """Remove a database; hundreds of them would fill the disk of a small machine."""
        name = url.partition("@/")[2].partition("?")[0]
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make_template(self) -> None:
        self._execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
        engine = open_engine(self.url(TEMPLATE))
        migrate(engine)
        engine.dispose()

    def _make(self, how: str) -> str:
        name = f"test_{next(self.numbers)}"
        self._execute(f"CREATE DATABASE {name} {how}")
        return self.url(name)

    def _execute(self, statement: str) -> None:
        address = f"host={self.folder} user=homeport dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())


def binaries() -> Path:
    """Where `initdb` and `postgres` are; skips the test, or fails it in continuous integration."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if os.environ.get("CI"):
        pytest.fail(NEEDED)
    pytest.skip(NEEDED)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    programs = binaries()
    # Not below pytest's folder: that is root's alone, and the server may be another user.
    folder = Path(tempfile.mkdtemp(prefix="homeport-pg-", dir="/tmp"))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, log = folder / "data", folder / "log"
    subprocess.run(
        f"{programs / 'initdb'} -D {data} -U homeport --auth=trust -E UTF8 --locale=C -N".split(),
        check=True,
        capture_output=True,
        cwd=folder,
        **who,
    )
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off"]
    settings += ["shared_buffers=32MB", "max_connections=200", "full_page_writes=off"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *itertools.chain(*(("-c", s) for s in settings))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            **who,
        )
    try:
        server = PostgresServer(folder)
        _wait(server, process, log)
        server.make_template()
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        process.wait()
        shutil.rmtree(folder)


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(f"host={server.folder} user=homeport dbname=postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{log.read_text()[-4_000:]}")
            time.sleep(0.05)
        else:
            return
