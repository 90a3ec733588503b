"""The doctor on the keys that sign what devices are told: how old, and what comes next.

1. A key is not worn by use; one that has signed for years is one that many backups hold.
"""

from collections.abc import Iterator

from hub.errors import StorageError
from hub.services.signing_keys import RingKey, SigningKeys, facts
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_DAY_NS = 86_400_000_000_000
_OLD_DAYS = 400


def check(case: Case) -> Iterator[Line]:
    """Look at all signing keys."""
    if not case.exists:
        return
    try:
        keys = SigningKeys.load(case.settings.keys_dir)
    except StorageError as error:
        yield problem("signing keys", error.detail, "Restore the folder keys from a backup.")
        return
    signs = {fact["kid"]: fact["signs"] for fact in facts(keys, case.now_ns)}
    for key in keys.keys:
        yield _one(case, key, signs=signs[key.kid])


def _one(case: Case, key: RingKey, *, signs: bool) -> Line:
    name, now = f"signing key {key.kid}", case.now_ns
    if key.signs_from > now:
        days = -(-(key.signs_from - now) // _DAY_NS)
        return ok(name, f"announced to devices, signs in {days} days")
    if not signs:
        days = max(0, (key.retired_at or now) - now) // _DAY_NS
        return ok(name, f"signs no longer; devices accept it for {days} more days at least")
    made = key.announced_at or (case.settings.keys_dir / key.file).stat().st_mtime_ns
    days = max(0, now - made) // _DAY_NS
    if days > _OLD_DAYS:
        return warning(name, f"{days} days old", "Make a new one: homeport keys rotate")
    return ok(name, f"signs, {days} days old")
