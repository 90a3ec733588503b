"""The doctor on the machine: disk, folder modes, clock, descriptors, compiled kernels.

1. The disk is tried with a file that never has a name, so nothing is left whatever happens.
2. Where the system does not tell (no adjtimex, say), that is not said either way.
"""

import contextlib
import ctypes
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hub.ports.journal.durability import free_bytes, sync_file
from hub.wiring import compose, kernels
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_SLOW_SYNC_S = 0.1
_SYNCS = 5
_LATEST_SANE_NS = 4_102_444_800_000_000_000  # 2100
_EARLIEST_SANE_NS = 1_735_689_600_000_000_000  # 2025, before this program was written
_BACKWARDS_NS = 2_000_000_000
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
_FEW_DESCRIPTORS = 4_096
_OWN_DESCRIPTORS = 256


def check_disk(case: Case) -> Iterator[Line]:
    """Look at space, and whether a sync of the disk works and how long it takes."""
    settings = case.settings
    folder = _nearest(settings.data_dir)
    try:
        free = free_bytes(folder)
        facts = os.statvfs(folder)
    except OSError as error:
        yield problem("disk space", f"{folder}: {error.strerror}", "Mount the disk again.")
        return
    seen = f"{free / 1e9:.1f} GB free for {settings.data_dir}"
    reserve = settings.ingest.reserve_bytes
    more = "Free some space or move the data folder to a larger disk."
    if free < reserve:
        yield problem(
            "disk space", f"{seen}: the hub takes no data below {reserve / 1e9:.1f}", more
        )
    elif free < max(4 * reserve, 0.05 * facts.f_blocks * facts.f_frsize):
        yield warning("disk space", seen, more)
    else:
        yield ok("disk space", seen)
    if facts.f_files and facts.f_favail < 1_000:
        yield problem("disk files", f"room for {facts.f_favail} more files", "Delete some files.")
    yield _sync(folder)


def check_folders(case: Case) -> Iterator[Line]:
    """Look at who may enter the data folder."""
    data = case.settings.data_dir
    if not data.exists():
        yield ok("data folder", f"{data} is not there yet; the first start makes it")
        return
    inside = sorted(path for path in data.iterdir() if path.is_dir() and not path.is_symlink())
    wrong = [path for path in [data, *inside] if path.stat().st_mode & 0o077]
    foreign = [path for path in [data, *inside] if path.stat().st_uid != os.geteuid()]
    for path in wrong:
        yield problem(
            "data folder",
            f"{path} may be entered by others (mode {path.stat().st_mode & 0o777:04o})",
            f"Run: chmod 700 {path}",
        )
    for path in foreign:
        yield problem(
            "data folder",
            f"{path} belongs to user {path.stat().st_uid}, this is user {os.geteuid()}",
            "Run the doctor, and the hub, as the user whom the folder belongs to.",
        )
    if not wrong and not foreign:
        yield ok("data folder", f"{data} is its owner's only")


def check_clock(case: Case) -> Iterator[Line]:
    """Look at the clock, alone and against what the hub saw last."""
    now = case.now_ns
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now / 1e9))
    settings = case.settings
    beats = [compose.progress(settings, worker).beat_ns for worker in range(settings.lanes)]
    ahead = max(beats, default=0) - now
    if not _EARLIEST_SANE_NS < now < _LATEST_SANE_NS:
        yield problem("clock", f"it is {shown}, says this machine", "Set the clock.")
    elif ahead > _BACKWARDS_NS:
        yield problem(
            "clock",
            f"it is {shown}, {ahead / 1e9:.0f} s before what the hub saw last",
            "The clock was set back. Set it right before the hub takes more data.",
        )
    elif _synchronized() is False:
        yield warning(
            "clock",
            f"it is {shown}; the system says that nobody keeps it right",
            "Let chrony, ntpd or systemd-timesyncd keep it: times of samples depend on it.",
        )
    else:
        yield ok("clock", f"it is {shown}")


def check_limits(case: Case) -> Iterator[Line]:
    """Look at how many files a process may open, and at the compiled kernels."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = case.settings.broker.max_connections
    if hard != resource.RLIM_INFINITY and hard < _FEW_DESCRIPTORS:
        devices = max(0, hard - _OWN_DESCRIPTORS)
        yield warning(
            "open files",
            f"a process may open {hard}: room for about {devices} devices",
            "Raise the limit for the hub: LimitNOFILE= of systemd, or ulimit -Hn.",
        )
    else:
        many = "any number" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        yield ok("open files", f"a process may open {many}; broker.max_connections is {wanted:,}")
    cache = kernels.use_cache(case.settings.cache_dir)
    compiled = sum(1 for _ in cache.rglob("*.nbc")) if cache.is_dir() else 0
    if compiled:
        yield ok("kernels", f"{compiled} files of compiled code in {cache}")
    else:
        yield warning(
            "kernels",
            f"nothing compiled in {cache}; the next start takes half a minute more",
            "Run: homeport warm",
        )


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _sync(folder: Path) -> Line:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            slowest = 0.0
            for _ in range(_SYNCS):
                os.write(file.fileno(), bytes(4096))
                began = time.perf_counter()
                sync_file(file.fileno())
                slowest = max(slowest, time.perf_counter() - began)
    except OSError as error:
        return problem(
            "disk sync",
            f"nothing can be written to {folder} and synced: {error.strerror}",
            "Make the disk writable for this user; look at the system log for disk errors.",
        )
    seen = f"a sync took up to {slowest * 1e3:.1f} ms"
    if slowest > _SLOW_SYNC_S:
        return warning(
            "disk sync", seen, "Receipts wait for syncs: use a faster disk for the data folder."
        )
    return ok("disk sync", seen)


def _synchronized() -> bool | None:
    """Ask the Linux kernel whether something keeps its clock right; None if it does not say."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        # struct timex is 208 bytes on 64-bit systems; all zeros means: only tell.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
        return None if state < 0 else bool(state != _TIME_ERROR)
    return None
