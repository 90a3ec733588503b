"""What leads a subscription from one state to another: one table, code and documentation at once.

1. `TRANSITIONS` is the only list of what may happen to a subscription. Services ask `permits` before
   they act; `docs/subscriptions.md` shows the table as `markdown` writes it.
2. The states themselves are derived from dates by `status.RULES`; a row only says which may follow.
3. What time brings about needs nobody: it is in the dates already.

What must never live here: money, and the effects themselves (`hub/services` has them).
"""

import sys
from enum import StrEnum
from typing import NamedTuple

from entitlements.status import ENTITLED, RULES, Status

_S = Status


class Trigger(StrEnum):
    """What can happen to a subscription."""

    BEGIN = "begin"
    TRIAL_END = "trial_end"
    COVER_END = "cover_end"
    COLLECTION_END = "collection_end"
    GRACE_END = "grace_end"
    PAUSE_END = "pause_end"
    TERM_END = "term_end"
    PAID = "paid"
    NOT_PAID = "not_paid"
    CHANGE_NOW = "change_now"
    CHANGE_LATER = "change_later"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    CANCEL_NOW = "cancel_now"
    UNDO_CANCEL = "undo_cancel"
    WITHDRAW = "withdraw"


BY_TIME = frozenset(
    {
        Trigger.BEGIN,
        Trigger.TRIAL_END,
        Trigger.COVER_END,
        Trigger.COLLECTION_END,
        Trigger.GRACE_END,
        Trigger.PAUSE_END,
        Trigger.TERM_END,
    }
)
"""What happens without anybody doing anything."""


class Transition(NamedTuple):
    """One row of the table.

    Args:
        trigger: what happens.
        states: in which states it may.
        to: the states that may follow.
        effect: what else is true then, in words.
    """

    trigger: Trigger
    states: tuple[Status, ...]
    to: tuple[Status, ...]
    effect: str


_UNPAID = (_S.PAST_DUE, _S.GRACE)
_RUNNING = (_S.TRIAL, _S.ACTIVE, *_UNPAID)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        Trigger.BEGIN,
        (_S.SCHEDULED,),
        (*_RUNNING, _S.INCOMPLETE, _S.CANCELLED, _S.PAUSED, _S.LAPSED),
        "its start has come",
    ),
    Transition(
        Trigger.TRIAL_END,
        (_S.TRIAL,),
        (_S.ACTIVE, _S.PAST_DUE, _S.GRACE, _S.LAPSED),
        "the first period is billed, if there is a means of payment; without one it lapses",
    ),
    Transition(
        Trigger.COVER_END,
        (_S.ACTIVE,),
        (_S.PAST_DUE, _S.GRACE, _S.LAPSED),
        "the next period is billed and its payment collected, by the plan's retry days",
    ),
    Transition(
        Trigger.COLLECTION_END,
        (_S.PAST_DUE,),
        (_S.GRACE, _S.LAPSED),
        "the last retry has failed; nothing is tried any more",
    ),
    Transition(Trigger.GRACE_END, (_S.GRACE,), (_S.LAPSED,), "only safe functions go on"),
    Transition(
        Trigger.PAUSE_END,
        (_S.PAUSED,),
        (_S.ACTIVE, _S.CANCELLED),
        "what was paid for runs on from where it stood",
    ),
    Transition(
        Trigger.TERM_END,
        tuple(state for state in Status if state not in {_S.WITHDRAWN, _S.ENDED}),
        (_S.ENDED,),
        "a fixed end has come, or the end of what was paid before it was cancelled",
    ),
    Transition(
        Trigger.PAID,
        (_S.INCOMPLETE, *_RUNNING, _S.PAUSED, _S.CANCELLED, _S.LAPSED),
        (_S.ACTIVE, _S.TRIAL, *_UNPAID, _S.PAUSED, _S.CANCELLED),
        "the billed time is covered; from `lapsed` it is reinstated, and the time that nothing was"
        " granted is not paid for: the period ends later by as long",
    ),
    Transition(
        Trigger.NOT_PAID,
        (_S.INCOMPLETE, *_RUNNING, _S.PAUSED, _S.CANCELLED, _S.LAPSED),
        (_S.ENDED, *_RUNNING, _S.PAUSED, _S.CANCELLED, _S.LAPSED),
        "a first payment that fails ends it; a change that is not paid does not happen; a renewal is"
        " tried again by the plan's retry days",
    ),
    Transition(
        Trigger.CHANGE_NOW,
        (_S.TRIAL, _S.ACTIVE),
        (_S.TRIAL, _S.ACTIVE),
        "plan or add-ons change at once: the unused rest is credited and the new rest charged, by"
        " seconds, on one invoice; what costs money happens once it is paid",
    ),
    Transition(
        Trigger.CHANGE_LATER,
        (_S.TRIAL, _S.ACTIVE, *_UNPAID, _S.PAUSED),
        (_S.TRIAL, _S.ACTIVE, *_UNPAID, _S.PAUSED),
        "the plan changes when the next period begins; until then it can be undone",
    ),
    Transition(
        Trigger.PAUSE,
        (_S.ACTIVE,),
        (_S.PAUSED,),
        "nothing is granted and nothing billed until it resumes; paid time is not lost",
    ),
    Transition(
        Trigger.RESUME,
        (_S.PAUSED,),
        (_S.ACTIVE,),
        "what was paid for runs on; the period ends later by as long as the pause was",
    ),
    Transition(
        Trigger.CANCEL,
        (_S.SCHEDULED, *_RUNNING),
        (_S.CANCELLED, _S.ENDED),
        "what is covered stays covered; nothing more is billed, open bills are void",
    ),
    Transition(
        Trigger.CANCEL_NOW,
        (_S.SCHEDULED, _S.INCOMPLETE, *_RUNNING, _S.PAUSED, _S.CANCELLED, _S.LAPSED),
        (_S.ENDED,),
        "over at once; the plan says whether the unused rest is paid back",
    ),
    Transition(
        Trigger.UNDO_CANCEL,
        (_S.CANCELLED,),
        (_S.TRIAL, _S.ACTIVE),
        "as if it had not been cancelled",
    ),
    Transition(
        Trigger.WITHDRAW,
        (_S.SCHEDULED, *_RUNNING, _S.PAUSED, _S.CANCELLED, _S.LAPSED),
        (_S.WITHDRAWN,),
        "within the plan's withdrawal days; paid back in full, or what is unused by seconds, as the"
        " plan says",
    ),
)

_BY_TRIGGER = {row.trigger: row for row in TRANSITIONS}


def permits(trigger: Trigger, state: Status) -> bool:
    """Say whether something may happen to a subscription in a state."""
    return state in _BY_TRIGGER[trigger].states


def follows(before: Status, after: Status) -> bool:
    """Say whether time alone may lead from one state straight to another."""
    return any(
        before in row.states and after in row.to for row in TRANSITIONS if row.trigger in BY_TIME
    )


def markdown() -> str:
    """Return both tables, of the states and of what leads from one to another, as Markdown."""
    lines = ["| state | when | grants the plan |", "|---|---|---|"]
    lines += [
        f"| `{rule.status}` | {rule.when} | {'yes' if rule.status in ENTITLED else 'no'} |"
        for rule in RULES
    ]
    lines += ["", "| what happens | in | then | and |", "|---|---|---|---|"]
    for row in TRANSITIONS:
        by = " (time)" if row.trigger in BY_TIME else ""
        lines.append(
            f"| {row.trigger.replace('_', ' ')}{by} | {_words(row.states)} | {_words(row.to)} |"
            f" {row.effect} |"
        )
    return "\n".join(lines) + "\n"


def _words(states: tuple[Status, ...]) -> str:
    return ", ".join(f"`{state}`" for state in states)


if __name__ == "__main__":
    sys.stdout.write(markdown())
