"""The command `homeport clock`: moves the time of a demo hub, and of the products that are simulated for it.

1. It asks the running hub, which refuses unless it is a demo hub.
"""

from pathlib import Path
from typing import Annotated

import typer

from hub.config import load
from hub.wiring.running_hub import RunningHub

app = typer.Typer(no_args_is_help=True, help="The time of a demo hub.")
_TIMEOUT_S = 600.0


@app.callback()
def group() -> None:
    """Keep `advance` a command of its own while it is the only one."""


@app.command("advance")
def advance(
    by: Annotated[str, typer.Argument(help="How far: 40d, 1h30m, P40D, PT1H30M.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the hub, such as the one the demo names.")
    ] = None,
) -> None:
    """Move the clock ahead. What falls due on the way happens in order, each at its instant."""
    from hub.services.clock import length_ns  # noqa: PLC0415  heavy, and only here

    length_ns(by)  # said at once, without a hub
    settings = load(config)
    if data is not None:
        settings = settings.model_copy(update={"data_dir": data.expanduser().absolute()})
    moved = RunningHub(settings).ask(
        "POST", "/api/v1/clock/advance", json={"by": by}, timeout=_TIMEOUT_S
    )
    typer.echo(f"It is {moved['now']} at this hub now ({moved['halts']} halts on the way).")
