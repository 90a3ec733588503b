"""The commands `homeport catalog`: what the vendor makes and sells, from a file and to a file.

1. They ask the running hub; nothing is read from its files.
2. A difference is told in words, line by line, or as the JSON of the API (`--json`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import load
from hub.errors import HubError
from hub.wiring.running_hub import RunningHub

app = typer.Typer(no_args_is_help=True, help="Product models, plans and features.")

_MARKS = {"added": "+", "changed": "~", "removed": "-"}

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]


@app.command("apply")
def apply_catalogue(
    file: Annotated[Path, typer.Argument(help="Catalogue in TOML.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Remove models and plans that the file leaves out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Bring models, metrics, features and plans to what a file says, all or nothing.

    An edit that would strand somebody is refused: exit status 1, of --dry-run too.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(f"The catalogue {file} cannot be read: {error}.") from error
    answer = RunningHub(load(config)).ask(
        "POST",
        "/api/v1/catalogue",
        params={"dry_run": dry_run, "whole": whole},
        content=text.encode(),
        headers={"Content-Type": "application/toml"},
    )
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        for line in _words(answer, str(file)):
            typer.echo(line)
    if answer["refused"]:
        raise typer.Exit(1)


@app.command("show")
def show_catalogue(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not TOML.")] = False,
    config: ConfigFile = None,
) -> None:
    """Print the whole catalogue as a document; applied again, it changes nothing."""
    hub = RunningHub(load(config))
    if as_json:
        answer = hub.ask("GET", "/api/v1/catalogue")
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        headers = {"Accept": "application/toml"}
        typer.echo(hub.text("GET", "/api/v1/catalogue", headers=headers), nl=False)


def _words(answer: dict[str, Any], file: str) -> Iterator[str]:
    """Yield a difference in words."""
    count = 0
    for act, mark in _MARKS.items():
        for edit in answer[act]:
            count += 1
            yield f"{mark} {edit['sentence']}"
    for edit in answer["refused"]:
        where = file if edit["line"] is None else f"{file}:{edit['line']}"
        yield f"! {edit['thing']} cannot be {edit['act']} ({where}). {edit['refusal']}"
    if refused := len(answer["refused"]):
        yield f"Nothing would be changed: {_counted(refused)} refused."
    elif not count:
        yield "Nothing to change: the catalogue is as the file says."
    else:
        yield f"{'Would make' if answer['dry_run'] else 'Made'} {_counted(count)}."


def _counted(count: int) -> str:
    return "1 edit" if count == 1 else f"{count} edits"
