"""The command `homeport capacity`: what a fleet needs of a machine, and by what it is bounded.

Nothing is changed, and the hub is not asked: what it publishes is read, if it runs.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from hub.config import load
from hub.services.capacity_model import Fleet, Need, Needs, parse_kept, shipped

_STEPS = ("", "k", "M", "G", "T", "P")


def capacity(
    *,
    products: Annotated[int, typer.Option("--products", min=1, help="How many are connected.")],
    rate: Annotated[
        float,
        typer.Option("--rate", help="Messages a second of one product; 0.0167 is one a minute."),
    ],
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows of a message.")] = 1,
    metrics: Annotated[int, typer.Option("--metrics", min=1, help="Values of a row.")] = 5,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            help="Days that raw rows, minutes, hours and days are kept, - for ever, by share of the fleet: "
            "0.8:30/365/1825/-,0.2:7/90/730/-. Without it as the settings say.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
    ] = None,
) -> None:
    """Compute what a fleet needs of this machine: cores, memory, disk, network; and what bounds it."""
    from hub.app.capacity_desk import CapacityDesk  # noqa: PLC0415  heavy, and only here

    desk = CapacityDesk(load(config))
    found = desk.answer(Fleet(products, rate, rows, metrics, parse_kept(keep or desk.kept)))
    if as_json:
        typer.echo(json.dumps(_object(found)))
        return
    for need in found.needs:
        of = "" if need.use is None else f"{need.use:8.1%}"
        typer.echo(f"{need.code:<18}{_shown(need):>14}{of:>10}   {need.formula}")
    typer.echo()
    for name in dict.fromkeys(name for need in found.needs for name in need.figures):
        figure = found.figures[name]
        where = "measured here" if figure.here else "shipped"
        typer.echo(f"{name:<30}{figure.value:>14.6g}   {where}: {figure.source}")
    _, made = shipped()
    typer.echo(f"\nShipped figures: {made}")
    if found.bound is not None:
        typer.echo(
            f"Bounded by {found.bound.code}: room for about {found.most:,} such products on this machine."
        )


def _object(found: Needs) -> dict[str, object]:
    _, made = shipped()
    return {
        "needs": {
            need.code: {
                "value": need.value,
                "unit": need.unit,
                "room": need.room,
                "formula": need.formula,
                "figures": need.figures,
            }
            for need in found.needs
        },
        "bounded_by": None if found.bound is None else found.bound.code,
        "most_products": found.most,
        "figures": {name: dataclasses.asdict(one) for name, one in found.figures.items()},
        "shipped": made,
    }


def _shown(need: Need) -> str:
    value, step = need.value, 0
    if need.unit not in {"cores", "1", "1/s"}:
        while value >= 1_000 and step < len(_STEPS) - 1:
            value, step = value / 1_000, step + 1
    unit = "" if need.unit == "1" else need.unit
    number = f"{value:,.0f}" if need.unit == "1" or value >= 100 else f"{value:.3g}"
    return f"{number} {_STEPS[step]}{unit}".rstrip()
