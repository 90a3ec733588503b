"""The commands `homeport keys`: which keys sign what devices are told, and a new one.

1. They ask the running hub; no key file is touched here.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from hub.config import load
from hub.wiring.running_hub import RunningHub

app = typer.Typer(no_args_is_help=True, help="Keys that sign states and entitlements.")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]


@app.command("show")
def show_keys(config: ConfigFile = None) -> None:
    """Print which keys there are and from when to when each counts."""
    answer = RunningHub(load(config)).ask("GET", "/api/v1/signing-keys")
    typer.echo(json.dumps(answer["keys"], indent=2))


@app.command("rotate")
def rotate_keys(
    lead_days: Annotated[
        int,
        typer.Option(
            min=1, max=365, help="Days until it signs; devices that sleep less miss nothing."
        ),
    ] = 30,
    *,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="The keys there are may be known to others: sign with the new one at once.",
        ),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Announce a new key to all devices; it signs after the lead. Make a backup afterwards."""
    body = {"lead_days": 0 if compromised else lead_days}
    answer = RunningHub(load(config)).ask("POST", "/api/v1/signing-keys/rotate", json=body)
    made = answer["keys"][-1]
    typer.echo(f"The key {made['kid']} signs from {made['signs_from']} on. Make a backup now.")
