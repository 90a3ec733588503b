"""Warranties, calendars and support contracts of the catalogue, read as a document and removed.

1. What is read is what `coverage_catalogue`, which writes it, takes as no change.
2. Only what nobody was promised is removed; that is settled before.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from hub.ports.database import coverage_tables as t
from hub.ports.database.catalogue_tables import Metric, ProductModel
from hub.services.coverage_document import (
    DAYS,
    CalendarEntry,
    ContractEntry,
    ContractVersionEntry,
    CounterEntry,
    FirstUseEntry,
    TargetEntry,
    WarrantyEntry,
)


def warranties(session: Session) -> dict[int, tuple[WarrantyEntry, ...]]:
    """Return the warranty versions of all models by the model's number."""
    metrics = {
        (metric.model_number, metric.index): metric.name
        for metric in session.scalars(select(Metric))
    }
    found: dict[int, list[WarrantyEntry]] = defaultdict(list)
    for row in session.scalars(select(t.WarrantyVersion).order_by(t.WarrantyVersion.version)):
        found[row.model_number].append(_warranty(row, metrics))
    return {number: tuple(versions) for number, versions in found.items()}


def _warranty(row: t.WarrantyVersion, metrics: Mapping[tuple[int, int], str]) -> WarrantyEntry:
    def meter(index: int | None, limit: float | None) -> CounterEntry | None:
        if index is None or limit is None:
            return None
        return CounterEntry(metric=metrics[row.model_number, index], at_most=limit)

    used = None
    if row.use_metric is not None and row.use_above is not None:
        used = FirstUseEntry(metric=metrics[row.model_number, row.use_metric], above=row.use_above)
    return WarrantyEntry(
        version=row.version,
        months=row.months,
        latest_start_months=row.latest_start_months,
        transferable=row.transferable,
        first_use=used,
        hours=meter(row.hours_metric, row.hours),
        cycles=meter(row.cycles_metric, row.cycles),
    )


def calendars(session: Session) -> dict[str, CalendarEntry]:
    """Return all calendars of support."""
    rows = session.scalars(select(t.BusinessCalendar).order_by(t.BusinessCalendar.name))
    return {
        row.name: CalendarEntry.model_construct(
            zone=row.zone,
            hours={
                day: tuple(f"{_clock(opens)}-{_clock(closes)}" for opens, closes in hours)
                for day, hours in zip(DAYS, row.week, strict=True)
                if hours
            },
            holidays=tuple(row.holidays),
        )
        for row in rows
    }


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def contracts(session: Session) -> dict[str, ContractEntry]:
    """Return all support contracts with their versions."""
    versions: dict[str, list[ContractVersionEntry]] = defaultdict(list)
    for row in session.scalars(select(t.ContractVersion).order_by(t.ContractVersion.version)):
        targets: dict[Any, TargetEntry] = {
            severity: TargetEntry.model_construct(
                **{name.replace("_s", "_min"): seconds // 60 for name, seconds in kinds.items()}
            )
            for severity, kinds in row.targets.items()
        }
        terms = {name: getattr(row, name) for name in ("version", "months", "incidents")}
        versions[row.plan].append(
            ContractVersionEntry.model_construct(
                **terms, transferable=row.transferable, calendar=row.calendar, targets=targets
            )
        )
    rows = session.scalars(select(t.ContractPlan).order_by(t.ContractPlan.name))
    return {
        row.name: ContractEntry.model_construct(title=row.title, versions=tuple(versions[row.name]))
        for row in rows
    }


def bought(session: Session) -> dict[tuple[str, int], int]:
    """Return how many contracts were ever bought, by plan and version."""
    query = (
        select(t.ContractVersion.plan, t.ContractVersion.version, func.count())
        .join(t.SupportContract, t.SupportContract.contract_version_id == t.ContractVersion.id)
        .group_by(t.ContractVersion.plan, t.ContractVersion.version)
    )
    return {(plan, version): count for plan, version, count in session.execute(query)}


def delete_warranties(session: Session, model: str) -> None:
    """Remove all warranty versions of a model that has no products."""
    number = select(ProductModel.number).where(ProductModel.name == model).scalar_subquery()
    session.execute(delete(t.WarrantyVersion).where(t.WarrantyVersion.model_number == number))


def delete_contract_versions(session: Session, plan: str, versions: Iterable[int]) -> None:
    """Remove versions of a contract that nobody bought."""
    session.execute(
        delete(t.ContractVersion).where(
            t.ContractVersion.plan == plan, t.ContractVersion.version.in_(list(versions))
        )
    )


def delete_contract(session: Session, plan: str) -> None:
    """Remove a contract without versions."""
    session.execute(delete(t.ContractPlan).where(t.ContractPlan.name == plan))


def delete_calendar(session: Session, name: str) -> None:
    """Remove a calendar that no contract counts by."""
    session.execute(delete(t.BusinessCalendar).where(t.BusinessCalendar.name == name))
