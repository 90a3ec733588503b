"""`homeport backup` and `homeport restore`: what the command line says of backups.

1. `homeport backup PLACE` takes one; `verify`, `list` and `prune` are words of the same command.
2. A passphrase comes from a file, never from the command line, where other users of the machine could read it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hub.config import Settings, load
from hub.errors import HubError, InvalidInputError
from hub.wiring import compose
from hub.wiring.doctor.case import Case

_DAY_NS = 86_400_000_000_000
_HOUR_NS = 3_600_000_000_000


class _PlaceOrWord(TyperGroup):
    """A group whose first argument may be a place: then it is `take` that is meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; what is no word is a place."""
        if args and args[0] not in self.commands:
            args = ["take", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_PlaceOrWord, no_args_is_help=True, help="Backups of the hub.")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the passphrase of an encrypted backup."),
]


@app.command("take")
def take(
    place: Annotated[Path, typer.Argument(help="A folder, or the name of a new file.")],
    *,
    passphrase_file: PassphraseFile = None,
    config: ConfigFile = None,
) -> None:
    """Take a backup, of a hub that runs or not. `homeport backup PLACE` does the same."""
    from hub.app.backup.shelf import name_of  # noqa: PLC0415  heavy, and only here
    from hub.app.backup.take import take as copy  # noqa: PLC0415  heavy, and only here

    settings, now = existing(load(config)), compose.now()
    secret = compose.passphrase(passphrase_file)
    compose.allow_many_files()
    path = place / name_of(now, sealed=secret is not None) if place.is_dir() else place
    found = copy(compose.backup_source(settings), path.absolute(), now, secret)
    typer.echo(
        f"Wrote {path}: {found.files} files, {found.size:,} bytes, {found.samples:,} samples in the "
        f"store, {found.blocks:,} journal blocks. It was read back and is good."
    )


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    *,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Read a backup whole: hashes, database, journal blocks, store, keys; and say how old it is."""
    from hub.app.backup.check import examine  # noqa: PLC0415  heavy, and only here

    found = examine(file, compose.passphrase(passphrase_file))
    typer.echo(
        f"{file.name} is good: {found.files} files, {found.size:,} bytes, {found.blocks:,} journal blocks; "
        f"taken {found.about['taken']}, {age(compose.now() - found.taken_ns)} ago, by Homeport "
        f"{found.about['version']}."
    )


@app.command("list")
def show(folder: Annotated[Path, typer.Argument(help="Where backups are kept.")]) -> None:
    """List the backups in a folder, the newest last."""
    from hub.app.backup.shelf import kept  # noqa: PLC0415  only here

    now = compose.now()
    for one in kept(folder):
        typer.echo(f"{one.path.name}  {one.size:>16,} bytes  {age(now - one.taken_ns)} old")


@app.command("prune")
def prune(
    folder: Annotated[Path, typer.Argument(help="Where backups are kept.")],
    *,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest stay.")],
) -> None:
    """Delete all but the newest backups in a folder; other files are left alone."""
    from hub.app.backup import shelf  # noqa: PLC0415  only here

    gone = shelf.prune(folder, keep)
    typer.echo(f"Deleted {len(gone)} backups; {len(shelf.kept(folder))} are left.")


def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    *,
    into: Annotated[
        Path | None,
        typer.Option(help="Data folder to make; without it the one of the settings."),
    ] = None,
    erasures: Annotated[
        Path | None,
        typer.Option(help="List of erasures; without it erasures.json beside the backup."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    config: ConfigFile = None,
) -> None:
    """Make a data folder of a backup. Devices then send again what they still hold.

    The folder must be empty. With PostgreSQL, its database must be empty too. Whoever was erased since the
    backup was taken is erased again.
    """
    from hub.app import erasure_list  # noqa: PLC0415  heavy, and only here
    from hub.app.backup.restore import restore as put_back  # noqa: PLC0415  heavy, and only here

    settings = load(config)
    if into is not None:
        settings = settings.model_copy(update={"data_dir": into.expanduser().absolute()})
    if Case.of(settings, compose.now()).running:
        raise InvalidInputError(f"A hub runs with {settings.data_dir}. Stop it first.")
    embedded = settings.database_url.get_secret_value().startswith("sqlite:")
    if embedded and settings.database.url.get_secret_value():
        raise InvalidInputError(
            "The setting database.url names an SQLite file. Leave it empty to restore: the database is "
            "then in the data folder."
        )
    database = None if embedded else lambda: compose.engine(settings)
    if erasures is not None and not erasures.exists():
        raise InvalidInputError(f"There is no list of erasures {erasures}.")
    listed = erasure_list.read(erasures or file.with_name(erasure_list.NAME))
    secret = compose.passphrase(passphrase_file)
    found = put_back(file, settings, compose.now(), secret, database, listed)
    if listed:
        typer.echo(f"{len(listed)} people of the list of erasures are not in it any more.")
    typer.echo(
        f"{settings.data_dir} is as it was {found.about['taken']}. Start it with: homeport serve. "
        "Devices will send again what they still hold."
    )


def existing(settings: Settings) -> Settings:
    """Refuse to make a new, empty database for a command that only looks, and what is newer than this program.

    Raises:
        HubError: there is no hub, or a newer one.
    """
    from hub.app.formats import refuse_newer  # noqa: PLC0415  heavy, and only for some commands

    url = settings.database_url.get_secret_value()
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise HubError(
            f"There is no hub in {settings.data_dir}. Name its settings file with --config, "
            "or its data folder with HOMEPORT_DATA_DIR."
        )
    refuse_newer(settings)
    return settings


def age(elapsed_ns: int) -> str:
    """Say how long something takes or is ago, for people."""
    if elapsed_ns >= 2 * _DAY_NS:
        return f"{elapsed_ns // _DAY_NS} days"
    if elapsed_ns >= 2 * _HOUR_NS:
        return f"{elapsed_ns // _HOUR_NS} hours"
    return f"{max(0, elapsed_ns) // 60_000_000_000} minutes"
