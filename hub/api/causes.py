"""What many products have in common: incidents of whole cohorts, and causes behind open alerts.

1. For the staff only: it tells of all products.
2. Causes are counted anew at most once a minute. Each list is short and has one page.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from hub.api.bodies import Answer, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.paging import Page
from hub.ports.database.engine import read_session
from hub.services import alert_desk, incidents
from hub.services.caller import Scope
from hub.services.causes import Cause as FoundCause

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["alerts"])


class Cause(Answer):
    """A property that products with open alerts have in common, more than accident would have it."""

    kind: str = Field(description="Kind of the alerts.")
    metric: str = Field(description="Name of their metric; empty where they are about the product.")
    model: str | None = Field(description="Within which model; null if the model is the property.")
    property: Literal["model", "firmware", "hardware_lot", "region", "age"]
    value: str
    both: int = Field(description="Products with the fault and the property.")
    fault: int = Field(description="Products with the fault.")
    having: int = Field(description="Products with the property.")
    every: int = Field(description="Products that were compared.")
    share_of_rest: float = Field(description="Share of those without the fault that have it.")
    chance: float = Field(description="Of so many by accident (Fisher's exact test).")
    false_share: float = Field(
        description="Of false ones among causes as sure as this (Benjamini and Hochberg)."
    )

    model_config = examples(
        {
            "kind": "drift",
            "metric": "flow_temp_c",
            "model": "heat-pump",
            "property": "firmware",
            "value": "2.4.1",
            "both": 31,
            "fault": 40,
            "having": 230,
            "every": 10040,
            "share_of_rest": 0.0199,
            "chance": 1.2e-44,
            "false_share": 3.4e-43,
        }
    )


class Incident(Answer):
    """Something found about many products at once."""

    id: str
    kind: str
    model: int | None = Field(description="Number of the model; null for all products.")
    firmware: str
    metric: str
    metric_title: str
    unit: str
    code: str
    arguments: dict[str, float | int]
    members: int = Field(description="Products that were looked at, or are silent.")
    since: Instant
    opened_at: Instant
    last_at: Instant
    ended_at: Instant | None

    model_config = examples(
        {
            "id": "0b3f5a7c9d1e2f400b3f5a7c9d1e2f40",
            "kind": "cohort_shift",
            "model": 1,
            "firmware": "2.4.1",
            "metric": "flow_temp_c",
            "metric_title": "Flow temperature",
            "unit": "Cel",
            "code": "finding.cohort_shift.above",
            "arguments": {"observed": 41.2, "expected_high": 36.0, "members": 128},
            "members": 128,
            "since": "2026-01-31T07:10:00Z",
            "opened_at": "2026-01-31T08:00:00.250Z",
            "last_at": "2026-01-31T08:00:00Z",
            "ended_at": None,
        }
    )


class Feedback(Answer):
    """What people thought of the alerts of one kind on one model."""

    model: str
    kind: str
    alerts: int = Field(description="Alerts there were.")
    useful: int = Field(description="Times somebody called one useful.")
    useless: int = Field(description="Times somebody called one not useful.")

    model_config = examples(
        {"model": "heat-pump", "kind": "drift", "alerts": 40, "useful": 31, "useless": 2}
    )


@ROUTER.get("/causes", operation_id="list_causes", summary="What faulty products have in common")
def list_causes(hub: HubDep, caller: CallerDep) -> Page[Cause]:
    """Rank what the products with open alerts have in common, the surest first."""
    caller.require(Scope.RECORDS_READ)
    causes = hub.causes.causes(hub.engine, hub.clock())
    return Page(items=[_shown(cause) for cause in causes], next=None)


@ROUTER.get("/incidents", operation_id="list_incidents", summary="List what cohorts have in common")
def list_incidents(
    hub: HubDep,
    caller: CallerDep,
    ended: Annotated[bool, Query(description="Those that ended too.")] = False,  # noqa: FBT002  a query parameter
) -> Page[Incident]:
    """List incidents, the newest first, at most 50."""
    with read_session(hub.engine) as session:
        found = incidents.listed(session, caller, ended=ended)
    return Page(items=[Incident.model_validate(one) for one in found], next=None)


@ROUTER.get(
    "/alert-feedback", operation_id="list_alert_feedback", summary="Count feedback on alerts"
)
def list_alert_feedback(hub: HubDep, caller: CallerDep) -> Page[Feedback]:
    """Count what people thought of alerts, by model and kind."""
    with read_session(hub.engine) as session:
        counts = alert_desk.feedback(session, caller)
    return Page(items=[Feedback.model_validate(one) for one in counts], next=None)


def _shown(cause: FoundCause) -> Cause:
    table = cause.table
    return Cause(
        kind=cause.kind,
        metric=cause.metric,
        model=cause.model,
        property=cause.property,
        value=cause.value,
        both=table.both,
        fault=table.fault,
        having=table.having,
        every=table.every,
        share_of_rest=table.share_of_rest,
        chance=cause.chance,
        false_share=cause.false_share,
    )
