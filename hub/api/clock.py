"""The hub's clock: what it shows, and on a demo hub how to move it ahead.

1. Only business time moves: certificates and connections go by the world's time.
2. It never moves back.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from hub.api.bodies import Answer, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.services import clock

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["operation"])


class AdvanceClock(Request):
    """How far to move the clock."""

    by: Annotated[
        str, Field(min_length=2, max_length=40, description="Such as `40d` or `PT1H30M`.")
    ]

    model_config = examples({"by": "40d"})


class AdvancedClock(Answer):
    """Where the clock is now, and how often it halted because something was due."""

    now: Instant
    halts: int

    model_config = examples({"now": "2026-03-12T08:00:00Z", "halts": 961})


@ROUTER.post(
    "/clock/advance", operation_id="advance_clock", summary="Move a demo hub's clock ahead"
)
def advance_clock(hub: HubDep, caller: CallerDep, body: AdvanceClock) -> AdvancedClock:
    """Move the clock ahead from one due instant to the next; what is due happens in order. Audited."""
    halts = hub.advance(caller, clock.length_ns(body.by))
    return AdvancedClock(now=hub.clock(), halts=halts)
