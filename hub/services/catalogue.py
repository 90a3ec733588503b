"""The vendor's catalogue: product models with metrics and features, and plans with versions.

1. A document says what is wanted; applying it twice does nothing the second time.
2. An edit that would strand somebody is refused (`catalogue_rules`), and then nothing is applied.
3. A document is applied as a whole or not at all, and can be tried out first (`dry_run`).
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError
from hub.services import (
    audit,
    catalogue_coverage,
    catalogue_facts,
    catalogue_store,
    changes,
    coverage_catalogue,
)
from hub.services.caller import Caller, Scope
from hub.services.catalogue_difference import Act, Edit, Thing, compare
from hub.services.catalogue_document import (
    CatalogueDocument,
    FeatureEntry,
    PlanVersionEntry,
    TermsEntry,
)
from hub.services.catalogue_lines import line_of
from hub.services.catalogue_rules import judged
from hub.services.catalogue_uses import Uses
from hub.services.credit_grants import BURNABLE

_TOLD = 20
"""Mistakes and refusals that one error names."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What applying a document changes, or would change."""

    edits: tuple[Edit, ...] = ()

    def of(self, act: Act) -> list[Edit]:
        """Return the edits of a kind that are not refused."""
        return [edit for edit in self.edits if edit.act is act and not edit.refusal]

    @property
    def refused(self) -> list[Edit]:
        """Edits that would strand somebody."""
        return [edit for edit in self.edits if edit.refusal]

    def __bool__(self) -> bool:
        return bool(self.edits)


def parse(text: str) -> CatalogueDocument:
    """Read a catalogue document.

    Args:
        text: TOML; see `catalogue_document` for its tables.

    Raises:
        InvalidInputError: not TOML, or not a catalogue; says in which lines and why.
    """
    try:
        return CatalogueDocument.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"The catalogue is not valid TOML: {error}.") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise _mistakes(
            ((item["loc"], item["msg"].removeprefix("Value error, ")) for item in found), text
        ) from error


def apply(
    session: Session,
    caller: Caller,
    document: CatalogueDocument,
    at: int,
    *,
    dry_run: bool = False,
    whole: bool = False,
    text: str = "",
) -> Difference:
    """Bring the catalogue to what a document says.

    Args:
        session: a writing session.
        caller: needs `catalogue:write`.
        document: what is wanted.
        at: now, ns.
        dry_run: only say what would change, refusals among it.
        whole: the document is the whole catalogue: models and plans that it leaves out go.
        text: the document as it was written in TOML, so that errors name its lines.

    Raises:
        ConflictError: the document would strand somebody.
        InvalidInputError: a plan includes what no model has, or a value that a model does not take.
    """
    caller.require(Scope.CATALOGUE_WRITE)
    stands = catalogue_store.read(session)
    result = _result(stands, document, whole=whole)
    if mistakes := list(_inconsistent(result, stands, document)):
        raise _mistakes(mistakes, text)
    uses = Uses(session, stands, at)
    broken = dict(_broken(result, stands))
    difference = Difference(
        tuple(
            _also_broken(judged(edit, stands, uses), broken)
            for edit in compare(stands, document, whole=whole)
        )
    )
    if difference.refused:
        if dry_run:
            return difference
        raise _refusal(difference.refused, text)
    if difference:
        _write(session, difference, result, uses, at)
    if dry_run:
        session.rollback()
    elif difference:
        details = {act.value: [str(edit.thing) for edit in difference.of(act)] for act in Act}
        audit.record(session, at, caller.actor, "catalogue.apply", "catalogue", details)
        changes.note(session, changes.EVERY_PRODUCT)
        catalogue_facts.note_change(session)
    return difference


def show(session: Session, caller: Caller) -> CatalogueDocument:
    """Return the whole catalogue as a document; applied again, it changes nothing.

    Args:
        session: any session.
        caller: needs `records:read`.
    """
    caller.require(Scope.RECORDS_READ)
    return catalogue_store.read(session)


def _result(
    stands: CatalogueDocument, wanted: CatalogueDocument, *, whole: bool
) -> CatalogueDocument:
    if whole:
        return wanted
    parts: dict[str, Any] = {
        part: {**getattr(stands, part), **getattr(wanted, part)}
        for part in CatalogueDocument.model_fields
    }
    return CatalogueDocument.model_construct(**parts)


def _write(
    session: Session, difference: Difference, result: CatalogueDocument, uses: Uses, at: int
) -> None:
    """Bring what differs to the result; every refusal was seen before."""
    removed = {edit.thing for edit in difference.of(Act.REMOVED)}
    touched = {part: dict[str, None]() for part in CatalogueDocument.model_fields}
    for edit in difference.edits:
        touched[str(edit.path[0])][edit.thing.of] = None
    try:
        for name in touched["models"]:
            if not uses.products(name):  # its metrics may have moved, which warranties refer to
                catalogue_coverage.delete_warranties(session, name)
            if Thing("model", name) in removed:
                catalogue_store.delete_model(session, name)
                continue
            model = catalogue_store.write_model(session, name, result.models[name], at)
            coverage_catalogue.apply_warranties(session, model, result.models[name].warranty, at)
        for name in touched["plans"]:
            if Thing("plan", name) in removed:
                catalogue_store.delete_plan(session, name)
            else:
                catalogue_store.write_plan(session, name, result.plans[name], at)
        _write_contracts(session, removed, touched, result, at)
        for region in touched["taxes"]:
            if region in result.taxes:
                catalogue_store.write_tax(session, region, result.taxes[region])
            else:
                catalogue_store.delete_tax(session, region)
    except IntegrityError as error:
        raise ConflictError(
            "The catalogue was not changed: something that it removes is still referred to. "
            "Leave it in the document."
        ) from error


def _write_contracts(
    session: Session,
    removed: set[Thing],
    touched: Mapping[str, Mapping[str, None]],
    result: CatalogueDocument,
    at: int,
) -> None:
    for name in touched["contracts"]:
        gone = [
            int(one.name) for one in removed if (one.kind, one.of) == ("contract version", name)
        ]
        catalogue_coverage.delete_contract_versions(session, name, gone)
        if Thing("contract", name) in removed:
            catalogue_coverage.delete_contract(session, name)
    coverage_catalogue.apply_contracts(
        session,
        {name: result.calendars[name] for name in touched["calendars"] if name in result.calendars},
        {name: result.contracts[name] for name in touched["contracts"] if name in result.contracts},
        at,
    )
    for thing in removed:
        if thing.kind == "calendar":
            catalogue_coverage.delete_calendar(session, thing.of)


def _inconsistent(
    result: CatalogueDocument, stands: CatalogueDocument, wanted: CatalogueDocument
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what new plan versions say and no model can keep, and which taxes lack a class."""
    yield from _untaxed(result, stands, wanted)
    for name, plan in wanted.plans.items():
        published = (
            {entry.version for entry in stands.plans[name].versions}
            if name in stands.plans
            else set()
        )
        for position, entry in enumerate(plan.versions):
            if entry.version not in published:
                for part, key, wrong in [
                    *_wrong_terms(result, entry),
                    *_uncounted(result, entry),
                ]:
                    yield ("plans", name, "versions", position, part, key), wrong


def _untaxed(
    result: CatalogueDocument, stands: CatalogueDocument, wanted: CatalogueDocument
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield tax classes of plan versions for which a region has no rate, where either is new."""
    for name, plan in result.plans.items():
        before = stands.plans[name].versions if name in stands.plans else ()
        published = {entry.version for entry in before}
        for position, entry in enumerate(plan.versions):
            for region, tax in result.taxes.items():
                if not entry.tax or entry.tax in tax.rates:
                    continue
                if entry.version not in published and name in wanted.plans:
                    yield (
                        ("plans", name, "versions", position, "tax"),
                        f"region {region} has no rate of the class {entry.tax!r}; add it there.",
                    )
                elif region in wanted.taxes:
                    yield (
                        ("taxes", region, "rates"),
                        f"plan {name} version {entry.version} is of the class {entry.tax!r}: add it.",
                    )


def _broken(
    result: CatalogueDocument, stands: CatalogueDocument
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield, by kind and name, what published plan versions say and models no longer keep."""
    for name, plan in result.plans.items():
        if name not in stands.plans:
            continue
        before = {entry.version: entry for entry in stands.plans[name].versions}
        for entry in plan.versions:
            if entry.version in before:
                for part, key, wrong in _wrong_terms(result, before[entry.version]):
                    yield (part, key), f"Plan {name} version {entry.version} is published: {wrong}"


def _also_broken(edit: Edit, broken: dict[tuple[str, str], str]) -> Edit:
    """Refuse an edit of a feature or setting that breaks a published plan version."""
    wrong = broken.get((f"{edit.thing.kind}s", edit.thing.name))
    if wrong is None or edit.refusal or edit.act is Act.ADDED:
        return edit
    return replace(edit, refusal=f"{wrong} Change the model so that this stays possible.")


def _wrong_terms(
    result: CatalogueDocument, version: PlanVersionEntry
) -> Iterator[tuple[str, str, str]]:
    """Yield (part, name, what is wrong) of the terms of a plan version."""
    models = result.models.items()
    for name, terms in version.features.items():
        having = {code: model for code, model in models if name in model.features}
        if not having:
            yield "features", name, f"no model has a feature {name!r}; correct the name or add it."
        for code, model in having.items():
            feature = model.features[name]
            wrong = _wrong_value(feature, terms)
            if wrong is not None:
                yield "features", name, f"the value of {code}.{name} {wrong}."
    for name, value in version.settings.items():
        having = {code: model for code, model in models if name in model.settings}
        if not having:
            yield "settings", name, f"no model has a setting {name!r}; correct the name or add it."
        for code, model in having.items():
            wrong = model.settings[name].refusal(value)
            if wrong is not None:
                yield "settings", name, f"the setting {code}.{name} {wrong}."


def _uncounted(
    result: CatalogueDocument, version: PlanVersionEntry
) -> Iterator[tuple[str, str, str]]:
    """Yield meters of which a plan version sells more, and no model has them, or they never run over."""
    for offer, sold in version.top_ups.items():
        having = [m.meters[sold.meter] for m in result.models.values() if sold.meter in m.meters]
        if not having:
            yield (
                "top_ups",
                offer,
                f"no model has a meter {sold.meter!r}; correct the name or add it.",
            )
        elif any(one.aggregation not in BURNABLE for one in having):
            yield (
                "top_ups",
                offer,
                f"meter {sold.meter} does not add up, so it cannot be topped up.",
            )
        elif Decimal(sold.amount).scaleb(max(one.decimals for one in having)) % 1:
            yield "top_ups", offer, f"meter {sold.meter} does not count so many decimals."
    for name in version.overage:
        if not any(name in model.meters for model in result.models.values()):
            yield "overage", name, f"no model has a meter {name!r}; correct the name or add it."
        counted = {
            feature
            for model in result.models.values()
            for feature, entry in model.features.items()
            if entry.meter == name
        }
        for feature, terms in version.features.items():
            if feature in counted and terms.limit == "hard":
                yield (
                    "features",
                    feature,
                    (
                        f"the plan sells what is used of {name} beyond this quota, but the feature closes"
                        ' when it is used up; say limit = "soft", or leave the overage out.'
                    ),
                )


def _wrong_value(feature: FeatureEntry, terms: TermsEntry) -> str | None:
    if feature.kind == "value" and terms.value is None and feature.default is None:
        return "must be given, as the model has no default"
    if feature.kind != "metered" and terms.stored():
        return "cannot have a limit, overage, rollover or thresholds: it is no quota"
    return feature.refusal(terms.value)


def _mistakes(found: Iterable[tuple[tuple[str | int, ...], str]], text: str) -> InvalidInputError:
    listed: list[dict[str, Any]] = [
        {"place": ".".join(map(str, path)), "line": _line(text, path), "detail": wrong}
        for path, wrong in found
    ]
    sentences = [
        f"{_where(item['line'], item['place'])}: {item['detail'].removesuffix('.')}."
        for item in listed[:_TOLD]
    ]
    count = "a mistake" if len(listed) == 1 else f"{len(listed)} mistakes"
    return InvalidInputError(f"The catalogue has {count}. {' '.join(sentences)}", mistakes=listed)


def _refusal(refused: list[Edit], text: str) -> ConflictError:
    listed: list[dict[str, Any]] = [
        {
            "thing": str(edit.thing),
            "act": edit.act.value,
            "place": ".".join(map(str, edit.path)),
            "line": _line(text, edit.path),
            "products": edit.products,
            "subscribers": edit.subscribers,
            "detail": edit.refusal,
        }
        for edit in refused
    ]
    sentences = [
        f"{_where(item['line'], item['thing'])} ({item['act']}): {item['detail']}"
        for item in listed[:_TOLD]
    ]
    count = "an edit is" if len(listed) == 1 else f"{len(listed)} edits are"
    return ConflictError(
        f"The catalogue was not changed, as {count} refused. {' '.join(sentences)}", refused=listed
    )


def _line(text: str, path: tuple[str | int, ...]) -> int | None:
    """Return the line of a document in TOML at which a part begins, `None` if that is not known."""
    return line_of(text, path) if text else None


def _where(line: int | None, what: str) -> str:
    return what if line is None else f"Line {line}, {what}"
