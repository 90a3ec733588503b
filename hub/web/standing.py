"""What product pages show beside alerts and plans: coverage, settings, the model, who may do what.

1. Everything is derived by the services for the instant at which the page is asked for.
2. Covers are sentences by code; what a setting is called, and in which unit, the catalogue says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from entitlements.covers import Cover
from entitlements.facts import HoldKind, in_force
from entitlements.settings import Layer, Setting
from hub.services import catalogue_offers, coverage, products, settings
from hub.services.caller import Caller
from hub.services.catalogue_document import FeatureEntry, ModelEntry
from hub.services.coverage import CoverageView
from hub.services.product_detail import ProductDetail
from hub.services.quantities import symbol
from hub.services.relations import Act
from hub.web.formats import Formats, setting
from hub.web.languages import N_, Language
from hub.web.sentences import Sentences

LAYERS: Mapping[Layer, str] = {
    Layer.MODEL: N_("Usual for this model"),
    Layer.PLAN: N_("Set by your plan"),
    Layer.OWNER: N_("Set for your household"),
    Layer.DEVICE: N_("Set for this product"),
}
_UNLIMITED = N_("without limit")
_YES, _NO = N_("on"), N_("off")


@dataclass(frozen=True, slots=True)
class SettingView:
    """A setting of the product: what it is, and which layer said so."""

    name: str
    title: str
    value: str
    winner: Layer
    others: Sequence[tuple[Layer, str]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is true of a product now.

    Args:
        model: its entry in the catalogue.
        coverage: what covers it.
        settings: what it is configured to.
        acts: what the visitor may do.
        stolen: whether a theft hold stands on it.
    """

    model: ModelEntry
    coverage: CoverageView
    settings: Sequence[SettingView]
    acts: frozenset[Act]
    stolen: bool
    language: Language
    formats: Formats

    def cover(self, cover: Cover) -> str:
        """Say what a warranty or contract covers, or why not."""
        titles = {one.plan: one.title for one in self.coverage.contracts}
        plan = titles.get(str(cover.args.get("plan")), "")
        return Sentences(self.language, self.formats).cover(cover.code, cover.args, plan)

    def quota(self, name: str, value: object) -> str:
        """Say the value of a feature, with its unit; empty for a switch."""
        feature = self.model.features.get(name)
        if feature is None or feature.kind == "on_off":
            return ""
        return _valued(self.language, self.formats, feature, value)


def standing(
    session: Session,
    caller: Caller,
    found: ProductDetail,
    at: int,
    language: Language,
    formats: Formats,
) -> Standing:
    """Gather what is true of a product now."""
    product_id = found.summary.product_id
    model = catalogue_offers.model(session, caller, found.summary.model).entry
    resolved = settings.of_product(session, caller, product_id, at)
    stolen = any(
        hold.kind is HoldKind.THEFT and in_force(hold.start, hold.end, at)
        for hold in found.facts.holds
    )
    return Standing(
        model=model,
        coverage=coverage.explained(session, caller, product_id, at),
        settings=[_setting(name, one, model, language, formats) for name, one in resolved.items()],
        acts=products.acts(session, caller, product_id),
        stolen=stolen,
        language=language,
        formats=formats,
    )


def _setting(
    name: str, one: Setting, model: ModelEntry, language: Language, formats: Formats
) -> SettingView:
    entry = model.settings.get(name)
    unit = "" if entry is None else entry.unit

    def shown(value: object) -> str:
        if isinstance(value, bool):
            return language.text(_YES if value else _NO)
        if isinstance(value, int | float):
            return formats.quantity(float(value), unit) if symbol(unit) else setting(value)
        return setting(value)

    title = name.replace("_", " ").replace(".", ": ").capitalize()
    return SettingView(
        name=name,
        title=(entry.title if entry is not None else "") or title,
        value=shown(one.value),
        winner=one.winner,
        others=[
            (layer, shown(value)) for layer, value in one.layers.items() if layer != one.winner
        ],
    )


def _valued(language: Language, formats: Formats, feature: FeatureEntry, value: object) -> str:
    if value is None:
        return language.text(_UNLIMITED) if feature.kind == "metered" else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return formats.quantity(float(value), feature.unit)
    return str(value)
