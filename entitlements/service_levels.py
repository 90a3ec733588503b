"""What a support contract promises for one case: when an answer and a solution are due.

1. Targets count business hours. The answer's runs from the opening on; the solution's stands still
   while the customer is waited for.
2. A deadline is met at its very instant and missed after it; one that was missed stays so.

No clock, no database.
"""

from dataclasses import dataclass

from entitlements.business_hours import Calendar, due, due_with_pauses


@dataclass(frozen=True, slots=True)
class Targets:
    """Business time, in seconds, within which a severity is to be handled; `None`: no promise."""

    response_s: int | None = None
    resolution_s: int | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """How a case went so far; instants in ns.

    Args:
        opened_at: when it was opened.
        responded_at: when staff first answered, `None` if they did not yet.
        resolved_at: when it was solved, `None` if it is not.
        pauses: `(from, until)` in which the customer was waited for, in order and apart; `None`:
            still.
    """

    opened_at: int
    responded_at: int | None = None
    resolved_at: int | None = None
    pauses: tuple[tuple[int, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When a case's answer and solution are due; `None`: not promised, or the clock stands still."""

    response_due: int | None
    resolution_due: int | None

    def next_of(self, course: Course) -> int | None:
        """Return the deadline that is to be met next, `None` if there is none."""
        if course.resolved_at is not None:
            return None
        answer = self.response_due if course.responded_at is None else None
        return min((one for one in (answer, self.resolution_due) if one is not None), default=None)

    def missed(self, course: Course, at: int) -> bool:
        """Say whether one of them has been missed by an instant."""
        pairs = (
            (self.response_due, course.responded_at),
            (self.resolution_due, course.resolved_at),
        )
        return any(
            promised is not None and (at if done is None else min(done, at)) > promised
            for promised, done in pairs
        )


def deadlines(calendar: Calendar, targets: Targets, course: Course) -> Deadlines:
    """Derive when a case's answer and solution are due.

    Raises:
        NeverOpenError: the calendar does not open long enough within three years.
    """
    answer = targets.response_s
    solution = targets.resolution_s
    return Deadlines(
        None if answer is None else due(calendar, course.opened_at, answer),
        None
        if solution is None
        else due_with_pauses(calendar, course.opened_at, solution, course.pauses),
    )
