"""The catalogue as `entitlements` knows it: loaded once, and again when it has changed.

1. It is small, changes seldom, and every decision needs it, so it is kept beside the database's
   connections. What is kept is used only where the version that the session sees is the same.
2. `note_change` raises that version in the transaction that changes the catalogue, so each session
   gets the catalogue of the state it sees, in every process.
3. One object is shared by all; nobody changes it.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import Pool, select
from sqlalchemy.orm import Session

from entitlements import facts as e
from entitlements.budget import Budget
from entitlements.quotas import PLAIN
from entitlements.settings import Scalar
from hub.ports.database import catalogue_tables as c
from hub.ports.database.record_tables import Setting
from hub.services.usage_document import QuotaEntry
from hub.services.usage_meters import Meters, read_meters

_NAME = "catalogue.version"
_VERSION = select(Setting.value).where(Setting.name == _NAME)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Models by number, plan versions by (name, version), meters by model, and what these configure products to."""

    models: Mapping[int, e.Model]
    plans: Mapping[tuple[str, int], e.PlanVersion]
    meters: Meters = field(default_factory=dict)
    model_settings: Mapping[int, Mapping[str, Scalar]] = field(default_factory=dict)
    plan_settings: Mapping[tuple[str, int], Mapping[str, Scalar]] = field(default_factory=dict)


_kept: WeakKeyDictionary[Pool, tuple[str, Catalogue]] = WeakKeyDictionary()
_lock = threading.Lock()


def load_catalogue(session: Session) -> Catalogue:
    """Return all models and plans as the session sees them, in one query if they are known."""
    connection = session.connection()
    pool = connection.engine.pool  # one for all engines made of another's options
    version = connection.scalar(_VERSION) or ""
    with _lock:
        kept = _kept.get(pool)
    if kept is not None and kept[0] == version:
        return kept[1]
    catalogue = _read(session)
    with _lock:
        _kept[pool] = version, catalogue
    return catalogue


def note_change(session: Session) -> None:
    """Raise the version of the catalogue; the last step of a transaction that changes it."""
    version = int(session.scalar(_VERSION) or 0) + 1
    session.merge(Setting(name=_NAME, value=str(version)))
    session.flush()


def _read(session: Session) -> Catalogue:
    features: dict[int, dict[str, e.Feature]] = defaultdict(dict)
    for f in session.scalars(select(c.Feature)):
        features[f.model_number][f.name] = e.Feature(
            f.name, e.FeatureKind(f.kind), f.safe, f.default, f.meter
        )
    metrics: dict[int, list[e.Metric]] = defaultdict(list)
    for m in session.scalars(select(c.Metric).order_by(c.Metric.model_number, c.Metric.index)):
        metrics[m.model_number].append(
            e.Metric(m.index, m.name, m.unit, m.low, m.high, e.MetricKind(m.kind))
        )
    models = {
        row.number: e.Model(
            row.number,
            row.name,
            features[row.number],
            tuple(metrics[row.number]),
            _budget(row.budget),
        )
        for row in session.execute(
            select(c.ProductModel.number, c.ProductModel.name, c.ProductModel.budget)
        )
    }
    terms: dict[int, dict[str, e.FeatureTerms]] = defaultdict(dict)
    for p in session.scalars(select(c.PlanFeature)):
        terms[p.plan_version_id][p.feature] = e.FeatureTerms(
            p.value, PLAIN if p.quota is None else QuotaEntry.model_validate(p.quota).quota_terms()
        )
    versions = session.execute(
        select(
            c.PlanVersion.id,
            c.Plan.name,
            c.Plan.addon,
            c.PlanVersion.version,
            c.PlanVersion.budget,
        ).join(c.Plan, c.Plan.id == c.PlanVersion.plan_id)
    )
    plans = {
        (row.name, row.version): e.PlanVersion(
            row.name, row.version, terms[row.id], _budget(row.budget), row.addon
        )
        for row in versions
    }
    return Catalogue(models, plans, read_meters(session), *_settings(session))


def _settings(
    session: Session,
) -> tuple[dict[int, dict[str, Scalar]], dict[tuple[str, int], Mapping[str, Scalar]]]:
    """Return the defaults of models and the values of plan versions."""
    models = session.execute(select(c.ProductModel.number, c.ProductModel.settings))
    plans = session.execute(
        select(c.Plan.name, c.PlanVersion.version, c.PlanVersion.settings).join(
            c.Plan, c.Plan.id == c.PlanVersion.plan_id
        )
    )
    defaults = {
        row.number: {name: terms["default"] for name, terms in row.settings.items()}
        for row in models
        if row.settings
    }
    return defaults, {(row.name, row.version): row.settings for row in plans if row.settings}


def _budget(stored: Mapping[str, int] | None) -> Budget | None:
    return None if stored is None else Budget(**stored)
