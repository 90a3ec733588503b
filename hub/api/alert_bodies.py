"""Alerts and findings as they go out."""

from typing import Any

from pydantic import Field

from hub.api.bodies import Answer, examples
from hub.api.coverage_bodies import AlertCover, shown_mark
from hub.api.instants import Instant
from hub.services.alert_desk import AlertView, FindingView, Status


class Alert(Answer):
    """Something wrong with one metric of one product that a person should know of."""

    id: str
    product_id: str
    device_id: str
    serial: str
    metric: str = Field(description="Name of the metric; empty where it is about the product.")
    metric_title: str
    unit: str = Field(description="UCUM code of the values.")
    kind: str
    severity: str = Field(description="`info`, `warning` or `critical`.")
    status: Status
    code: str
    arguments: dict[str, Any]
    sentence: str = Field(description="The code and its arguments in English.")
    count: int = Field(description="Findings it stands for.")
    reopened: int = Field(description="How often it came back after it was resolved.")
    since: Instant
    opened_at: Instant
    last_at: Instant
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    resolved_at: Instant | None
    resolved_by: str | None
    resolution: str | None = Field(
        description="Why it was resolved if nobody did: `over`, `quiet` or `incident`."
    )
    muted_until: Instant | None = Field(description="Until then it tells nobody.")
    incident_id: str | None = Field(description="What many products have in common with it.")
    cover: AlertCover | None = Field(
        description="What covers the fault, as was known when the alert was opened."
    )

    model_config = examples(
        {
            "id": "0b3f5a7c9d1e2f400b3f5a7c9d1e2f40",
            "product_id": "b7x2m9q4k1v8c3z6",
            "device_id": "kx3q8m0d5c7r2v1z",
            "serial": "HP-2026-000017",
            "metric": "temp_c",
            "metric_title": "Flow temperature",
            "unit": "Cel",
            "kind": "level_shift",
            "severity": "warning",
            "status": "open",
            "code": "finding.level_shift.above",
            "arguments": {"observed": 61.2, "expected_high": 55.0},
            "sentence": "Flow temperature has settled at 61.2 Cel, above the usual 30 to 55 Cel.",
            "count": 3,
            "reopened": 0,
            "since": "2026-01-31T07:10:00Z",
            "opened_at": "2026-01-31T08:00:00.250Z",
            "last_at": "2026-01-31T08:20:00Z",
            "acknowledged_at": None,
            "acknowledged_by": None,
            "resolved_at": None,
            "resolved_by": None,
            "resolution": None,
            "muted_until": None,
            "incident_id": None,
            "cover": {
                "covered": True,
                "kind": "warranty",
                "contract_id": None,
                "code": "warranty",
                "arguments": {"until_at": "2028-03-02T00:00:00Z"},
                "sentence": "Under warranty until 2028-03-02 00:00 UTC.",
            },
        }
    )


class Finding(Answer):
    """One remark of the detector on one series."""

    id: str
    product_id: str
    device_id: str
    alert_id: str | None
    incident_id: str | None
    metric: str
    unit: str
    kind: str
    severity: str
    at: Instant
    since: Instant
    surprise: float = Field(description="In nats: how unlikely it was.")
    observed: float
    expected_low: float | None
    expected_high: float | None

    model_config = examples(
        {
            "id": "0b3f5a7c9d1e2f400b3f5a7c9d1e2f40",
            "product_id": "b7x2m9q4k1v8c3z6",
            "device_id": "kx3q8m0d5c7r2v1z",
            "alert_id": "0b3f5a7c9d1e2f400b3f5a7c9d1e2f40",
            "incident_id": None,
            "metric": "temp_c",
            "unit": "Cel",
            "kind": "level_shift",
            "severity": "warning",
            "at": "2026-01-31T08:00:00Z",
            "since": "2026-01-31T07:10:00Z",
            "surprise": 14.2,
            "observed": 61.2,
            "expected_low": 30.0,
            "expected_high": 55.0,
        }
    )


def shown_alert(alert: AlertView) -> Alert:
    """Return an alert as it goes out."""
    fields = {name: getattr(alert, name) for name in alert.__slots__}
    return Alert.model_validate({**fields, "cover": shown_mark(alert.cover)})


def shown_finding(finding: FindingView) -> Finding:
    """Return a finding as it goes out."""
    return Finding(
        id=finding.id.hex(),
        product_id=finding.product_id,
        device_id=finding.device_id,
        alert_id=finding.alert_id,
        incident_id=finding.incident_id,
        metric=finding.metric,
        unit=finding.unit,
        kind=finding.kind,
        severity=finding.severity,
        at=finding.at,
        since=finding.since,
        surprise=finding.surprise,
        observed=finding.observed,
        expected_low=finding.expected_low,
        expected_high=finding.expected_high,
    )
