"""How long this machine has been up, whoever sets its clock: what workers write into their beats.

1. Time in which the machine slept counts, where the system tells it: nobody listened meanwhile.
2. Where the system names no boot, each process counts as one: what passes between two of them is then told
   by the world's time.
"""

import secrets
import time
from pathlib import Path

from hub.ports.journal.beat import BOOT_SIZE, Beat

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot() -> bytes:
    try:
        return bytes.fromhex(_BOOT_ID.read_text("ascii").strip().replace("-", ""))[:BOOT_SIZE]
    except (OSError, ValueError):
        return secrets.token_bytes(BOOT_SIZE)


_THIS_BOOT = _boot()
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def beat() -> Beat:
    """Return the present time of this machine."""
    return Beat(_THIS_BOOT, time.clock_gettime_ns(_CLOCK), time.time_ns())
