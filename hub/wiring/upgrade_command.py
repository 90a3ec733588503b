"""`homeport upgrade`: brings a data folder to this program's versions, with a backup first.

1. The hub must not run; the folder is locked meanwhile.
2. Nothing is changed before the backup is good, and `--dry-run` changes nothing at all.
3. What fails in the database is rolled back as a whole; then the backup is only a second safety.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.config import Settings, load
from hub.errors import ConflictError, InvalidInputError
from hub.wiring import compose

if TYPE_CHECKING:
    from hub.app import formats

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
]


def upgrade(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    backup: Annotated[
        Path | None,
        typer.Option(help="Folder for the backup that is taken first; without it backup.folder."),
    ] = None,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="You have one already: take none.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Bring the data folder to this version of Homeport; take a backup first.

    Does nothing to a folder that is up to date, so it may stand before every start.
    """
    from hub.app import formats  # noqa: PLC0415  heavy, and only here

    settings = load(config)
    formats.refuse_newer(settings)
    parts = formats.survey(settings)
    if not parts:
        typer.echo(f"There is no hub in {settings.data_dir} yet: nothing to upgrade.")
        return
    for part in parts:
        typer.echo(_line(part))
    if all(part.age is not formats.Age.OLDER for part in parts):
        typer.echo("Everything has this program's version.")
    elif dry_run:
        typer.echo("Nothing was changed. Without --dry-run this would be done, a backup first.")
    else:
        _upgrade(settings, None if no_backup else _place(settings, backup))
        typer.echo("Upgraded. Start it with: homeport serve")


def _line(part: "formats.Part") -> str:
    from hub.app.formats import Age  # noqa: PLC0415  heavy, and only here

    if part.age is Age.SAME:
        return f"{part.name}: version {part.found}"
    steps = "".join(f"\n    {step}" for step in part.steps)
    return f"{part.name}: version {part.found} -> {part.known}{steps}"


def _place(settings: Settings, wanted: Path | None) -> Path:
    place = wanted or settings.backup.folder
    if place is None:
        raise InvalidInputError(
            "Say where the backup goes: --backup FOLDER (or the setting backup.folder). With a backup of your own: "
            "--no-backup"
        )
    if not place.is_dir():
        raise InvalidInputError(f"The folder {place} for the backup is not there. Make it first.")
    return place.absolute()


def _upgrade(settings: Settings, place: Path | None) -> None:
    from hub.app import formats  # noqa: PLC0415  heavy, and only here
    from hub.app.backup.shelf import name_of  # noqa: PLC0415  heavy, and only here
    from hub.app.backup.take import take  # noqa: PLC0415  heavy, and only here
    from hub.ports.database.engine import migrate  # noqa: PLC0415  heavy, and only here
    from hub.ports.journal.durability import lock_folder, make_folder  # noqa: PLC0415  only here
    from hub.ports.store.manifest import renew_manifest  # noqa: PLC0415  heavy, and only here

    make_folder(settings.run_dir)
    try:
        lock = lock_folder(settings.run_dir)
    except ConflictError as error:
        raise ConflictError(
            f"A hub runs with {settings.data_dir}. Stop it, upgrade, and start it again."
        ) from error
    try:
        source = compose.backup_source(settings)
        if place is not None:
            now = compose.now()
            secret = compose.passphrase(settings.backup.passphrase_file)
            compose.allow_many_files()
            path = place / name_of(now, sealed=secret is not None)
            take(source, path, now, secret)
            typer.echo(f"Backup: {path}")
        migrate(source.engine)
        renew_manifest(settings.store_dir)
        formats.mark(settings, compose.program_version())
    finally:
        os.close(lock)
