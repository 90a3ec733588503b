"""`homeport trigger`: let something go wrong in the demo that runs in another terminal.

1. Without a name it lists what there is.
2. Never here: what a scenario does; the running demo knows that.
"""

from typing import Annotated

import typer

from firmware_sim import demo_door
from firmware_sim.demo_door import NoDemoError


def command(
    name: Annotated[
        str | None, typer.Argument(help="Scenario; without it all are listed.", show_default=False)
    ] = None,
    pid: Annotated[
        int | None, typer.Option(help="Process id of the demo, if several run.", show_default=False)
    ] = None,
) -> None:
    """Start a scenario in the running demo: a fault that the hub will find."""
    try:
        answer = demo_door.ask({} if name is None else {"trigger": name}, pid)
    except NoDemoError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if "error" in answer:
        typer.echo(answer["error"], err=True)
        raise typer.Exit(2)
    if "said" in answer:
        typer.echo(answer["said"])
        return
    scenarios: dict[str, str] = answer["scenarios"]
    width = max(map(len, scenarios))
    for scenario, about in scenarios.items():
        typer.echo(f"{scenario:<{width}}  {about}")
