"""Brings warranties, calendars of support and support contracts to what a document says.

1. A published version of a warranty or contract stands: a change is a new version.
2. A calendar may change, as holidays come each year, but never so that a target that is sold would
   not fall due within a year.
3. Deadlines of open cases stay as they were told until the next step of the case.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.business_hours import Calendar, NeverOpenError, due
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.catalogue_tables import Metric, ProductModel
from hub.ports.database.coverage_tables import (
    BusinessCalendar,
    ContractPlan,
    ContractVersion,
    WarrantyVersion,
)
from hub.services.coverage_document import (
    CalendarEntry,
    ContractEntry,
    ContractVersionEntry,
    CounterEntry,
    FirstUseEntry,
    WarrantyEntry,
    calendar_of,
)

_YEAR_NS = 366 * 86_400_000_000_000


def apply_warranties(
    session: Session, model: ProductModel, entries: Iterable[WarrantyEntry], at: int
) -> list[str]:
    """Publish the versions of a model's warranty that are new.

    Args:
        session: a writing session; the model's metrics are in it.
        model: the model.
        entries: the versions of the document.
        at: now, ns.

    Returns:
        Names of what was added.

    Raises:
        ConflictError: a version that stands would change.
    """
    query = select(Metric).where(Metric.model_number == model.number)
    metrics = {metric.name: metric for metric in session.scalars(query)}
    added: list[str] = []
    for entry in entries:
        what = f"warranty {model.name} version {entry.version}"
        terms = _terms(entry, metrics)
        present = session.get(WarrantyVersion, (model.number, entry.version))
        if present is not None:
            _check_stands(what, {name: getattr(present, name) for name in terms}, terms)
            continue
        session.add(
            WarrantyVersion(
                model_number=model.number, version=entry.version, published_at=at, **terms
            )
        )
        added.append(what)
    session.flush()
    return added


def apply_contracts(
    session: Session,
    calendars: Mapping[str, CalendarEntry],
    contracts: Mapping[str, ContractEntry],
    at: int,
) -> tuple[list[str], list[str]]:
    """Bring calendars and support contracts to what a document says.

    Args:
        session: a writing session.
        calendars: of the document, by name.
        contracts: of the document, by name.
        at: now, ns.

    Returns:
        Names of what was added, and of what was changed.

    Raises:
        ConflictError: a version that stands would change.
        InvalidInputError: a contract names a calendar that there is not, or a target would not
            fall due within a year.
    """
    added: list[str] = []
    changed: list[str] = []
    for name, calendar in calendars.items():
        terms = {
            "zone": calendar.zone,
            "week": calendar.week(),
            "holidays": sorted(set(calendar.holidays)),
        }
        present = session.get(BusinessCalendar, name)
        if present is None:
            session.add(BusinessCalendar(name=name, **terms))
            added.append(f"calendar {name}")
        else:
            changed += _updated(present, terms, f"calendar {name}")
    session.flush()
    for name, contract in contracts.items():
        plan = session.get(ContractPlan, name)
        if plan is None:
            session.add(ContractPlan(name=name, title=contract.title or name))
            session.flush()
            added.append(f"contract {name}")
        else:
            changed += _updated(plan, {"title": contract.title or name}, f"contract {name}")
        for version in contract.versions:
            added += _apply_version(session, name, version, at)
    session.flush()
    _check_targets(session, at)
    return added, changed


def load_calendar(session: Session, name: str) -> Calendar:
    """Return a calendar of the catalogue."""
    row = session.get_one(BusinessCalendar, name)
    return calendar_of(row.zone, row.week, row.holidays)


def _terms(entry: WarrantyEntry, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    def index(meter: FirstUseEntry | CounterEntry | None) -> int | None:
        return None if meter is None else metrics[meter.metric].index

    return {
        "months": entry.months,
        "latest_start_months": entry.latest_start_months,
        "transferable": entry.transferable,
        "use_metric": index(entry.first_use),
        "use_above": entry.first_use and entry.first_use.above,
        "hours_metric": index(entry.hours),
        "hours": entry.hours and entry.hours.at_most,
        "cycles_metric": index(entry.cycles),
        "cycles": entry.cycles and entry.cycles.at_most,
    }


def _apply_version(session: Session, name: str, entry: ContractVersionEntry, at: int) -> list[str]:
    what = f"contract {name} version {entry.version}"
    if entry.calendar is not None and session.get(BusinessCalendar, entry.calendar) is None:
        raise InvalidInputError(
            f"The {what} counts by the calendar {entry.calendar!r}, which there is not. Correct the "
            "name or add the calendar.",
            contract=name,
            calendar=entry.calendar,
        )
    terms: dict[str, Any] = {
        "months": entry.months,
        "incidents": entry.incidents,
        "transferable": entry.transferable,
        "calendar": entry.calendar,
        "targets": entry.stored(),
    }
    present = session.scalar(
        select(ContractVersion).where(
            ContractVersion.plan == name, ContractVersion.version == entry.version
        )
    )
    if present is not None:
        _check_stands(what, {term: getattr(present, term) for term in terms}, terms)
        return []
    session.add(ContractVersion(plan=name, version=entry.version, published_at=at, **terms))
    return [what]


def _check_stands(what: str, stands: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = sorted(name for name in wanted if stands[name] != wanted[name])
    if differing:
        raise ConflictError(
            f"The document changes {', '.join(differing)} of the {what}, which is published and "
            "promised to owners. Publish a new version instead.",
            changed=differing,
        )


def _updated(row: object, terms: Mapping[str, Any], what: str) -> list[str]:
    differing = [name for name, value in terms.items() if getattr(row, name) != value]
    for name in differing:
        setattr(row, name, terms[name])
    return [f"{what}: {name}" for name in differing]


def _check_targets(session: Session, at: int) -> None:
    """Refuse what would never fall due, counted from now on by the calendars as they are now."""
    query = select(ContractVersion).where(ContractVersion.calendar.is_not(None))
    for version in session.scalars(query):
        calendar = load_calendar(session, version.calendar or "")
        longest = max((s for kinds in version.targets.values() for s in kinds.values()), default=0)
        try:
            kept = longest == 0 or due(calendar, at, longest) <= at + _YEAR_NS
        except NeverOpenError:
            kept = False
        if not kept:
            raise InvalidInputError(
                f"By the calendar {version.calendar!r} a case under contract {version.plan} version "
                f"{version.version} would not fall due within a year: it is open too seldom for "
                f"{longest // 60} minutes. Give it more hours or fewer holidays.",
                calendar=version.calendar,
                contract=version.plan,
            )
