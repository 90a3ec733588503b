"""Who uses what of the catalogue: products of models, and subscriptions to plan versions.

1. Counted once for all edits of a document, when first asked for.
2. Ended subscriptions count as uses: what was decided in their time is explained from the catalogue.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session

from hub.ports.database import catalogue_tables as c
from hub.ports.database.ownership_tables import Grant, Subscription
from hub.ports.database.product_tables import Product
from hub.services import catalogue_coverage
from hub.services.catalogue_document import CatalogueDocument


class Subscribers(NamedTuple):
    """Subscriptions: how many there ever were, and how many have not ended."""

    ever: int = 0
    now: int = 0

    def __add__(self, other: "Subscribers") -> "Subscribers":  # type: ignore[override]  # a sum, not a concatenation
        return Subscribers(self.ever + other.ever, self.now + other.now)


class Uses:
    """What the catalogue is used for at an instant.

    Args:
        session: any session.
        stands: the present catalogue.
        at: now, ns.
    """

    def __init__(self, session: Session, stands: CatalogueDocument, at: int) -> None:
        self._session = session
        self._stands = stands
        self._at = at

    def products(self, model: str) -> int:
        """Return how many products of a model there are."""
        return self._products.get(model, 0)

    def of_model(self, model: str) -> Subscribers:
        """Return the subscriptions of products of a model."""
        found = (n for (name, _, _), n in self._subscriptions.items() if name == model)
        return sum(found, Subscribers())

    def of_version(self, plan: str, version: int) -> Subscribers:
        """Return the subscriptions to a plan version."""
        found = (
            n
            for (_, name, number), n in self._subscriptions.items()
            if (name, number) == (plan, version)
        )
        return sum(found, Subscribers())

    def of_plan(self, plan: str) -> Subscribers:
        """Return the subscriptions to all versions of a plan."""
        found = (n for (_, name, _), n in self._subscriptions.items() if name == plan)
        return sum(found, Subscribers())

    def promised(self, model: str, feature: str) -> Mapping[tuple[str, int], Subscribers]:
        """Return the plan versions that give products of a model a feature, with subscriptions."""
        return {
            (plan, version): n
            for (name, plan, version), n in self._subscriptions.items()
            if name == model and feature in self._included.get((plan, version), ())
        }

    def granted(self, model: str, feature: str) -> int:
        """Return how many grants of a feature products of a model ever had."""
        return self._grants.get((model, feature), 0)

    def bought(self, contract: str, version: int) -> int:
        """Return how many support contracts of a version were ever bought."""
        return self._bought.get((contract, version), 0)

    @cached_property
    def _bought(self) -> dict[tuple[str, int], int]:
        return catalogue_coverage.bought(self._session)

    @cached_property
    def _included(self) -> dict[tuple[str, int], frozenset[str]]:
        return {
            (name, version.version): frozenset(version.features)
            for name, plan in self._stands.plans.items()
            for version in plan.versions
        }

    @cached_property
    def _products(self) -> dict[str, int]:
        counted = (
            select(Product.model_number, func.count().label("n"))
            .group_by(Product.model_number)
            .subquery()
        )
        query = select(c.ProductModel.name, counted.c.n).join(
            counted, counted.c.model_number == c.ProductModel.number
        )
        return {row.name: row.n for row in self._session.execute(query)}

    @cached_property
    def _subscriptions(self) -> dict[tuple[str, str, int], Subscribers]:
        lasts = or_(Subscription.ends_at.is_(None), Subscription.ends_at > self._at)
        query = (
            select(
                c.ProductModel.name,
                c.Plan.name,
                c.PlanVersion.version,
                func.count(),
                func.sum(case((lasts, 1), else_=0)),
            )
            .select_from(Subscription)
            .join(Product, Product.id == Subscription.product_id)
            .join(c.ProductModel, c.ProductModel.number == Product.model_number)
            .join(c.PlanVersion, c.PlanVersion.id == Subscription.plan_version_id)
            .join(c.Plan, c.Plan.id == c.PlanVersion.plan_id)
            .group_by(c.ProductModel.name, c.Plan.name, c.PlanVersion.version)
        )
        return {
            (model, plan, version): Subscribers(ever, int(now))
            for model, plan, version, ever, now in self._session.execute(query)
        }

    @cached_property
    def _grants(self) -> dict[tuple[str, str], int]:
        query = (
            select(c.ProductModel.name, Grant.feature, func.count())
            .select_from(Grant)
            .join(Product, Product.id == Grant.product_id)
            .join(c.ProductModel, c.ProductModel.number == Product.model_number)
            .group_by(c.ProductModel.name, Grant.feature)
        )
        return {(model, feature): n for model, feature, n in self._session.execute(query)}
