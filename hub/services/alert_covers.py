"""Marks alerts with what covers the fault: warranty, contract, or nothing.

1. What counts is the instant at which the fault began. A mark is made when the alert opens and is
   kept: what began inside stays covered, whatever ends or is read later.
2. An alert that goes on for a new owner is a new one, judged by what passed on to them.
3. What is for support alone is no fault of the product and is not marked.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements import coverage
from entitlements.coverage_facts import CoverageFacts
from entitlements.coverage_sentences import sentence
from entitlements.covers import Cover
from hub.ports.database.alert_tables import Alert
from hub.ports.database.coverage_tables import AlertCover
from hub.services import coverage_facts, products
from hub.services.alert_kinds import FIRST_OF_HUB


@dataclass(frozen=True, slots=True)
class CoverView:
    """What covers a fault; `kind` is None if nothing does, and the code says why not."""

    covered: bool
    kind: str | None
    contract_id: str | None
    code: str
    arguments: dict[str, Any]
    sentence: str


def mark(session: Session, alerts: Collection[Alert], at: int) -> None:
    """Mark alerts that were just opened.

    Args:
        session: a writing session, into which the alerts were flushed.
        alerts: those of support alone, and those that were opened before, are passed over.
        at: now, ns.
    """
    faults = {alert.id: alert for alert in alerts if _is_new(alert, at)}
    if not faults:
        return
    query = select(AlertCover.alert_id).where(AlertCover.alert_id.in_(faults))
    for marked in session.scalars(query).all():
        del faults[marked]
    product_of = products.by_slot(session, sorted({alert.slot for alert in faults.values()}))
    facts = coverage_facts.load_some(session, sorted(set(product_of.values())))
    for alert in faults.values():
        cover = of_fault(facts[product_of[alert.slot]], alert.since, at)
        session.add(
            AlertCover(
                alert_id=alert.id,
                decided_at=at,
                kind=str(cover.kind) if cover.covered else None,
                contract_id=cover.id or None if cover.covered else None,
                code=str(cover.code),
                arguments=dict(cover.args),
            )
        )
    session.flush()


def _is_new(alert: Alert, at: int) -> bool:
    return alert.opened_at == at and alert.kind < FIRST_OF_HUB


def of_fault(facts: CoverageFacts, since: int, at: int) -> Cover:
    """Return what covers a fault, or what says why nothing does.

    Args:
        facts: of the product.
        since: when it began as the device said; its clock may be wrong.
        at: now, ns.
    """
    return coverage.deciding(coverage.covers_at(facts, max(min(since, at), facts.made_at)))


def shown(row: AlertCover | None) -> CoverView | None:
    """Return a mark as people see it, `None` if there is none."""
    if row is None:
        return None
    return CoverView(
        covered=row.kind is not None,
        kind=row.kind,
        contract_id=row.contract_id,
        code=row.code,
        arguments=row.arguments,
        sentence=sentence(row.code, row.arguments),
    )


def mark_of(session: Session, alert_id: str) -> AlertCover | None:
    """Return the mark of an alert."""
    return session.scalars(select(AlertCover).where(AlertCover.alert_id == alert_id)).first()
