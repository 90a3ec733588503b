"""What a customer may know of the catalogue: what a model is and can do, and which plans there are.

1. Of a plan only the newest version on sale is offered; withdrawn ones are nobody's business but
   their subscribers'.
2. A plan is offered for a model if it includes a feature that the model has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from entitlements.billing.price import Price
from hub.errors import NotFoundError
from hub.services import catalogue_store
from hub.services.caller import Caller, Scope
from hub.services.catalogue_document import (
    CatalogueDocument,
    ModelEntry,
    PlanVersionEntry,
    Value,
)


@dataclass(frozen=True, slots=True)
class OfferedFeature:
    """A feature of a plan on the plan's terms; `value` is its setting or quota, `None` for none."""

    name: str
    title: str
    kind: str
    unit: str
    value: Value


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan on sale for a model, and what it costs; an add-on is bought beside another plan."""

    plan: str
    title: str
    version: int
    grace_days: int
    features: tuple[OfferedFeature, ...]
    addon: bool
    price: Price

    @property
    def prices(self) -> dict[str, str]:
        """What one interval of it costs, as decimal text by currency."""
        return {code: f"{amount.decimal:f}" for code, amount in self.price.amounts.items()}

    @property
    def interval_months(self) -> int:
        """Months that are paid for at once."""
        return self.price.interval_months

    @property
    def tax_included(self) -> bool:
        """Whether the prices contain the tax."""
        return self.price.inclusive


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model with what it can do and the plans on sale for it."""

    name: str
    entry: ModelEntry
    offers: tuple[Offer, ...]


def models(session: Session, caller: Caller) -> list[ModelView]:
    """Return all models.

    Args:
        session: any session.
        caller: needs `products:read`.
    """
    caller.require(Scope.PRODUCTS_READ)
    document = catalogue_store.read(session)
    return [_view(document, name) for name in document.models]


def model(session: Session, caller: Caller, name: str) -> ModelView:
    """Return one model.

    Raises:
        NotFoundError: there is none of that name.
    """
    caller.require(Scope.PRODUCTS_READ)
    document = catalogue_store.read(session)
    if name not in document.models:
        raise NotFoundError(f"There is no product model {name!r}.", model=name)
    return _view(document, name)


def _view(document: CatalogueDocument, name: str) -> ModelView:
    entry = document.models[name]
    return ModelView(name, entry, tuple(_offers(document, entry)))


def _offers(document: CatalogueDocument, of: ModelEntry) -> Iterator[Offer]:
    for name, plan in document.plans.items():
        on_sale = [version for version in plan.versions if not version.withdrawn]
        if not on_sale:
            continue
        newest = max(on_sale, key=lambda version: version.version)
        if features := tuple(_features(of, newest)):
            terms = (newest.version, newest.grace_days, features, plan.addon, newest.value)
            yield Offer(name, plan.title, *terms)


def _features(of: ModelEntry, version: PlanVersionEntry) -> Iterator[OfferedFeature]:
    for name, terms in version.features.items():
        feature = of.features.get(name)
        if feature is None or terms.value is False:
            continue
        value = feature.default if terms.value is None else terms.value
        if feature.kind == "on_off":
            value = True
        yield OfferedFeature(name, feature.title, feature.kind, feature.unit, value)
