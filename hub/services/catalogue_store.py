"""The catalogue in the database, read and written as a document.

1. What is read is the document that, applied again, changes nothing.
2. Rows are read as they are: what an older hub let in is not checked again.
3. Writing brings models and plans to what the document says; whether it may is settled before.
"""

from collections import defaultdict
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from entitlements.billing.meters import NO_METRIC
from hub.ports.database import billing_tables as b
from hub.ports.database import catalogue_tables as c
from hub.ports.database.usage_tables import UsageMeter
from hub.services import catalogue_coverage
from hub.services.catalogue_document import (
    BudgetEntry,
    CatalogueDocument,
    DataSheetEntry,
    FeatureEntry,
    MetricEntry,
    ModelEntry,
    PlanEntry,
    PlanVersionEntry,
    SettingEntry,
    TermsEntry,
)
from hub.services.lifecycle_document import lifecycle_of
from hub.services.price_document import PriceTerms, TaxEntry
from hub.services.retention_document import RetentionEntry
from hub.services.usage_document import MeterEntry

_DAY_S = 86_400


def read(session: Session) -> CatalogueDocument:
    """Return all models and plans, in the order in which they were added."""
    metrics: dict[int, list[MetricEntry]] = defaultdict(list)
    for m in session.scalars(select(c.Metric).order_by(c.Metric.model_number, c.Metric.index)):
        metrics[m.model_number].append(_metric(m))
    features: dict[int, dict[str, FeatureEntry]] = defaultdict(dict)
    for f in session.scalars(select(c.Feature).order_by(c.Feature.name)):
        features[f.model_number][f.name] = _feature(f)
    meters = _meters(session)
    warranties = catalogue_coverage.warranties(session)
    models: dict[str, ModelEntry] = {}
    for row in session.scalars(select(c.ProductModel).order_by(c.ProductModel.number)):
        plain = {name: getattr(row, name) for name in ("title", "support_until", "possession")}
        models[row.name] = ModelEntry.model_construct(
            **plain,
            data_sheet=DataSheetEntry.model_construct(**(row.data_sheet or {})),
            budget=BudgetEntry.model_construct(**(row.budget or {})),
            metrics=tuple(metrics[row.number]),
            meters=meters[row.number],
            features=features[row.number],
            settings={
                name: SettingEntry.model_construct(**_with_choices(terms))
                for name, terms in (row.settings or {}).items()
            },
            warranty=warranties.get(row.number, ()),
        )
    return CatalogueDocument.model_construct(
        models=models,
        plans=_plans(session),
        calendars=catalogue_coverage.calendars(session),
        contracts=catalogue_coverage.contracts(session),
        taxes=taxes(session),
    )


def taxes(session: Session) -> dict[str, TaxEntry]:
    """Return how customers are taxed, by region."""
    return {
        row.region: TaxEntry.model_construct(
            title=row.title, rates=row.rates, reverse_charge=row.reverse_charge
        )
        for row in session.scalars(select(b.TaxRegion).order_by(b.TaxRegion.region))
    }


def _plans(session: Session) -> dict[str, PlanEntry]:
    included: dict[int, dict[str, TermsEntry]] = defaultdict(dict)
    for row in session.scalars(select(c.PlanFeature).order_by(c.PlanFeature.feature)):
        included[row.plan_version_id][row.feature] = TermsEntry.model_validate(
            {"value": row.value, **(row.quota or {})}
        )
    versions: dict[int, list[PlanVersionEntry]] = defaultdict(list)
    for v in session.scalars(select(c.PlanVersion).order_by(c.PlanVersion.version)):
        versions[v.plan_id].append(
            PlanVersionEntry.model_construct(
                version=v.version,
                withdrawn=v.withdrawn,
                grace_days=v.grace_s // _DAY_S,
                features=included[v.id],
                settings=v.settings or {},
                budget=BudgetEntry.model_construct(**(v.budget or {})),
                retention=RetentionEntry.model_construct(**(v.retention or {})),
                **dict(PriceTerms.model_validate(v.price or {})),
                **lifecycle_of(v.lifecycle).model_dump(),
            )
        )
    return {
        plan.name: PlanEntry.model_construct(
            title=plan.title, addon=plan.addon, versions=tuple(versions[plan.id])
        )
        for plan in session.scalars(select(c.Plan).order_by(c.Plan.id))
    }


def _metric(row: c.Metric) -> MetricEntry:
    names = ("name", "unit", "title", "kind", "low", "high")
    return MetricEntry.model_construct(**{name: getattr(row, name) for name in names})


def _feature(row: c.Feature) -> FeatureEntry:
    names = ("title", "kind", "safe", "default", "unit", "low", "high", "choices", "meter")
    terms = {name: getattr(row, name) for name in names}
    return FeatureEntry.model_construct(**_with_choices(terms))


def _meters(session: Session) -> dict[int, dict[str, MeterEntry]]:
    metrics = {(m.model_number, m.index): m.name for m in session.scalars(select(c.Metric))}
    found: dict[int, dict[str, MeterEntry]] = defaultdict(dict)
    for row in session.scalars(select(UsageMeter).order_by(UsageMeter.number)):
        found[row.model_number][row.name] = MeterEntry.model_construct(
            title=row.title,
            metric=metrics.get((row.model_number, row.metric_index), ""),
            unit=row.unit or "",
            aggregation=row.aggregation,  # type: ignore[arg-type]  # the table's constraint
            decimals=row.decimals,
        )
    return found


def _with_choices(terms: dict[str, Any]) -> dict[str, Any]:
    choices = terms.get("choices")
    return {**terms, "choices": None if choices is None else tuple(choices)}


def write_model(session: Session, name: str, entry: ModelEntry, at: int) -> c.ProductModel:
    """Bring one model to what its entry says; metrics and features that it leaves out go.

    Its warranty is written by `coverage_catalogue`.
    """
    model = session.scalar(select(c.ProductModel).where(c.ProductModel.name == name))
    if model is None:
        newest = session.scalar(select(func.max(c.ProductModel.number))) or 0
        model = c.ProductModel(number=newest + 1, name=name, created_at=at)
        session.add(model)
    sheet = entry.data_sheet.model_dump(exclude_defaults=True)
    model.title = entry.title or name
    model.support_until = entry.support_until
    model.possession = entry.possession
    model.data_sheet = sheet or None
    model.settings = {
        setting: terms.model_dump(mode="json", exclude_unset=True)
        for setting, terms in entry.settings.items()
    } or None
    model.budget = entry.budget.stored()
    session.flush()
    # Two metrics may change places: their names are unique at every moment, so all go first.
    session.execute(delete(c.Metric).where(c.Metric.model_number == model.number))
    session.execute(delete(c.Feature).where(c.Feature.model_number == model.number))
    session.add_all(
        c.Metric(
            model_number=model.number,
            index=index,
            **{**metric.model_dump(), "title": metric.title or metric.name},
        )
        for index, metric in enumerate(entry.metrics)
    )
    session.add_all(
        c.Feature(
            model_number=model.number,
            name=feature,
            **{**terms.model_dump(mode="json"), "title": terms.title or feature},
        )
        for feature, terms in entry.features.items()
    )
    _write_meters(session, model.number, entry)
    session.flush()
    return model


def _write_meters(session: Session, model_number: int, entry: ModelEntry) -> None:
    """Bring the meters of a model to what its entry says; numbers stay."""
    index = {metric.name: at for at, metric in enumerate(entry.metrics)}
    query = select(UsageMeter).where(UsageMeter.model_number == model_number)
    present = {row.name: row for row in session.scalars(query)}
    for name in present.keys() - entry.meters.keys():
        session.delete(present[name])
    for name, meter in entry.meters.items():
        row = present.get(name) or UsageMeter(model_number=model_number, name=name)
        row.title = meter.title or name
        row.metric_index = index[meter.metric] if meter.metric else NO_METRIC
        row.unit = None if meter.metric else meter.unit
        row.aggregation = meter.aggregation
        row.decimals = meter.decimals
        session.add(row)


def write_plan(session: Session, name: str, entry: PlanEntry, at: int) -> None:
    """Bring one plan to what its entry says; a version that stands keeps its terms."""
    plan = session.scalar(select(c.Plan).where(c.Plan.name == name))
    if plan is None:
        plan = c.Plan(name=name, created_at=at)
        session.add(plan)
    plan.title = entry.title or name
    plan.addon = entry.addon
    session.flush()
    query = select(c.PlanVersion).where(c.PlanVersion.plan_id == plan.id)
    present = {row.version: row for row in session.scalars(query)}
    wanted = {version.version: version for version in entry.versions}
    for number in present.keys() - wanted.keys():
        _delete_version(session, present[number])
    for number, version in wanted.items():
        if number in present:
            present[number].withdrawn = version.withdrawn
        else:
            _add_version(session, plan, version, at)
    session.flush()


def _add_version(session: Session, plan: c.Plan, entry: PlanVersionEntry, at: int) -> None:
    row = c.PlanVersion(
        plan_id=plan.id,
        version=entry.version,
        withdrawn=entry.withdrawn,
        grace_s=entry.grace_s,
        settings=dict(entry.settings) or None,
        budget=entry.budget.stored(),
        retention=entry.retention.stored(),
        price=entry.stored(),
        lifecycle=entry.lifecycle(),
        published_at=at,
    )
    session.add(row)
    session.flush()
    session.add_all(
        c.PlanFeature(
            plan_version_id=row.id, feature=feature, value=terms.value, quota=terms.stored()
        )
        for feature, terms in entry.features.items()
    )


def _delete_version(session: Session, row: c.PlanVersion) -> None:
    session.execute(delete(c.PlanFeature).where(c.PlanFeature.plan_version_id == row.id))
    session.delete(row)
    session.flush()


def delete_model(session: Session, name: str) -> None:
    """Remove a model with its metrics and features."""
    model = session.scalars(select(c.ProductModel).where(c.ProductModel.name == name)).one()
    for table in (c.Metric, c.Feature, UsageMeter):
        session.execute(delete(table).where(table.model_number == model.number))
    session.delete(model)
    session.flush()


def delete_plan(session: Session, name: str) -> None:
    """Remove a plan with its versions."""
    plan = session.scalars(select(c.Plan).where(c.Plan.name == name)).one()
    for row in session.scalars(select(c.PlanVersion).where(c.PlanVersion.plan_id == plan.id)):
        _delete_version(session, row)
    session.delete(plan)
    session.flush()


def write_tax(session: Session, region: str, entry: TaxEntry) -> None:
    """Bring the taxes of one region to what its entry says."""
    row = session.get(b.TaxRegion, region) or b.TaxRegion(region=region)
    row.title = entry.title
    row.rates = dict(entry.rates)
    row.reverse_charge = entry.reverse_charge
    session.add(row)
    session.flush()


def delete_tax(session: Session, region: str) -> None:
    """Remove the taxes of one region: its customers are not taxed any more."""
    session.execute(delete(b.TaxRegion).where(b.TaxRegion.region == region))
