"""The command `homeport sbom`: what is installed, as CycloneDX JSON, or its licences.

1. It reads what is installed on this machine; no hub and no network are needed.
"""

import datetime as dt
import json
from typing import Annotated

import typer

from hub.wiring import bill_of_materials, compose


def sbom(
    *,
    licences: Annotated[
        bool, typer.Option("--licences", help="List the licences instead, and what is under each.")
    ] = False,
) -> None:
    """Print what is installed with the hub: packages, versions, licences, hashes (CycloneDX 1.6)."""
    parts = bill_of_materials.installed()
    if licences:
        for licence, names in bill_of_materials.licences(parts).items():
            typer.echo(f"{licence}: {', '.join(names)}")
        return
    now = dt.datetime.fromtimestamp(compose.world_now() // 1_000_000_000, dt.UTC)
    at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    typer.echo(json.dumps(bill_of_materials.document(parts, at), indent=2, ensure_ascii=False))
