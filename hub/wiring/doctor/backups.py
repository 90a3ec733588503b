"""The doctor on backups: whether there are any, how old the newest is, and whether they are apart from the hub.

1. The folder is only listed; `homeport backup verify` reads a backup.
"""

from collections.abc import Iterator

from hub.app.backup.schedule import HOUR_NS, Standing
from hub.app.backup.shelf import kept
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning


def check(case: Case) -> Iterator[Line]:
    """Look at the folder of backups."""
    chosen = case.settings.backup
    if chosen.folder is None:
        yield warning(
            "backup",
            "the hub takes none by itself",
            "Set backup.folder to a folder on another disk, or run `homeport backup` from time to time.",
        )
        return
    if not chosen.folder.is_dir():
        yield problem(
            "backup", f"{chosen.folder} is not there", "Mount its disk, or make the folder."
        )
        return
    standing = Standing.read(case.settings.run_dir) or Standing()
    backups = kept(chosen.folder)
    late = standing.problem(case.now_ns, chosen.every_hours) if case.running else None
    if late:
        yield problem("backup", late, f"Look at {case.settings.run_dir}/backup.log and .err.")
    elif not backups:
        yield warning(
            "backup", f"there is none in {chosen.folder} yet", "Run: homeport backup PLACE"
        )
    else:
        newest = backups[-1]
        hours = max(0, case.now_ns - newest.taken_ns) // HOUR_NS
        yield ok(
            "backup",
            f"{len(backups)} in {chosen.folder}, the newest {hours} hours old, {newest.size / 1e6:.1f} MB",
        )
    data = case.settings.data_dir
    if data.exists() and chosen.folder.stat().st_dev == data.stat().st_dev:
        yield warning(
            "backup disk",
            f"{chosen.folder} is on the same disk as the hub",
            "A disk that fails takes both. Keep backups elsewhere.",
        )
    if chosen.passphrase_file is None:
        yield warning(
            "backup secrecy",
            "backups are not encrypted, and hold the hub's keys",
            "Set backup.passphrase_file, unless the backup's disk is as safe as the hub's.",
        )
