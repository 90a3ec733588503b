"""The meters of the catalogue as what counts with them knows them.

What must never live here: who is counted, or how much.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.meters import LARGEST, Aggregation, Meter
from hub.ports.database.catalogue_tables import Metric
from hub.ports.database.usage_tables import UsageMeter

_LONGEST: Final = 40


@dataclass(frozen=True, slots=True)
class ModelMeter:
    """A meter of a model.

    Args:
        number: its number.
        title: as people read it.
        unit: UCUM code of what it counts: of the metric that it reads, `1` for numbers of rows, its own if it
            reads none.
        meter: what it counts.
    """

    number: int
    title: str
    unit: str
    meter: Meter


Meters = Mapping[int, tuple[ModelMeter, ...]]
"""Meters by number of the model."""


def read_meters(session: Session) -> Meters:
    """Read all meters, by number of the model; `load_catalogue` keeps them."""
    found: dict[int, list[ModelMeter]] = {}
    query = (
        select(UsageMeter, Metric.unit)
        .outerjoin(
            Metric,
            (Metric.model_number == UsageMeter.model_number)
            & (Metric.index == UsageMeter.metric_index),
        )
        .order_by(UsageMeter.number)
    )
    for row, unit in session.execute(query):
        aggregation = Aggregation[row.aggregation.upper()]
        meter = Meter(row.name, row.metric_index, aggregation, row.decimals)
        plain = aggregation in {Aggregation.COUNT, Aggregation.UNIQUE}
        found.setdefault(row.model_number, []).append(
            ModelMeter(row.number, row.title, "1" if plain else unit or row.unit or "1", meter)
        )
    return {model: tuple(meters) for model, meters in found.items()}


def smallest(value: Decimal, decimals: int) -> int | None:
    """Return a number of units as a whole number of `10**-decimals`; nothing is ever rounded.

    Returns:
        None if it has more decimals, is no number, or is absurdly large.
    """
    if not value.is_finite():
        return None
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent < -_LONGEST or len(digits) + exponent > _LONGEST:
        return None  # before it is written out: an exponent may say billions of digits
    above, below = value.as_integer_ratio()
    whole, rest = divmod(above * 10**decimals, below)
    return None if rest or abs(whole) > LARGEST else whole
