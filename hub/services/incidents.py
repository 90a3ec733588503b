"""Incidents: what was found about many products at once, and the findings about single ones that it explains.

1. One open incident per cohort, metric and kind; without a cohort it is about all products.
2. A silence ends when the finding says so; a cohort that moved stays an incident for `LASTS_NS` after
   the last word on it, for there it may stay.
3. While a metric of a cohort has moved, changes of it in single products are put down to the cohort:
   they are kept with the incident and open no alert. Alerts that were quicker are resolved with it,
   but for those that somebody looks after.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from analytics.findings import OVER, Kind
from hub.ports.database.alert_tables import Alert, Incident
from hub.ports.database.catalogue_tables import Metric
from hub.ports.database.product_tables import Cohort, Device
from hub.services.caller import Caller, Scope
from hub.services.found import NO_METRIC, Found, Resolution, sentence_of

LASTS_NS = 86_400_000_000_000
_EARLIER_NS = 7_200_000_000_000
"""Single products may be noticed before their cohort."""
EXPLAINED = (Kind.SPIKE, Kind.LEVEL_SHIFT, Kind.DRIFT, Kind.VARIANCE_CHANGE, Kind.COHORT)


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as people see it; instants in ns. Model, firmware and metric are empty where it is about all."""

    id: str
    kind: str
    model: int | None
    firmware: str
    metric: str
    metric_title: str
    unit: str
    code: str
    arguments: dict[str, float | int]
    members: int
    since: int
    opened_at: int
    last_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Shared:
    """The incidents that may explain findings about single products, by cohort and metric."""

    moved: dict[tuple[int, int], Incident]

    @classmethod
    def load(cls, session: Session, cohorts: Collection[int | None], at: int) -> Self:
        """Load those of some cohorts that are open, or ended a little while ago."""
        query = select(Incident).where(
            Incident.kind == Kind.COHORT_SHIFT,
            Incident.cohort.in_(sorted(number for number in cohorts if number)),
            or_(Incident.ended_at.is_(None), Incident.ended_at > at - _EARLIER_NS),
        )
        found = session.scalars(query.order_by(Incident.opened_at))
        return cls({(one.cohort or 0, one.metric or 0): one for one in found})

    def of(self, found: Found, cohort: int | None) -> str | None:
        """Return the incident that explains a finding about a device of a cohort, if one does."""
        incident = self.moved.get((cohort or 0, found.metric))
        if incident is None or found.kind not in EXPLAINED:
            return None
        end = incident.ended_at or incident.heard_at + LASTS_NS
        within = incident.since - _EARLIER_NS <= found.since <= end
        return incident.id if within else None


def apply(session: Session, findings: Sequence[Found], at: int) -> None:
    """Open, update and end incidents.

    Args:
        session: a writing session.
        findings: about cohorts, in the order of the log; taking one again changes nothing.
        at: now, ns.
    """
    for found in findings:
        present = _open(session, found)
        if present is not None and present.last_at >= found.time:
            continue  # taken before
        if found.severity == OVER:
            if present is not None:
                present.ended_at = at
        elif present is not None:
            present.severity = max(present.severity, found.severity)
            present.members = max(present.members, found.members)
            present.last_at, present.heard_at = found.time, at
            present.code, present.arguments = _sentence(found)
        elif session.get(Incident, found.id.hex()) is None:
            _begin(session, found, at)
        session.flush()


def end_quiet(session: Session, at: int, since: int) -> None:
    """End incidents of cohorts that moved and on which nothing more was said.

    Args:
        session: a writing session.
        at: now, ns.
        since: when the hub began to listen; what is from before may have been missed.
    """
    if at - since >= LASTS_NS:
        session.execute(
            update(Incident)
            .where(
                Incident.kind == Kind.COHORT_SHIFT,
                Incident.ended_at.is_(None),
                Incident.heard_at <= at - LASTS_NS,
            )
            .values(ended_at=at)
        )


def listed(
    session: Session, caller: Caller, *, ended: bool = False, limit: int = 50
) -> list[IncidentView]:
    """List incidents, the newest first; staff only.

    Args:
        session: any session.
        caller: a member of the staff.
        ended: those that ended too.
        limit: at most so many.
    """
    caller.require(Scope.RECORDS_READ)
    query = (
        select(Incident, Cohort, Metric)
        .outerjoin(Cohort, Cohort.number == Incident.cohort)
        .outerjoin(
            Metric,
            (Metric.model_number == Cohort.model_number) & (Metric.index == Incident.metric),
        )
        .order_by(Incident.opened_at.desc(), Incident.id)
        .limit(limit)
    )
    if not ended:
        query = query.where(Incident.ended_at.is_(None))
    return [
        IncidentView(
            id=one.id,
            kind=Kind(one.kind).name.lower(),
            model=cohort.model_number if cohort else None,
            firmware=cohort.firmware if cohort else "",
            metric=metric.name if metric else "",
            metric_title=metric.title if metric else "",
            unit=metric.unit if metric else "s",
            code=one.code,
            arguments=one.arguments,
            members=one.members,
            since=one.since,
            opened_at=one.opened_at,
            last_at=one.last_at,
            ended_at=one.ended_at,
        )
        for one, cohort, metric in session.execute(query)
    ]


def _open(session: Session, found: Found) -> Incident | None:
    query = select(Incident).where(
        Incident.cohort.is_not_distinct_from(found.cohort or None),
        Incident.metric.is_not_distinct_from(_metric(found)),
        Incident.kind == found.kind,
        Incident.ended_at.is_(None),
    )
    return session.scalars(query).first()


def _begin(session: Session, found: Found, at: int) -> None:
    code, arguments = _sentence(found)
    incident = Incident(
        id=found.id.hex(),
        cohort=found.cohort or None,
        metric=_metric(found),
        kind=found.kind,
        severity=found.severity,
        members=found.members,
        since=found.since,
        opened_at=at,
        last_at=found.time,
        heard_at=at,
        code=code,
        arguments=arguments,
    )
    session.add(incident)
    session.flush()
    if found.kind == Kind.COHORT_SHIFT:
        session.execute(
            update(Alert)
            .where(
                Alert.slot.in_(select(Device.slot).where(Device.cohort == found.cohort)),
                Alert.metric == found.metric,
                Alert.kind.in_(EXPLAINED),
                Alert.since >= found.since - _EARLIER_NS,
                Alert.resolved_at.is_(None),
                Alert.acknowledged_at.is_(None),
            )
            .values(resolved_at=at, resolution=Resolution.INCIDENT, incident_id=incident.id)
        )


def _metric(found: Found) -> int | None:
    return None if found.metric == NO_METRIC else found.metric


def _sentence(found: Found) -> tuple[str, dict[str, float | int]]:
    code, arguments = sentence_of(found)
    if found.kind == Kind.SILENCE:
        code += ".cohort" if found.cohort else ".all"
    return code, {**arguments, "members": found.members}
