"""How many files and sockets this process may have open: each device needs a few.

1. Only the soft limit is raised, and never lowered; the hard one is the machine's owner's.
2. For commands only: the limit belongs to the whole process.
"""

import resource
from typing import Final

PER_DEVICE: Final = (
    8  # socket, a pair of sockets to wake it, spool and its journal, and moments of more
)
OTHERS: Final = 256


class DescriptorLimitError(Exception):
    """This machine does not let one process have so many devices; the message says what to do."""


def allow_devices(count: int) -> None:
    """Raise the soft limit on open files to what so many devices need.

    Args:
        count: devices that will be open at once in this process.

    Raises:
        DescriptorLimitError: the hard limit is too low; nothing changed.
    """
    needed = OTHERS + PER_DEVICE * count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        fitting = max(0, (hard - OTHERS) // PER_DEVICE)
        raise DescriptorLimitError(
            f"{count} devices need {needed} open files, but the hard limit of this process is {hard}, "
            f"enough for {fitting} devices. Raise it (`ulimit -Hn`, LimitNOFILE= or "
            "/etc/security/limits.conf) or simulate fewer."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
