"""How a product is doing, in one word and one reason: what a page says first.

1. Problems are ranked: the worst one is the verdict, the others are listed below it.
2. It is derived for an instant from what the services say; nothing of it is stored.
3. Sentences are made in `sentences`; here are codes and what they are about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from entitlements.codes import Code
from entitlements.decision import Decision
from entitlements.ladder import TELEMETRY
from hub.services.alert_desk import AlertView
from hub.services.product_detail import ProductDetail
from hub.services.products import ProductSummary

SILENT_NS: Final = 15 * 60 * 1_000_000_000
"""A product out of contact for so long is worth a word."""


class Level(IntEnum):
    """How much somebody should care."""

    FINE = 0
    NOTICE = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be, or `fine`.

    Args:
        level: how much it matters.
        code: what it is.
        anchor: part of the product's page that says more.
        alert: the alert it is about.
        decision: the decision it is about.
        since: since when, ns.
    """

    level: Level
    code: str
    anchor: str = "now"
    alert: AlertView | None = None
    decision: Decision | None = None
    since: int | None = None

    @property
    def tone(self) -> str:
        """Name of the level, for styles."""
        return self.level.name.lower()


FINE: Final = Problem(Level.FINE, "fine")

_KINDS = (
    "out_of_limits",
    "level_shift",
    "drift",
    "spike",
    "stuck",
    "counter_reset",
    "variance_change",
    "cohort",
    "silence",
)
"""Of alerts that matter alike, the plainest one is said first."""
_SEVERITY = {"critical": Level.CRITICAL, "warning": Level.WARNING, "notice": Level.NOTICE}
_COVERAGE = {
    Code.HOLD: Level.CRITICAL,
    Code.LAPSED: Level.WARNING,
    Code.ENDED: Level.WARNING,
    Code.GRACE: Level.NOTICE,
    Code.INCOMPLETE: Level.NOTICE,
    Code.PAUSED: Level.NOTICE,
    Code.WITHDRAWN: Level.WARNING,
    Code.SCHEDULED: Level.NOTICE,
    Code.NOT_IN_PLAN: Level.NOTICE,
    Code.QUOTA_USED: Level.NOTICE,
    Code.NO_SUBSCRIPTION: Level.NOTICE,
}


def problems(found: ProductDetail, at: int) -> list[Problem]:
    """List what is wrong with a product at an instant, the worst first; empty if nothing is.

    Args:
        found: all that is known of it.
        at: the instant, ns.
    """
    listed = [*_identity(found), *_alerts(found.open_alerts), *_coverage(found.entitlements)]
    listed += _contact(found.summary, at)
    return sorted(listed, key=lambda problem: -problem.level)


def verdict(listed: Sequence[Problem]) -> Problem:
    """Return the worst of ranked problems, or that all is fine."""
    return listed[0] if listed else FINE


def _identity(found: ProductDetail) -> list[Problem]:
    summary = found.summary
    if summary.revoked_at is not None:
        return [Problem(Level.CRITICAL, "revoked", "connection", since=summary.revoked_at)]
    if summary.owner_id is None:
        return [Problem(Level.NOTICE, "unclaimed", "owner")]
    return []


def _alerts(alerts: Sequence[AlertView]) -> list[Problem]:
    listed = []
    ranks = {kind: rank for rank, kind in enumerate(_KINDS)}
    for alert in sorted(alerts, key=lambda alert: ranks.get(alert.kind, len(ranks))):
        level = _SEVERITY.get(alert.severity, Level.NOTICE)
        if alert.status == "acknowledged":  # somebody looks after it
            level = min(level, Level.WARNING)
        listed.append(Problem(level, "alert", "alerts", alert=alert, since=alert.since))
    return listed


def _coverage(decisions: Sequence[Decision]) -> list[Problem]:
    for decision in decisions:
        level = _COVERAGE.get(decision.code)
        if decision.feature == TELEMETRY and level is not None:
            return [Problem(level, "coverage", "plan", decision=decision)]
    return []


def _contact(summary: ProductSummary, at: int) -> list[Problem]:
    if summary.revoked_at is not None or summary.online:
        return []
    if summary.device_id is None or summary.last_contact is None:
        return [Problem(Level.NOTICE, "never_connected", "connection")]
    if at - summary.last_contact < SILENT_NS:
        return []
    return [Problem(Level.WARNING, "silent", "connection", since=summary.last_contact)]
