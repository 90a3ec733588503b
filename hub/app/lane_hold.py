"""A worker's hold on a lane: its token, and until when it may trust it without asking.

1. The hold is trusted for less than the term after the last beat was *sent*: before anybody may take the lane.
2. Who has just connected to the broker asks the database (`confirm`) before it says a word: whoever took the lane
   since has ended all earlier connections of it, and finds its own question answered.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hub.errors import ConflictError

TRUST: Final = 0.75
"""Of the term; the rest is for clocks of different speed."""


class LostLeaseError(ConflictError):
    """Somebody else has the lane; nothing more may be said or written for it."""

    code = "lease-lost"
    title = "The lease on a lane is lost"


@dataclass(slots=True)
class Hold:
    """A lane that this worker has, as far as it knows.

    Args:
        lane: its number.
        token: of the lease.
        still: beats for the lane; False if it is not this worker's any more.
        term_s: how long others wait after a beat.
        since_s: monotonic seconds from before the lease was taken.
        clock: monotonic seconds; on Linux it goes on while a process is stopped.
    """

    lane: int
    token: int
    still: Callable[["Hold"], bool]
    term_s: float
    since_s: float
    clock: Callable[[], float] = field(default=time.monotonic)
    lost: bool = False

    def good(self) -> bool:
        """Whether the lane may be written and spoken for, by the clock alone."""
        return not self.lost and self.clock() - self.since_s < TRUST * self.term_s

    def beaten(self, sent_s: float, *, kept: bool) -> None:
        """Take the answer to a beat that was sent at `sent_s`, monotonic seconds."""
        if kept:
            self.since_s = max(self.since_s, sent_s)
        else:
            self.lost = True

    def confirm(self) -> None:
        """Ask the database.

        Raises:
            LostLeaseError: the lane is somebody else's.
            HubError: the database did not answer.
        """
        sent = self.clock()
        self.beaten(sent, kept=self.still(self))
        if self.lost:
            raise LostLeaseError(
                f"Lane {self.lane} was taken over from token {self.token}: this worker stood still for longer "
                "than the term of a lease. It goes on with the lanes it gets.",
                lane=self.lane,
            )
