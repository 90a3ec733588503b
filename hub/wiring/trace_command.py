"""The command `homeport trace`: the way of one row through the hub of these settings, running or not.

Nothing is changed, and the hub is not asked: journals, files and database are read.
"""

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import load
from hub.wiring import compose


def trace(
    device: Annotated[str, typer.Argument(help="Device id, or serial number.")],
    stream: Annotated[
        str, typer.Argument(help="16 hexadecimal digits, as logs and dead letters show it.")
    ],
    seq: Annotated[int, typer.Argument(min=0, help="Number of the row in the stream.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
    ] = None,
) -> None:
    """Follow a row: received, journalled, stored, found, told. Exit status 1 if nothing is known of it."""
    from hub.ports.database.engine import read_session  # noqa: PLC0415  heavy, and only here
    from hub.services import row_trace  # noqa: PLC0415  heavy, and only here

    settings = load(config)
    engine = compose.engine(settings)
    try:
        with read_session(engine) as session:
            way = row_trace.follow(
                session, compose.journals(settings), settings.store_dir, device, stream, seq
            )
    finally:
        engine.dispose()
    typer.echo(f"trace {way.trace} of {way.device_id}")
    for step in way.steps:
        facts = {name: _plain(name, value) for name, value in step.facts.items()}
        typer.echo(f"{_instant(step.at):<30} {step.stage:<12} {json.dumps(facts)}")
    if not way.steps:
        typer.echo("Nothing is known of this row: it has not come, or was erased.", err=True)
        raise typer.Exit(1)


def _plain(name: str, value: Any) -> Any:
    return _instant(value) if name.endswith(("time", "_at")) and value is not None else value


def _instant(at: int | None) -> str:
    if at is None:
        return "-"
    seconds, rest = divmod(at, 1_000_000_000)
    try:
        whole = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at} ns"
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
