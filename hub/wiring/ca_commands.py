"""The commands `homeport ca`: which authorities issue certificates, a new one, the end of an old one.

1. They ask the running hub; no key file is touched here.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from hub.config import load
from hub.wiring.running_hub import RunningHub

app = typer.Typer(no_args_is_help=True, help="The authority that issues certificates.")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]


@app.command("show")
def show(config: ConfigFile = None) -> None:
    """Print which authorities there are, when each counts, and how many devices depend on it."""
    answer = RunningHub(load(config)).ask("GET", "/api/v1/authorities")
    typer.echo(json.dumps(answer["authorities"], indent=2))


@app.command("rotate")
def rotate(
    lead_days: Annotated[
        int, typer.Option(min=1, max=365, help="Days from when it is trusted until it issues.")
    ] = 30,
    overlap_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=3650,
            help="Days that the one before stays trusted after that; without it as long as "
            "certificates of devices last, and 30 days.",
        ),
    ] = None,
    *,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="The keys there are may be known to others: retire them at once.",
        ),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Trust a new authority beside the old one; devices learn of it by their states."""
    settings = load(config)
    body = {"lead_days": 0 if compromised else lead_days, "overlap_days": overlap_days}
    answer = RunningHub(settings).ask("POST", "/api/v1/authorities/rotate", json=body)
    made = answer["authorities"][-1]
    typer.echo(
        f"The authority {made['name']} issues from {made['issues_from']} on. Make a backup now."
    )
    if settings.broker.kind != "nats":
        typer.echo(
            f"Your {settings.broker.kind} must trust it before then: give it {settings.pki_dir / 'ca.pem'} "
            "as its file of authorities (docs/operations/certificates.md)."
        )


@app.command("retire")
def retire(
    name: Annotated[str, typer.Argument(help="Of the authority; `homeport ca show` lists them.")],
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also while devices depend on it; they come back by themselves."
        ),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Trust an authority no more and destroy its key."""
    path = f"/api/v1/authorities/{name}/retire"
    RunningHub(load(config)).ask("POST", path, json={"force": force})
    typer.echo(f"The authority {name} is retired. Make a backup now.")
