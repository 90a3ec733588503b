"""The vendor's catalogue: product models with metrics and features, and plans with versions.

1. A document (TOML) says what is wanted; applying it twice does nothing the second time.
2. What journals and subscriptions refer to never changes: metrics are only appended, their name,
   unit and kind stand; a published plan version stands. What a document leaves out stays.
3. A document is applied as a whole or not at all, and can be tried out first (`dry_run`).
"""

import tomllib
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.catalogue_tables import (
    Feature,
    Metric,
    Plan,
    PlanFeature,
    PlanVersion,
    ProductModel,
)
from hub.services import audit, catalogue_facts, changes, coverage_catalogue
from hub.services.caller import Caller, Scope
from hub.services.catalogue_document import (
    CatalogueDocument,
    FeatureEntry,
    MetricEntry,
    ModelEntry,
    PlanEntry,
    PlanVersionEntry,
)


@dataclass(slots=True)
class Difference:
    """What applying a document changes: names such as `metric heat-pump.temp_c`."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed)


def parse(text: str) -> CatalogueDocument:
    """Read a catalogue document.

    Args:
        text: TOML; see `catalogue_document` for its tables.

    Raises:
        InvalidInputError: not TOML, or not a catalogue; says where and why.
    """
    try:
        return CatalogueDocument.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"The catalogue is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(
            f"The catalogue has {error.error_count()} mistake(s); the first is at {place}: "
            f"{first['msg']}.",
            place=place,
        ) from error


def apply(
    session: Session, caller: Caller, document: CatalogueDocument, at: int, *, dry_run: bool = False
) -> Difference:
    """Bring the catalogue to what a document says.

    Args:
        session: a writing session.
        caller: needs `catalogue:write`.
        document: what is wanted.
        at: now, ns.
        dry_run: only say what would change; the session is rolled back.

    Raises:
        ConflictError: the document changes or removes something that stands.
        InvalidInputError: a plan includes a feature that no model has.
    """
    caller.require(Scope.CATALOGUE_WRITE)
    difference = Difference()
    for name, model in document.models.items():
        _apply_model(session, name, model, at, difference)
    _check_features(session, document)
    for name, plan in document.plans.items():
        _apply_plan(session, name, plan, at, difference)
    added, changed = coverage_catalogue.apply_contracts(
        session, document.calendars, document.contracts, at
    )
    difference.added += added
    difference.changed += changed
    if dry_run:
        session.rollback()
    elif difference:
        details = {"added": difference.added, "changed": difference.changed}
        audit.record(session, at, caller.actor, "catalogue.apply", "catalogue", details)
        changes.note(session, changes.EVERY_PRODUCT)
        catalogue_facts.note_change(session)
    return difference


def _apply_model(
    session: Session, name: str, entry: ModelEntry, at: int, difference: Difference
) -> None:
    model = session.scalar(select(ProductModel).where(ProductModel.name == name))
    if model is None:
        newest = session.scalar(select(func.max(ProductModel.number))) or 0
        model = ProductModel(
            number=newest + 1,
            name=name,
            title=entry.title or name,
            budget=entry.budget.stored(),
            created_at=at,
        )
        session.add(model)
        session.flush()
        difference.added.append(f"model {name}")
    else:
        terms = {"title": entry.title or name, "budget": entry.budget.stored()}
        _update(model, terms, f"model {name}", difference)
    _apply_metrics(session, model, entry.metrics, difference)
    _apply_features(session, model, entry.features, difference)
    session.flush()
    difference.added += coverage_catalogue.apply_warranties(session, model, entry.warranty, at)


def _apply_metrics(
    session: Session, model: ProductModel, entries: tuple[MetricEntry, ...], difference: Difference
) -> None:
    present = session.scalars(
        select(Metric).where(Metric.model_number == model.number).order_by(Metric.index)
    ).all()
    for index, metric in enumerate(present):
        what = f"metric {model.name}.{metric.name}"
        wanted = entries[index] if index < len(entries) else None
        if wanted is None or wanted.name != metric.name:
            raise ConflictError(
                f"The document lacks {what} at position {index + 1}. Stored data refers to metrics "
                "by position, so they can only be appended: put it back in its place and add new "
                "metrics after the last one.",
                metric=metric.name,
                position=index + 1,
            )
        for term, stands, now in (
            ("unit", metric.unit, wanted.unit),
            ("kind", _stored(metric.kind), _stored(wanted.kind)),
        ):
            if stands != now:
                raise ConflictError(
                    f"The document changes the {term} of {what} from {stands!r} to {now!r}, which "
                    "would give stored values another meaning. Append a metric with a new name.",
                    metric=metric.name,
                )
        terms = {
            "title": wanted.title or wanted.name,
            "kind": wanted.kind,
            "low": wanted.low,
            "high": wanted.high,
        }
        _update(metric, terms, what, difference)
    for index in range(len(present), len(entries)):
        entry = entries[index]
        session.add(
            Metric(
                model_number=model.number,
                index=index,
                name=entry.name,
                unit=entry.unit,
                title=entry.title or entry.name,
                kind=entry.kind,
                low=entry.low,
                high=entry.high,
            )
        )
        difference.added.append(f"metric {model.name}.{entry.name}")


def _apply_features(
    session: Session, model: ProductModel, entries: dict[str, FeatureEntry], difference: Difference
) -> None:
    query = select(Feature).where(Feature.model_number == model.number)
    present = {feature.name: feature for feature in session.scalars(query)}
    for name in present.keys() - entries.keys():
        raise ConflictError(
            f"The document lacks feature {model.name}.{name}, which plans and products may refer "
            "to. Put it back; leave it out of new plan versions instead.",
            feature=name,
        )
    for name, entry in entries.items():
        terms: dict[str, Any] = {
            "title": entry.title or name,
            "kind": entry.kind,
            "safe": entry.safe,
            "default": entry.default,
        }
        if name in present:
            _update(present[name], terms, f"feature {model.name}.{name}", difference)
        else:
            session.add(Feature(model_number=model.number, name=name, **terms))
            difference.added.append(f"feature {model.name}.{name}")


def _check_features(session: Session, document: CatalogueDocument) -> None:
    known = set(session.scalars(select(Feature.name).distinct()))
    for plan, entry in document.plans.items():
        for version in entry.versions:
            for feature in version.features.keys() - known:
                raise InvalidInputError(
                    f"Plan {plan} version {version.version} includes feature {feature!r}, which no "
                    "model has. Correct the name or add the feature to a model.",
                    plan=plan,
                    feature=feature,
                )


def _apply_plan(
    session: Session, name: str, entry: PlanEntry, at: int, difference: Difference
) -> None:
    plan = session.scalar(select(Plan).where(Plan.name == name))
    if plan is None:
        plan = Plan(name=name, title=entry.title or name, created_at=at)
        session.add(plan)
        session.flush()
        difference.added.append(f"plan {name}")
    else:
        _update(plan, {"title": entry.title or name}, f"plan {name}", difference)
    for version in entry.versions:
        _apply_version(session, plan, version, at, difference)
    session.flush()


def _apply_version(
    session: Session, plan: Plan, entry: PlanVersionEntry, at: int, difference: Difference
) -> None:
    what = f"plan {plan.name} version {entry.version}"
    present = session.scalar(
        select(PlanVersion).where(
            PlanVersion.plan_id == plan.id, PlanVersion.version == entry.version
        )
    )
    features = {name: terms.value for name, terms in entry.features.items()}
    if present is not None:
        rows = session.scalars(select(PlanFeature).where(PlanFeature.plan_version_id == present.id))
        stands = {row.feature: row.value for row in rows}
        if (
            present.grace_s != entry.grace_s
            or not _equal(stands, features)
            or present.budget != entry.budget.stored()
        ):
            raise ConflictError(
                f"The document changes {what}, which is published and may have subscribers. "
                f"Publish version {entry.version + 1} instead.",
                plan=plan.name,
                version=entry.version,
            )
        return
    row = PlanVersion(
        plan_id=plan.id,
        version=entry.version,
        grace_s=entry.grace_s,
        budget=entry.budget.stored(),
        published_at=at,
    )
    session.add(row)
    session.flush()
    session.add_all(
        PlanFeature(plan_version_id=row.id, feature=name, value=value)
        for name, value in features.items()
    )
    difference.added.append(what)


def _stored(kind: str) -> str:
    """Say what the stored values of a metric mean: those of a gauge and of a state stand as they are."""
    return kind if kind == "counter" else "gauge"


def _update(row: object, terms: dict[str, Any], what: str, difference: Difference) -> None:
    """Set what differs on a row."""
    for name, value in terms.items():
        if not _equal(getattr(row, name), value):
            setattr(row, name, value)
            difference.changed.append(f"{what}: {name}")


def _equal(one: Any, other: Any) -> bool:
    """Compare values of documents; `True` is not `1`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
