"""The doctor on what others of this machine, and others at all, can get at.

1. The hub needs no privilege: its ports are above 1,023 and its files its own.
2. Of a data folder nothing is anybody else's to read or write; of the settings file nothing where it
   holds secrets.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from hub.config import DEFAULT_FILE
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_MOST_FILES = 20_000
_SECRET = re.compile(
    r"^\s*(client_secret|hook_secret|emqx_secret|token|url|\w*secret\w*)\s*=", re.MULTILINE
)


def check(case: Case) -> Iterator[Line]:
    """Look at whom the hub runs as, and at the modes of its files."""
    if case.exists:
        yield _privilege(case)
        yield _modes(case.settings.data_dir)
    if DEFAULT_FILE.is_file():
        yield from _settings_file(DEFAULT_FILE)


def _privilege(case: Case) -> Line:
    owner = case.settings.data_dir.stat().st_uid
    if owner == 0:
        return warning(
            "privilege",
            f"{case.settings.data_dir} belongs to root, so the hub runs with every right there is",
            "Make a user for it, stop the hub, chown -R that user the data folder, and start the hub "
            "as that user (docs/operations/homeport.service does).",
        )
    if owner != os.geteuid() and os.geteuid() != 0:
        return warning(
            "privilege",
            f"{case.settings.data_dir} belongs to user {owner}, and this is user {os.geteuid()}",
            "Run the doctor as the user of the hub.",
        )
    return ok("privilege", f"the hub is user {owner} and needs no right but to its own files")


def _modes(folder: Path) -> Line:
    """Look for files that others may write, or read where the folders on the way are open too."""
    looked, wrong = 0, []
    for place, folders, files in os.walk(folder):
        # Behind a folder that nobody else may enter modes do not matter; those in it stay strict.
        for name in (*folders, *files):
            looked += 1
            path = Path(place) / name
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue  # gone meanwhile: the hub works on
            if not stat.S_ISLNK(mode) and mode & stat.S_IWOTH:
                wrong.append(path)
        if looked > _MOST_FILES:
            break
    if wrong:
        return problem(
            "file modes",
            f"{len(wrong)} files may be written by anybody, such as {wrong[0]}",
            f"Run: chmod -R o-w {folder}. Compare with a backup if others use this machine.",
        )
    return ok("file modes", f"none of {looked} files may be written by others")


def _settings_file(path: Path) -> Iterator[Line]:
    mode = path.stat().st_mode
    if mode & 0o077 and _SECRET.search(path.read_text(encoding="utf-8", errors="replace")):
        yield problem(
            "settings file",
            f"{path.absolute()} holds secrets and may be read by others (mode {mode & 0o777:04o})",
            f"Run: chmod 600 {path.absolute()}",
        )
