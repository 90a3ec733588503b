"""What the products with open alerts have in common, more than accident would have it.

1. Alerts of one kind on one metric are a group; products are counted, each once.
2. Models are compared with one another; firmware, hardware lot, region and age within one model,
   as a model's alerts would otherwise blame its firmware.
3. Every property that a product of the group has is tested, with Fisher's exact test; of all tests
   together at most one named cause in twenty is false (Benjamini and Hochberg).
4. At a million products counting takes a second, so `CauseBoard` keeps what it found for a minute.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Engine, Row, and_, case, func, literal, select
from sqlalchemy.orm import Session

from analytics.association import Table, adjusted, chance
from hub.ports.database.alert_tables import Alert
from hub.ports.database.catalogue_tables import Metric, ProductModel
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Device, Product
from hub.services.alert_kinds import kind_word

FALSE_SHARE = 0.05
LEAST_PRODUCTS = 3
"""Products with the fault and the property; fewer are no pattern."""
KEPT_NS = 60_000_000_000
_DAY = 86_400_000_000_000
_AGES = ((7, "under_1_week"), (30, "under_1_month"), (182, "under_6_months"), (365, "under_1_year"))
_OLDEST = "over_1_year"
WITHIN_MODEL = ("firmware", "hardware_lot", "region", "age")

Group = tuple[int, str, int]
"""Kind, name of the metric, and number of the model; 0 where all models are compared."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A property that the products with a fault have in common.

    Attributes:
        kind: of the alerts. metric: its name, empty where alerts are about the product.
        model: within which model it was looked for; `None` if the model is the property.
        property: `model`, `firmware`, `hardware_lot`, `region` or `age`.
        value: of the property.
        table: the counts.
        chance: of so many by accident.
        false_share: of false ones among causes at least as sure.
    """

    kind: str
    metric: str
    model: str | None
    property: str
    value: str
    table: Table
    chance: float
    false_share: float


def find(session: Session, at: int) -> list[Cause]:
    """Find what products with open alerts have in common.

    Args:
        session: any session.
        at: now, ns; for the age of products.

    Returns:
        The causes, the surest first.
    """
    faults = _faults(session, at)
    if not faults:
        return []
    named = session.execute(select(ProductModel.number, ProductModel.name))
    models: dict[int, str] = {row.number: row.name for row in named}
    measured: dict[str, set[int]] = {"": set(models)}
    for number, name in session.execute(select(Metric.model_number, Metric.name)):
        measured.setdefault(name, set()).add(number)
    having = _counted(session, at)
    totals = {model: counts.total() for (model, name), counts in having.items() if name == "age"}
    tests: list[tuple[Group, str, str, Table]] = []
    for group, counts in faults.items():
        _, metric, model = group
        every = totals.get(model, 0) if model else sum(totals.get(m, 0) for m in measured[metric])
        for name, values in counts.items():
            fault = sum(values.values())
            for value, both in values.items():
                known = totals.get(int(value), 0) if not model else having[model, name][value]
                if value and both >= 1:
                    tests.append((group, name, value, Table(both, fault, known, every)))
    if not tests:
        return []
    chances = np.array([chance(table) for *_, table in tests])
    causes = [
        Cause(
            kind=kind_word(kind),
            metric=metric,
            model=models[model] if model else None,
            property=name,
            value=value if model else models[int(value)],
            table=table,
            chance=float(p),
            false_share=float(share),
        )
        for ((kind, metric, model), name, value, table), p, share in zip(
            tests, chances, adjusted(chances), strict=True
        )
        if share <= FALSE_SHARE and table.both >= LEAST_PRODUCTS
    ]
    return sorted(causes, key=lambda cause: (cause.chance, -cause.table.both, cause.property))


@dataclass(slots=True)
class CauseBoard:
    """Remembers for a minute what was found; any thread may ask."""

    _found: list[Cause] = field(default_factory=list)
    _at: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def causes(self, engine: Engine, at: int) -> list[Cause]:
        """Return the causes, found at most `KEPT_NS` ago."""
        with self._lock:
            if self._at is None or not 0 <= at - self._at < KEPT_NS:
                with read_session(engine) as session:
                    self._found = find(session, at)
                self._at = at
            return self._found


def _age(at: int) -> ColumnElement[str]:
    bands = [(Product.made_at > at - days * _DAY, literal(name)) for days, name in _AGES]
    return case(*bands, else_=literal(_OLDEST))


def _properties(at: int) -> Mapping[str, ColumnElement[Any]]:
    return {
        "firmware": func.coalesce(Device.firmware, ""),
        "hardware_lot": func.coalesce(Product.hardware_lot, ""),
        "region": func.coalesce(Product.region, ""),
        "age": _age(at),
    }


def _faults(session: Session, at: int) -> dict[Group, dict[str, Counter[str]]]:
    """Count the products with open alerts, by group, property and value."""
    query = (
        select(
            Alert.kind,
            func.coalesce(Metric.name, "").label("metric"),
            Product.model_number,
            *(column.label(name) for name, column in _properties(at).items()),
        )
        .join(Device, Device.slot == Alert.slot)
        .join(Product, Product.id == Device.product_id)
        .outerjoin(
            Metric,
            and_(Metric.model_number == Product.model_number, Metric.index == Alert.metric),
        )
        .where(Alert.resolved_at.is_(None), Device.revoked_at.is_(None))
    )
    faults: dict[Group, dict[str, Counter[str]]] = {}
    for row in session.execute(query):
        _count_fault(faults, row)
    return faults


def _count_fault(faults: dict[Group, dict[str, Counter[str]]], row: Row[Any]) -> None:
    across = faults.setdefault((row.kind, row.metric, 0), {"model": Counter()})
    across["model"][str(row.model_number)] += 1
    within = faults.setdefault(
        (row.kind, row.metric, row.model_number), {name: Counter() for name in WITHIN_MODEL}
    )
    for name in WITHIN_MODEL:
        within[name][getattr(row, name)] += 1


def _counted(session: Session, at: int) -> dict[tuple[int, str], Counter[str]]:
    """Count all products by model, property and value."""
    counts: dict[tuple[int, str], Counter[str]] = {}
    for name, column in _properties(at).items():
        query = (
            select(Product.model_number, column, func.count())
            .select_from(Device)
            .join(Product, Product.id == Device.product_id)
            .where(Device.revoked_at.is_(None))
            .group_by(Product.model_number, column)
        )
        for model, value, count in session.execute(query):
            counts.setdefault((model, name), Counter())[value] += count
    return counts
