"""The commands `homeport deadletter`: look at frames that were not accepted, and have one taken again.

1. They ask the running hub; nothing is read from its files.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import load
from hub.wiring.running_hub import RunningHub

app = typer.Typer(no_args_is_help=True, help="Frames that were not accepted.")

_PAGE = 200

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]
LetterId = Annotated[str, typer.Argument(help="As `list` prints it.")]


@app.command("list")
def list_letters(
    device: Annotated[str | None, typer.Option(help="Only of this device.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only with this word, such as malformed.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Only from this instant on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this instant.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    config: ConfigFile = None,
) -> None:
    """Print dead letters, the newest first: one JSON object a line, without the frames."""
    hub = RunningHub(load(config))
    asked = {"device_id": device, "reason": reason, "since": since, "until": until}
    params: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    while limit > 0:
        page = hub.ask("GET", "/api/v1/deadletters", params={**params, "limit": min(limit, _PAGE)})
        for letter in page["items"]:
            letter.pop("sample", None)
            typer.echo(json.dumps(letter, ensure_ascii=False))
        limit -= len(page["items"])
        if page["next"] is None:
            return
        params["after"] = page["next"]


@app.command("show")
def show_letter(letter: LetterId, config: ConfigFile = None) -> None:
    """Print one dead letter: its bytes in hex, and what they say as far as they can be read."""
    answer = RunningHub(load(config)).ask("GET", f"/api/v1/deadletters/{letter}")
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


@app.command("replay")
def replay_letter(letter: LetterId, config: ConfigFile = None) -> None:
    """Put a frame through the pipeline again, once, after what rejected it was corrected."""
    answer = RunningHub(load(config)).ask("POST", f"/api/v1/deadletters/{letter}/replay")
    typer.echo(f"Dead letter {letter} was handed to its worker at {answer['replayed_at']}.")
