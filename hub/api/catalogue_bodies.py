"""What goes in and out about the catalogue: differences, models and plans on sale."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from pydantic import Field

from hub.api.bodies import Answer, Scalar, examples
from hub.services.catalogue import Difference
from hub.services.catalogue_difference import Act, Edit
from hub.services.catalogue_lines import line_of
from hub.services.catalogue_offers import ModelView


class TermChange(Answer):
    """One term of a thing that changes."""

    term: str
    before: Any = Field(description="Null: not set.")
    after: Any

    model_config = examples({"term": "high", "before": 95.0, "after": 90.0})


class CatalogueEdit(Answer):
    """One change of the catalogue."""

    act: Act
    thing: str = Field(description="Such as `metric heat-pump.temp_c`.")
    place: str = Field(description="Where the document says so.")
    line: int | None = Field(description="Line of a document in TOML; null for JSON.")
    terms: list[TermChange]
    products: int = Field(description="Products that are concerned.")
    subscribers: int = Field(description="Subscriptions that have not ended and are concerned.")
    refusal: str | None = Field(description="Why it cannot be done, and what to do instead.")
    sentence: str

    model_config = examples(
        {
            "act": "changed",
            "thing": "metric heat-pump.temp_c",
            "place": "models.heat-pump.metrics.0",
            "line": 3,
            "terms": [{"term": "high", "before": 95.0, "after": 90.0}],
            "products": 1200,
            "subscribers": 310,
            "refusal": None,
            "sentence": "metric heat-pump.temp_c: high from 95.0 to 90.0 (1,200 products, "
            "310 subscribers)",
        }
    )


class CatalogueChange(Answer):
    """What applying the document changed, or would change."""

    dry_run: bool
    applied: bool = Field(description="Whether anything was changed.")
    added: list[CatalogueEdit]
    changed: list[CatalogueEdit]
    removed: list[CatalogueEdit]
    refused: list[CatalogueEdit] = Field(
        description="What would strand somebody; with one of these nothing is applied."
    )


class PlanFeature(Answer):
    """A feature as a plan includes it."""

    name: str
    title: str
    kind: str = Field(description="`on_off`, `value` or `metered`.")
    unit: str
    value: Scalar = Field(description="Its setting or quota; null: without limit.")

    model_config = examples(
        {"name": "boost_hours", "title": "Boost", "kind": "metered", "unit": "h", "value": 20}
    )


class PlanOnSale(Answer):
    """A plan that a product of the model can be subscribed to."""

    plan: str
    title: str
    version: int
    grace_days: int
    features: list[PlanFeature]
    addon: bool = Field(description="Bought beside another plan, so many of it.")
    prices: dict[str, str] = Field(
        description="What one interval of it (of an add-on: of one) costs, by currency; empty: nothing."
    )
    interval_months: int = Field(description="Months that are paid for at once.")
    tax_included: bool = Field(description="Whether the prices contain the tax.")


class ModelFeature(Answer):
    """Something a model can do."""

    name: str
    title: str
    kind: str
    safe: bool = Field(description="A safe function is never taken away.")
    included: bool = Field(description="Whether it comes with the product, without any plan.")
    default: Scalar
    unit: str
    low: int | None
    high: int | None
    choices: list[int | str] | None

    model_config = examples(
        {
            "name": "frost_protection",
            "title": "Frost protection",
            "kind": "on_off",
            "safe": True,
            "included": True,
            "default": True,
            "unit": "",
            "low": None,
            "high": None,
            "choices": None,
        }
    )


class ProductModel(Answer):
    """A model of product."""

    name: str
    title: str
    support_until: date | None = Field(description="Last day of security updates and help.")
    data_sheet: str | None = Field(description="Address of its data sheet.")
    facts: dict[str, str] = Field(description="Short facts of its data sheet.")
    features: list[ModelFeature]
    plans: list[PlanOnSale]


class ProductModels(Answer):
    """All models, in the order in which they were added."""

    items: list[ProductModel]


def change(difference: Difference, text: str, *, dry_run: bool) -> CatalogueChange:
    """Return a difference as it goes out, with lines if the document came as text in TOML."""
    return CatalogueChange(
        dry_run=dry_run,
        applied=bool(difference) and not dry_run,
        added=_edits(difference.of(Act.ADDED), text),
        changed=_edits(difference.of(Act.CHANGED), text),
        removed=_edits(difference.of(Act.REMOVED), text),
        refused=_edits(difference.refused, text),
    )


def _edits(edits: Iterable[Edit], text: str) -> list[CatalogueEdit]:
    return [
        CatalogueEdit(
            act=edit.act,
            thing=str(edit.thing),
            place=".".join(map(str, edit.path)),
            line=line_of(text, edit.path) if text else None,
            terms=[
                TermChange(term=term, before=_json(before), after=_json(after))
                for term, (before, after) in edit.terms.items()
            ],
            products=edit.products,
            subscribers=edit.subscribers,
            refusal=edit.refusal or None,
            sentence=sentence(edit),
        )
        for edit in edits
    ]


def sentence(edit: Edit) -> str:
    """Return an edit in words."""
    said = "; ".join(
        f"{term} {_shown(after)}"
        if before is None and edit.act is Act.ADDED
        else f"{term} from {_shown(before)} to {_shown(after)}"
        for term, (before, after) in edit.terms.items()
    )
    concerned = [
        f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
        for count, what in ((edit.products, "product"), (edit.subscribers, "subscriber"))
        if count
    ]
    text = f"{edit.thing}: {said}" if said else str(edit.thing)
    return f"{text} ({', '.join(concerned)})" if concerned else text


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value is None else str(value)


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def model(view: ModelView) -> ProductModel:
    """Return a model as it goes out."""
    entry = view.entry
    return ProductModel(
        name=view.name,
        title=entry.title,
        support_until=entry.support_until,
        data_sheet=entry.data_sheet.link or None,
        facts=dict(entry.data_sheet.facts),
        features=[
            ModelFeature(
                name=name,
                title=feature.title,
                kind=feature.kind,
                safe=feature.safe,
                included=feature.safe or feature.default not in (None, False),
                default=feature.default,
                unit=feature.unit,
                low=feature.low,
                high=feature.high,
                choices=None if feature.choices is None else list(feature.choices),
            )
            for name, feature in entry.features.items()
        ],
        plans=[PlanOnSale.model_validate(offer) for offer in view.offers],
    )
