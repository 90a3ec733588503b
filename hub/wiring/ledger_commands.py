"""The command `homeport ledger verify`: whether the books are whole and balanced, and nobody changed them.

1. It reads the database and the public half of the ledger's key, beside a running hub or without one.
"""

from pathlib import Path
from typing import Annotated

import typer

from entitlements.billing.money import Money
from hub.config import load
from hub.errors import HubError, InvalidInputError
from hub.wiring import compose
from hub.wiring.backup_commands import existing

app = typer.Typer(no_args_is_help=True, help="The ledger of money.")


@app.callback()
def _group() -> None:
    """Keep `verify` a subcommand though it is the only one."""


@app.command("verify")
def verify(
    noted: Annotated[
        str,
        typer.Option(
            "--noted", help="What it said earlier, ENTRY:DIGEST: that must still be in the ledger."
        ),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
    ] = None,
) -> None:
    """Check hashes, order, balance and seals of the ledger; print what each account holds."""
    from hub.ports.database.engine import read_session  # noqa: PLC0415  heavy, and only here
    from hub.services import ledger, ledger_seals  # noqa: PLC0415  heavy, and only here
    from hub.services.signing_keys import load_ledger_key  # noqa: PLC0415  heavy, and only here

    settings = existing(load(config))
    key = load_ledger_key(settings.keys_dir).public_key()
    with read_session(compose.engine(settings)) as session:
        found = ledger_seals.verify(session, key, _noted(noted))
        balances = ledger.balances(session)
    if found.wrong:
        raise HubError(
            f"The ledger is not right. {' '.join(found.wrong[:20])} Keep the database as it is and "
            "compare it with a backup.",
            wrong=list(found.wrong),
        )
    for (account, currency), minor in sorted(balances.items()):
        typer.echo(f"{account:<12} {Money(minor, currency)}")
    typer.echo(
        f"The ledger is whole: {found.entries} entries, sealed up to {found.sealed}. "
        f"Note for later: --noted {found.entries}:{found.digest}"
    )


def _noted(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    entry, _, digest = text.partition(":")
    if not entry.isascii() or not entry.isdecimal() or len(digest) != 64:
        raise InvalidInputError(
            "What was noted has the form ENTRY:DIGEST, as this command prints it."
        )
    return int(entry), digest
