"""The processes of a hub: what each one runs. Started as `python -m hub _role NAME`.

1. A role loads its program (`PROGRAMS`), waits for its turn, then begins.
2. It says `ready` when it does its job, and ends when `child.stop` is set.
3. An error ends the process with one sentence on standard error; the supervisor starts it again.
4. Roles share nothing but the data folder and the broker.
"""

import gc
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hub.app.child import Child
from hub.config import Settings, load
from hub.errors import HubError
from hub.wiring import compose, kernels, logs

_log = logging.getLogger("homeport")
_CERTIFICATES_S = 2.0
"""How soon the broker takes up certificates that were renewed, and an authority that is trusted now."""
_KINDNESS = 10
"""Niceness of the process that takes backups: devices come first."""


def prepare(settings: Settings, child: Child) -> None:
    """Make folders, keys and certificates, and bring the database to the present schema.

    Runs once before the other roles begin, so that they only ever read what it makes.
    """
    from hub.app import lane_dealing  # noqa: PLC0415  heavy, and only here
    from hub.app.certificate_clock import make_certificates  # noqa: PLC0415  heavy, and only here
    from hub.app.formats import mark, refuse_other  # noqa: PLC0415  heavy, and only here
    from hub.ports.clock import MovableClock  # noqa: PLC0415  only here
    from hub.ports.database.engine import migrate, write_session  # noqa: PLC0415  heavy
    from hub.services.clock import kept_ahead  # noqa: PLC0415  heavy, and only here
    from hub.services.identity import incarnation  # noqa: PLC0415  heavy, and only here
    from hub.services.lane_leases import deal  # noqa: PLC0415  heavy, and only here

    refuse_other(settings)
    compose.refuse_collector_without_packages(settings)
    authority, at = compose.authority(settings), compose.world_now()
    make_certificates(authority, settings.public_hosts, compose.internal_parts(settings), at)
    compose.renew_operator_token(settings)
    database = compose.engine(settings)
    migrate(database)  # of a new hub; an older one is refused before
    mark(settings, compose.program_version())
    with write_session(database) as session:
        compose.write_incarnation(settings, incarnation(session, compose.tokens(settings)))
        if settings.leased:
            deal(session, settings.lanes)
        ahead = kept_ahead(session)
    if settings.demo or ahead:
        MovableClock(settings.clock_file).put_ahead(ahead)
    lane_dealing.deal(settings, partial(compose.ingest, settings))
    child.ready()


def broker(settings: Settings, child: Child) -> None:
    """Run the embedded broker until it ends or this process is told to."""
    server = compose.embedded_broker(settings)
    server.start()  # before any thread: it forks
    child.watch()
    child.ready()

    def end_with_server() -> None:
        _log.info("broker ended", extra={"status": server.wait()})
        child.stop.set()

    threading.Thread(target=end_with_server, daemon=True).start()
    while not child.stop.wait(_CERTIFICATES_S):
        server.take_certificates()
    server.stop()


def authd(settings: Settings, child: Child) -> None:
    """Answer the auth callout."""
    import asyncio  # noqa: PLC0415  heavy, and only here

    from hub.app import authd as desk  # noqa: PLC0415  heavy, and only here

    child.watch()
    asyncio.run(desk.serve(compose.admission(settings), child.ready, child.stop))


def control(settings: Settings, child: Child) -> None:
    """Run the API, the control channels and everything else that writes the database."""
    from hub.wiring import control as parts  # noqa: PLC0415  heavy, and only here

    parts.run(settings, child)


def ingest(settings: Settings, child: Child, worker: int) -> None:
    """Run one worker: the pipeline of the only lane, or of those it gets leases on."""
    from hub.app.ingest import run_worker  # noqa: PLC0415  heavy, and only here

    child.watch()
    collecting = compose.collector(settings, f"ingest-{worker}")
    try:
        if settings.leased:
            compose.lane_worker(settings, worker, collecting).run(child.stop, child.ready)
        else:
            run_worker(compose.ingest(settings, worker, collecting), child.stop, child.ready)
    finally:
        if collecting is not None:
            collecting.close()


def compactor(settings: Settings, child: Child) -> None:
    """Turn sealed journal segments into Parquet."""
    from hub.app.compactor import run_compactor  # noqa: PLC0415  heavy, and only here

    child.watch()
    run_compactor(
        partial(compose.compactor, settings),
        clock=compose.now,
        prune_below=partial(compose.prune_below, settings),
        stop=child.stop,
        ready=child.ready,
        pause_s=settings.store.compact_every_s,
    )


def meter(settings: Settings, child: Child) -> None:
    """Count usage from the journals."""
    from hub.app.usage_meter import run_meter  # noqa: PLC0415  heavy, and only here
    from hub.metrics import Metrics  # noqa: PLC0415  heavy, and not in each role

    child.watch()
    metrics = Metrics("meter")
    with compose.usage_log(settings) as log:
        counter = compose.meter(settings, log, metrics)
        child.ready()
        run_meter(
            counter,
            metrics,
            synced=partial(compose.synced, settings),
            publish=partial(metrics.publish, settings.run_dir / "metrics"),
            stop=child.stop,
        )


def mirror(settings: Settings, child: Child) -> None:
    """Feed the time-series database from the journals."""
    from hub.app.mirror import run_mirror  # noqa: PLC0415  heavy, and only here

    child.watch()
    feeder = compose.mirror(settings)
    child.ready()
    run_mirror(feeder, clock=compose.now, synced=partial(compose.synced, settings), stop=child.stop)


def backup(settings: Settings, child: Child) -> None:
    """Take backups when they are due."""
    child.watch()
    os.nice(_KINDNESS)
    schedule = compose.backup_schedule(settings)
    child.ready()
    schedule.run(child.stop)


Entry = Callable[[Settings, Child], None]

_ENTRIES: dict[str, Entry] = {
    "prepare": prepare,
    "broker": broker,
    "authd": authd,
    "control": control,
    "compactor": compactor,
    "meter": meter,
    "mirror": mirror,
    "backup": backup,
}


PROGRAMS: dict[str, tuple[str, ...]] = {
    "prepare": (
        "alembic.command",
        "hub.app.formats",
        "hub.ports.database.engine",
        "hub.services.identity",
        "hub.services.pki",
    ),
    "broker": (),
    "authd": ("hub.app.authd", "hub.ports.database.engine", "hub.services.admission"),
    "control": ("hub.wiring.control",),
    "ingest": ("hub.app.ingest",),  # and of several workers what they need of the database
    "compactor": ("hub.app.compactor", "hub.app.store_rules", "hub.pipeline.store"),
    "meter": ("hub.app.usage_meter", "hub.ports.store.embedded"),
    "mirror": ("hub.app.mirror", "hub.ports.store.mirror"),
    "backup": ("hub.app.backup.schedule",),
}
"""What each role imports before its turn, kernels with it; what is missing here costs time only."""


def names(settings: Settings) -> tuple[str, ...]:
    """Return the supervised roles in the order of starting.

    `ingest` comes after `control`, which compiles the first gate snapshot.
    """
    workers = tuple(f"ingest-{worker}" for worker in range(settings.ingest.workers))
    # A broker that somebody else runs admits by itself, asks the API, or is NATS and asks `authd`.
    own = {"nats": ("broker", "authd"), "nats-cluster": ("authd",)}.get(settings.broker.kind, ())
    fed = ("mirror",) if settings.store.kind != "embedded" else ()
    kept = ("backup",) if settings.backup.folder is not None else ()
    return (*own, "control", *workers, "compactor", "meter", *fed, *kept)


def _entry(name: str) -> Entry:
    role, _, worker = name.partition("-")
    return partial(ingest, worker=int(worker)) if role == "ingest" else _ENTRIES[name]


def run(name: str, file: Path | None) -> int:
    """Play one role in this process.

    Args:
        name: one of `names`, or `prepare`.
        file: the settings file, if one was given.

    Returns:
        The exit status.
    """
    child = Child.enter()
    try:
        settings = load(file)
        logs.configure(name, settings.log_level, settings.run_dir / f"{name}.log")
        kernels.use_cache(settings.cache_dir)
        _load(PROGRAMS[name.partition("-")[0]])
        child.await_turn()
        compose.follow_clock(settings)
        _entry(name)(settings, child)
    except HubError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    return 0


def _load(program: tuple[str, ...]) -> None:
    """Import a program, which stays for the life of the process: the collector need never look at it."""
    gc.disable()
    for module in program:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
