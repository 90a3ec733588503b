"""`homeport serve`: one hub on this machine, from its settings to its last process.

1. One hub for one data folder: the folder `run` is locked while a hub runs.
2. Ports set to 0 are chosen once and held for the whole run, so that a restarted process keeps its address.
3. `run/hub.json` exists while all roles are ready or being restarted, and at no other time.
"""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from hub.app.processes import NAME as PROCESSES
from hub.app.processes import Watch
from hub.app.supervisor import Role, StartError, Supervisor
from hub.config import PREFIX, Settings
from hub.metrics import Metrics
from hub.ports.journal.durability import lock_folder, make_folder, write_whole
from hub.wiring import compose, kernels, roles

_HOLDS = sys.platform == "linux"
"""Elsewhere a port that is bound cannot be bound by another, not even by one that asks for it."""

_log = logging.getLogger("homeport.serve")


def choose_ports(settings: Settings, held: ExitStack) -> Settings:
    """Replace ports of 0 by free ones, which nobody else is given meanwhile.

    Args:
        settings: of the hub.
        held: keeps the ports for who binds them by number, which takes seconds, and again after each restart.

    Raises:
        StartError: the port of a broker that somebody else runs is 0.
    """
    if settings.broker.kind in {"mosquitto", "emqx"} and not settings.mqtt.port:
        raise StartError(
            f"The hub does not start {settings.broker.kind}, so it cannot choose its port. "
            "Set mqtt.host and mqtt.port to where it listens."
        )
    api, mqtt, broker = settings.api, settings.mqtt, settings.broker
    with ExitStack() as known:  # all stay bound until the last one is known, so that they differ
        stack = held if _HOLDS else known
        chosen = {
            "api": api.model_copy(update={"port": api.port or _free(stack, api.host)}),
            "mqtt": mqtt.model_copy(update={"port": mqtt.port or _free(stack, mqtt.host)}),
            "broker": broker.model_copy(
                update={"client_port": broker.client_port or _free(stack, "127.0.0.1")}
            ),
        }
        return settings.model_copy(update=chosen)


def run(settings: Settings, file: Path | None, announce: Callable[[str], None]) -> None:
    """Run a hub until SIGINT or SIGTERM.

    Args:
        settings: as loaded; ports may be 0.
        file: the settings file, for the roles to read too.
        announce: takes one line for the person who started it.

    Raises:
        StartError: a role did not start.
        ConflictError: a hub runs with this data folder already.
    """
    with ExitStack() as held:
        _run(choose_ports(settings, held), file, announce)


def _run(settings: Settings, file: Path | None, announce: Callable[[str], None]) -> None:
    make_folder(settings.run_dir)
    lock = lock_folder(settings.run_dir)
    card = settings.run_dir / "hub.json"
    forget_last_run(settings.run_dir)
    _pass_on(settings)
    command = (sys.executable, "-m", "hub", "_role")
    config = ("--config", str(file.absolute())) if file else ()
    metrics = Metrics("supervisor")

    def on_ready() -> None:
        facts = describe(settings)
        write_whole(card, json.dumps(facts, indent=2).encode() + b"\n")
        _log.info("hub ready", extra={"api_url": facts["api_url"]})
        announce(f"Homeport is ready at {facts['api_url']} (data in {settings.data_dir}).")

    def on_restart(role: str) -> None:
        metrics.process_restarts.labels(role=role).inc()

    roles = processes(settings, lambda name: (*command, name, *config))
    for role in roles:  # a counter that begins with its first event has no rate of it
        metrics.process_restarts.labels(role=role.name)

    try:
        Supervisor(
            roles,
            settings.run_dir,
            on_ready,
            on_restart,
            Watch(settings.run_dir, metrics, time.monotonic).look,
        ).run()
    finally:
        card.unlink(missing_ok=True)
        os.close(lock)


def forget_last_run(run_dir: Path) -> None:
    """Delete what a hub that was killed said of itself, so that nobody takes it for the present."""
    (run_dir / "hub.json").unlink(missing_ok=True)
    (run_dir / PROCESSES).unlink(missing_ok=True)
    for path in (run_dir / "metrics").glob("*"):
        path.unlink(missing_ok=True)


def processes(settings: Settings, command: Callable[[str], tuple[str, ...]]) -> list[Role]:
    """Return what the supervisor runs, in order.

    Args:
        settings: of the hub.
        command: gives the command line of a role by its name.
    """
    first = Role("prepare", command("prepare"), once=True)
    return [first, *(Role(name, command(name)) for name in roles.names(settings))]


def end_with_input() -> None:
    """End this process in order when its standard input ends, so when whoever started it is gone.

    A pipe works on every system, and whatever became of the other side: the kernel closes it.
    """
    threading.Thread(target=_wait_for_end_of_input, name="standard input", daemon=True).start()


def _wait_for_end_of_input() -> None:
    while os.read(0, 64):
        pass
    _log.info("standard input ended")
    os.kill(os.getpid(), signal.SIGTERM)


def describe(settings: Settings) -> dict[str, str | int]:
    """Return what `run/hub.json` says: how local tools reach this hub."""
    mqtt_host, mqtt_port = settings.device_brokers[0]
    return {
        "api_url": compose.api_url(settings),
        "mqtt_host": mqtt_host,
        "mqtt_port": mqtt_port,
        "ca_file": str(settings.pki_dir / "ca.pem"),
        "operator_token_file": str(settings.run_dir / "operator.token"),
        "pid": os.getpid(),
        "version": compose.program_version(),
    }


def _free(stack: ExitStack, host: str) -> int:
    holder = stack.enter_context(socket.socket())
    # Who sets this too, as all our listeners do, may bind the port by its number; nobody gets it as a free one.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    return int(holder.getsockname()[1])


def _pass_on(settings: Settings) -> None:
    """Give the roles what was decided here, by the environment they inherit."""
    os.environ[f"{PREFIX}DATA_DIR"] = str(settings.data_dir)
    os.environ[f"{PREFIX}INGEST__WORKERS"] = str(settings.ingest.workers)
    os.environ[f"{PREFIX}API__PORT"] = str(settings.api.port)
    os.environ[f"{PREFIX}MQTT__PORT"] = str(settings.mqtt.port)
    os.environ[f"{PREFIX}BROKER__CLIENT_PORT"] = str(settings.broker.client_port)
    kernels.use_cache(settings.cache_dir)
