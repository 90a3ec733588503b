"""The command line `homeport`.

1. One function a command; what it does is done elsewhere.
2. Errors are one sentence on standard error and exit status 1; wrong usage is status 2.
3. Commands that change what the hub knows ask the running hub, the only writer of its database.
4. Packages outside the hub add commands by the entry point group `homeport.commands`.
"""

import json
import os
import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import ConfigurationError, load
from hub.errors import HubError
from hub.wiring import (
    backup_commands,
    ca_commands,
    capacity_command,
    catalogue_commands,
    certificate_commands,
    clock_commands,
    compose,
    deadletter_commands,
    kernels,
    keys_commands,
    ledger_commands,
    logs,
    sbom_command,
    token_commands,
    trace_command,
    upgrade_command,
)
from hub.wiring.backup_commands import existing as _existing
from hub.wiring.running_hub import RunningHub

app = typer.Typer(
    name="homeport",
    help="Telemetry and entitlement hub for connected products.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
product_app = typer.Typer(no_args_is_help=True, help="Manufactured products.")
person_app = typer.Typer(no_args_is_help=True, help="People who sign in.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit trail.")
broker_app = typer.Typer(no_args_is_help=True, help="Brokers that the hub does not start itself.")
database_app = typer.Typer(no_args_is_help=True, help="The relational database.")
app.add_typer(catalogue_commands.app, name="catalog")
app.add_typer(catalogue_commands.app, name="catalogue", hidden=True)
app.add_typer(product_app, name="product")
app.add_typer(person_app, name="person")
app.add_typer(audit_app, name="audit")
app.add_typer(broker_app, name="broker")
app.add_typer(database_app, name="db")
app.add_typer(deadletter_commands.app, name="deadletter")
app.add_typer(certificate_commands.app, name="certificate")
app.add_typer(keys_commands.app, name="keys")
app.add_typer(ledger_commands.app, name="ledger")
app.add_typer(ca_commands.app, name="ca")
app.add_typer(token_commands.app, name="token")
app.add_typer(clock_commands.app, name="clock")
app.add_typer(backup_commands.app, name="backup")
app.command("restore")(backup_commands.restore)
app.command("sbom")(sbom_command.sbom)
app.command("upgrade")(upgrade_command.upgrade)
app.command("trace")(trace_command.trace)
app.command("capacity")(capacity_command.capacity)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]


@app.command("serve")
def serve(
    config: ConfigFile = None,
    *,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=64,
            help="Ingest workers that share the products; when one dies the others go on with its "
            "part. Without it the setting ingest.workers.",
        ),
    ] = None,
    while_stdin_open: Annotated[
        bool,
        typer.Option(
            "--while-stdin-open",
            help="End when standard input ends: for programs that start a hub, so that it never "
            "outlives them.",
        ),
    ] = False,
) -> None:
    """Run a hub until Ctrl-C: broker, ingest, API and compaction."""
    from hub.wiring import serve as hub  # noqa: PLC0415  this command alone needs it

    settings = load(config)
    if workers is not None:
        ingest = settings.ingest.model_copy(update={"workers": workers})
        settings = settings.model_copy(update={"ingest": ingest})
    logs.configure("supervisor", settings.log_level, None)
    if while_stdin_open:
        hub.end_with_input()
    hub.run(settings, config, typer.echo)


@app.command("doctor")
def doctor(
    config: ConfigFile = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for everything that may be wrong with a hub, running or not, and say what to do.

    Changes nothing. Exit status 1 if something is wrong.
    """
    from hub.wiring.doctor import examination  # noqa: PLC0415  heavy, and only here

    lines = examination.examine(load(config))
    raise typer.Exit(examination.show(lines, typer.echo, typer.style, as_json=as_json))


@app.command("config")
def show_config(config: ConfigFile = None) -> None:
    """Print the effective settings, without secrets."""
    _show(load(config).public())


@app.command("warm")
def warm(config: ConfigFile = None) -> None:
    """Compile all numeric kernels into the cache folder, so that no start waits for that."""
    settings = load(config)
    cache = kernels.use_cache(settings.cache_dir)
    typer.echo(f"{kernels.load_all()} kernels are compiled in {cache}.")
    if cache.parent == settings.cache_dir / "numba":
        kernels.drop_others(cache)


@product_app.command("add")
def add_product(
    model: Annotated[str, typer.Argument(help="Product model.")],
    serial: Annotated[str, typer.Argument(help="Serial number.")],
    config: ConfigFile = None,
) -> None:
    """Register a product that was made; prints its secrets, which are not shown again."""
    body = {"products": [{"model": model, "serial": serial}]}
    _show(RunningHub(load(config)).ask("POST", "/api/v1/products", json=body))


@person_app.command("add")
def add_person(
    email: Annotated[str, typer.Argument(help="What they sign in with.")],
    name: Annotated[str, typer.Argument(help="What to call them.")],
    role: Annotated[str, typer.Option(help="customer, support or operator.")] = "customer",
    config: ConfigFile = None,
) -> None:
    """Create somebody who can sign in; prints their one-time password."""
    body = {"email": email, "name": name, "role": role}
    _show(RunningHub(load(config)).ask("POST", "/api/v1/people", json=body))


@app.command("revoke")
def revoke(
    device_id: Annotated[str, typer.Argument(help="Device to shut out for good.")],
    reason: Annotated[str, typer.Option(help="Why; stands in the audit trail.")],
    config: ConfigFile = None,
) -> None:
    """Revoke a device: its certificates stop working and its connection ends."""
    path = f"/api/v1/products/{device_id}/revoke"
    RunningHub(load(config)).ask("POST", path, json={"reason": reason})
    typer.echo(f"The device {device_id} is revoked.")


@app.command("restored")
def restored(config: ConfigFile = None) -> None:
    """Say that the data folder was put back from a backup, before the hub is started again.

    Devices then send again what they still hold, and count as lost what the backup never had.
    """
    from hub.ports.database.engine import migrate, write_session  # noqa: PLC0415  heavy, and only here
    from hub.ports.journal.durability import lock_folder, make_folder  # noqa: PLC0415  only here
    from hub.services.identity import renew_incarnation  # noqa: PLC0415  heavy, and only here

    settings = _existing(load(config))
    make_folder(settings.run_dir)
    lock = lock_folder(settings.run_dir)  # no hub may run: it has told devices its incarnation
    try:
        database = compose.engine(settings)
        migrate(database)
        with write_session(database) as session:
            renew_incarnation(session, compose.now(), compose.tokens(settings))
    finally:
        os.close(lock)
    typer.echo("Devices will send again what they still hold.")


@broker_app.command("mosquitto-conf")
def mosquitto_conf(
    folder: Annotated[Path, typer.Argument(help="Where the files go, and stay.")],
    user: Annotated[str, typer.Option(help="Whom Mosquitto runs as.")] = "mosquitto",
    config: ConfigFile = None,
) -> None:
    """Write a configuration of Mosquitto: certificates, topics by certificate, revocation, limits."""
    from hub.app.formats import refuse_newer  # noqa: PLC0415  heavy, and only here
    from hub.ports.broker.mosquitto import write_configuration  # noqa: PLC0415  only here

    settings = load(config)
    refuse_newer(settings)
    folder = folder.expanduser().absolute()
    file = write_configuration(compose.mosquitto_configuration(settings, folder, user))
    typer.echo(
        f"Wrote {file}. Next: chown -R {user} {folder}; mosquitto -c {file}; and start the hub "
        'with broker.kind = "mosquitto".'
    )


@broker_app.command("nats-conf")
def nats_conf(
    folder: Annotated[Path, typer.Argument(help="Where the nodes' folders go, and stay.")],
    config: ConfigFile = None,
) -> None:
    """Write configurations of a cluster of NATS: certificates, routes, the hub's own users, limits."""
    from hub.app.formats import refuse_newer  # noqa: PLC0415  heavy, and only here
    from hub.ports.broker.nats_cluster import write_cluster  # noqa: PLC0415  only here

    settings = load(config)
    refuse_newer(settings)
    if settings.broker.kind != "nats-cluster":
        raise ConfigurationError(
            'There is no cluster in the settings. Set broker.kind = "nats-cluster" and broker.nodes first '
            "(docs/operations/cluster.md)."
        )
    for file in write_cluster(compose.nats_cluster(settings, folder.expanduser().absolute())):
        typer.echo(f"Wrote {file}. There: nats-server -c {file}")


@audit_app.command("verify")
def verify_audit(config: ConfigFile = None) -> None:
    """Check the chain of hashes over the audit trail. Works beside a running hub."""
    from hub.ports.database.engine import read_session  # noqa: PLC0415  heavy, and only here
    from hub.services import audit, looks  # noqa: PLC0415  heavy, and only here

    with read_session(compose.engine(_existing(load(config)))) as session:
        wrong = audit.verify(session)
        head = audit.head(session)
        looked = looks.verify(session)
    if wrong is not None:
        raise HubError(
            f"The audit trail is broken at row {wrong}: it was changed outside of the hub. "
            "Keep the database as it is and compare it with a backup."
        )
    if looked is not None:
        raise HubError(
            f"The list of who looked at products is broken at row {looked}: it was changed outside of "
            "the hub. Keep the database as it is and compare it with a backup."
        )
    typer.echo(f"The audit trail is whole: {head.id} rows, newest digest {head.digest}.")


@database_app.command("migrate")
def migrate(config: ConfigFile = None) -> None:
    """Bring the database alone to the present schema; `homeport upgrade` does that after a backup."""
    from hub.app.formats import refuse_newer  # noqa: PLC0415  heavy, and only here
    from hub.ports.database import engine  # noqa: PLC0415  heavy, and only here

    settings = load(config)
    refuse_newer(settings)
    engine.migrate(compose.engine(settings))
    typer.echo("The database has the present schema.")


def main() -> None:
    """Run the command line."""
    for entry in _wanted(sys.argv[1:2], entry_points(group="homeport.commands")):
        _add(entry.name, entry.load())
    try:
        app()
    except HubError as error:
        sys.stderr.write(f"{error.detail}\n")
        sys.exit(1)


def _wanted(first: list[str], entries: EntryPoints) -> list[EntryPoint]:
    """Choose the commands of other packages to load: the one asked for, or all to list them."""
    if entries.select(name=first[0] if first else ""):
        return list(entries.select(name=first[0]))
    ours = {command.name for command in app.registered_commands}
    ours |= {group.name for group in app.registered_groups}
    return [] if first and first[0] in ours else list(entries)


def _add(name: str, command: Any) -> None:
    """Add a command or a group of commands of another package."""
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def _show(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
