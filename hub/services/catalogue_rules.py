"""Which edits of the catalogue are refused: those that would strand somebody.

1. What stored data refers to by position or meaning stands: metrics of a model with products.
2. What somebody subscribed to or was granted, or bought with the product, is not taken away.
3. A safe function stays one, and a promised end of support only moves later.
4. Each refusal says whom it would strand and what to do instead.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from hub.services import catalogue_units
from hub.services.catalogue_difference import Act, Edit
from hub.services.catalogue_document import CatalogueDocument, FeatureEntry
from hub.services.catalogue_uses import Subscribers, Uses


def judged(edit: Edit, stands: CatalogueDocument, uses: Uses) -> Edit:
    """Return an edit with whom it concerns and, if it is refused, why.

    Args:
        edit: as `catalogue_difference` found it.
        stands: the present catalogue.
        uses: of the present catalogue.
    """
    thing = edit.thing
    match thing.kind:
        case "plan":
            return edit.judged(0, uses.of_plan(thing.of).now, _of_plan(edit, uses))
        case "plan version":
            subscribers = uses.of_version(thing.of, int(thing.name))
            return edit.judged(0, subscribers.now, _of_version(edit, subscribers))
        case "contract version":
            return edit.judged(*_of_contract(edit, uses.bought(thing.of, int(thing.name))))
        case "contract" | "calendar" | "tax":
            return edit.judged(0, 0, "")
        case _:
            return _of_product_model(edit, stands, uses)


def _of_product_model(edit: Edit, stands: CatalogueDocument, uses: Uses) -> Edit:
    thing = edit.thing
    products = uses.products(thing.of)
    if thing.kind == "feature":
        promised = uses.promised(thing.of, thing.name)
        subscribers = sum(promised.values(), Subscribers())
        refusal = _of_feature(edit, stands, uses, promised) if products else ""
        return edit.judged(products, subscribers.now, refusal)
    refusal = ""
    if thing.kind == "warranty version":
        refusal = _of_warranty(edit, products)
    elif thing.kind == "model" and products:
        refusal = _of_model(edit, products)
    elif thing.kind == "metric" and products:
        refusal = _of_metric(edit, products)
    elif thing.kind == "meter" and products:
        refusal = _of_meter(edit, products)
    return edit.judged(products, uses.of_model(thing.of).now, refusal)


def _of_model(edit: Edit, products: int) -> str:
    if edit.act is Act.REMOVED:
        return (
            f"{_products(products)} of this model. Leave it in the catalogue, and register no "
            "more products of it."
        )
    before, after = edit.terms.get("support_until", (None, None))
    if isinstance(before, date) and (after is None or after < before):
        return (
            f"{_products(products)} that were promised support until {before}. Leave that date, "
            "or name a later one; give what is made from now on another model."
        )
    return ""


def _of_metric(edit: Edit, products: int) -> str:
    if edit.act is Act.REMOVED or (edit.act is Act.CHANGED and "position" in edit.terms):
        before = edit.terms.get("position", (None, None))[0]
        place = f" as number {before}" if before else ""
        return (
            f"{_products(products)} whose stored data refers to metrics by position, so metrics "
            f"can only be appended. Put it back in its place{place} and add new metrics after the "
            "last one."
        )
    for term in ("unit", "kind"):
        if edit.act is Act.CHANGED and term in edit.terms:
            before, after = edit.terms[term]
            if term == "kind" and "counter" not in (before, after):
                continue  # the values of a gauge and of a state stand as they are
            if term == "unit" and catalogue_units.refusal(before) is not None:
                continue  # an older hub let it in; it said nothing that could change
            return (
                f"{_products(products)} whose stored values would mean something else with "
                f"another {term} ({before!r} to {after!r}). Put it back, and append a metric with "
                "a new name."
            )
    return ""


def _of_meter(edit: Edit, products: int) -> str:
    if edit.act is Act.REMOVED or (edit.act is Act.CHANGED and edit.terms.keys() - {"title"}):
        return (
            f"{_products(products)} whose usage it counts, and what was counted must not mean "
            "something else. Put it back, and add a meter with a new name."
        )
    return ""


def _of_feature(
    edit: Edit,
    stands: CatalogueDocument,
    uses: Uses,
    promised: Mapping[tuple[str, int], Subscribers],
) -> str:
    if edit.act is Act.ADDED:
        return ""
    thing = edit.thing
    old = stands.models[thing.of].features[thing.name]
    products = _products(uses.products(thing.of))
    removed = edit.act is Act.REMOVED
    if old.safe and (removed or "safe" in edit.terms):
        return (
            f"{products} with this safe function, which nothing may take away. Put it back as it "
            "was; a new model may do without."
        )
    after = None if removed else edit.terms.get("default", (old.default, old.default))[1]
    if _comes_with(old.default) and not _comes_with(after) and not old.safe:
        return f"{products} that were sold with it included. Put it back; a new model may differ."
    users = "; ".join(_users(uses, thing.of, thing.name, promised, old))
    return _of_used_feature(edit, users) if users else ""


def _of_used_feature(edit: Edit, users: str) -> str:
    if edit.act is Act.REMOVED:
        return f"{users}. Put it back, and leave it out of new plan versions instead."
    for term in ("kind", "unit", "meter"):
        if term in edit.terms:
            return (
                f"{users}. With another {term} that would mean something else. Put it back, and "
                "add a feature with a new name."
            )
    return ""


def _users(
    uses: Uses,
    model: str,
    feature: str,
    promised: Mapping[tuple[str, int], Subscribers],
    entry: FeatureEntry,
) -> Iterator[str]:
    for (plan, version), n in sorted(promised.items()):
        yield f"{_subscriptions(n)} plan {plan} version {version}, which includes it"
    if granted := uses.granted(model, feature):
        yield f"{_counted(granted, 'grant')} of it to single products"
    if entry.safe or _comes_with(entry.default):
        yield f"{_products(uses.products(model))} that were sold with it"


def _of_plan(edit: Edit, uses: Uses) -> str:
    if edit.act is Act.CHANGED and "addon" in edit.terms and uses.of_plan(edit.thing.of).ever:
        return (
            f"{_subscriptions(uses.of_plan(edit.thing.of))} it, and what is bought beside a plan is "
            "something else than a plan. Put it back, and add a plan with a new name."
        )
    return ""


def _of_version(edit: Edit, subscribers: Subscribers) -> str:
    if edit.act is Act.REMOVED and subscribers.ever:
        return (
            f"{_subscriptions(subscribers)} it. Put it back with `withdrawn = true`: nobody new "
            "gets it, and who has it keeps it."
        )
    if edit.act is Act.CHANGED and edit.terms.keys() - {"withdrawn"}:
        return (
            "A published plan version stands as it is, for those who subscribe to it. Put it back, "
            f"and publish version {int(edit.thing.name) + 1} with the new terms."
        )
    return ""


def _of_warranty(edit: Edit, products: int) -> str:
    if edit.act is Act.CHANGED:
        return "A published warranty stands. Publish a new version instead."
    if edit.act is Act.REMOVED and products:
        return f"{_products(products)} that may have been made under it. Put it back."
    return ""


def _of_contract(edit: Edit, bought: int) -> tuple[int, int, str]:
    if edit.act is Act.CHANGED:
        return bought, 0, "A published contract stands. Publish a new version instead."
    if edit.act is Act.REMOVED and bought:
        return bought, 0, f"It was bought for {_counted(bought, 'product')}. Put it back."
    return bought, 0, ""


def _comes_with(default: Any) -> bool:
    """Say whether a feature with this default comes with the product."""
    return default is not None and default is not False


def _products(count: int) -> str:
    verb = "is" if count == 1 else "are"
    return f"There {verb} {_counted(count, 'product')}"


def _subscriptions(n: Subscribers) -> str:
    verb = "is" if n.ever == 1 else "are"
    over = f" ({n.ever - n.now:,} ended, but explained from it)" if n.ever > n.now else ""
    return f"{_counted(n.ever, 'subscription')}{over} {verb} on"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
