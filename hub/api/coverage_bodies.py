"""Warranty, extensions and support contracts as they come in and go out."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from entitlements import covers
from entitlements.coverage_sentences import sentence
from entitlements.covers import CoverKind
from hub.api.bodies import Answer, Code, Line, Request, Scalar, examples
from hub.api.instants import Instant, text_of
from hub.services.alert_covers import CoverView
from hub.services.coverage import ContractView, CoverageView

_COVER: dict[str, Any] = {
    "kind": "warranty",
    "covered": True,
    "code": "warranty",
    "arguments": {"until_at": "2028-03-02T00:00:00Z"},
    "sentence": "Under warranty until 2028-03-02 00:00 UTC.",
    "transferable": True,
}


class Cover(Answer):
    """What the warranty or a contract says of an instant."""

    kind: CoverKind
    covered: bool = Field(description="Whether it pays for a fault that begins at the instant.")
    code: str
    arguments: dict[str, Scalar]
    sentence: str = Field(description="The code and its arguments in English.")
    transferable: bool = Field(description="Whether it passes on to the next owner.")

    model_config = examples(_COVER)


class Lifetime(Answer):
    """A limit of the warranty."""

    name: str = Field(description="`hours` or `cycles`.")
    total: float = Field(description="Counted in all; it never falls.")
    at_most: float
    read_at: Instant | None

    model_config = examples(
        {"name": "hours", "total": 812.5, "at_most": 10000, "read_at": "2026-01-31T08:00:00Z"}
    )


class WarrantyExtension(Answer):
    """More warranty that was bought."""

    id: str
    bought_at: Instant
    months: int
    hours: float
    cycles: float
    transferable: bool

    model_config = examples(
        {
            "id": "x5n1c7q9d3k8m2w4",
            "bought_at": "2026-01-31T08:00:00Z",
            "months": 12,
            "hours": 0,
            "cycles": 0,
            "transferable": True,
        }
    )


class SupportContract(Answer):
    """A support contract of a product."""

    id: str
    plan: str
    title: str
    version: int
    starts_at: Instant
    ends_at: Instant
    incidents: int | None = Field(description="Cases that each term pays for; null: any number.")
    transferable: bool
    cover: Cover

    model_config = examples(
        {
            "id": "c4t8r2x6v0n3k7m1",
            "plan": "care",
            "title": "Care",
            "version": 1,
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": "2027-01-31T00:00:00Z",
            "incidents": 4,
            "transferable": False,
            "cover": {
                "kind": "contract",
                "covered": True,
                "code": "contract_incidents",
                "arguments": {
                    "plan": "care",
                    "until_at": "2027-01-31T00:00:00Z",
                    "incidents_left": 3,
                },
                "sentence": "Covered by support contract care until 2027-01-31 00:00 UTC; cases "
                "left in this term: 3.",
                "transferable": False,
            },
        }
    )


class Coverage(Answer):
    """What covers a product at an instant, and why."""

    product_id: str
    at: Instant
    covered: bool
    by: Cover | None = Field(description="The first that covers; null: nothing does.")
    until: Instant | None = Field(
        description="Next instant at which another code holds for one of them; null: never."
    )
    zone: str = Field(description="Ends are ends of days in this IANA time zone.")
    made_at: Instant
    first_use_at: Instant | None = Field(description="Null: not seen at work yet.")
    begins_at: Instant | None = Field(description="Of the warranty; null: there is none.")
    warranty_version: int | None
    warranty: Cover
    meters: list[Lifetime]
    extensions: list[WarrantyExtension] = Field(description="Those that count at the instant.")
    contracts: list[SupportContract] = Field(description="The earliest first.")

    model_config = examples(
        {
            "product_id": "b7x2m9q4k1v8c3z6",
            "at": "2026-05-01T00:00:00Z",
            "covered": True,
            "by": _COVER,
            "until": "2028-03-02T00:00:00Z",
            "zone": "UTC",
            "made_at": "2026-01-10T12:00:00Z",
            "first_use_at": "2026-03-01T18:00:00Z",
            "begins_at": "2026-03-01T18:00:00Z",
            "warranty_version": 1,
            "warranty": _COVER,
            "meters": [],
            "extensions": [],
            "contracts": [],
        }
    )


class AlertCover(Answer):
    """What covers the fault of an alert, by the instant at which it began."""

    covered: bool
    kind: CoverKind | None = Field(description="Null: nothing covers it; the code says why.")
    contract_id: str | None
    code: str
    arguments: dict[str, Scalar]
    sentence: str

    model_config = examples(
        {
            "covered": True,
            "kind": "warranty",
            "contract_id": None,
            "code": "warranty",
            "arguments": {"until_at": "2028-03-02T00:00:00Z"},
            "sentence": "Under warranty until 2028-03-02 00:00 UTC.",
        }
    )


class ExtendWarranty(Request):
    """What is added to a warranty, and by which purchase."""

    months: Annotated[int, Field(ge=0, le=600)]
    hours: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    cycles: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] = 0.0
    transferable: bool = Field(default=True, description="If the warranty itself is.")
    reference: Line = Field(description="Of the purchase: one of a product counts once.")

    model_config = examples({"months": 12, "reference": "SO-4711/2"})


class SellContract(Request):
    """A support contract that begins."""

    plan: Code
    version: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Null: the newest."
    )
    terms: Annotated[int, Field(ge=1, le=50)] = 1
    starts_at: Instant | None = Field(default=None, description="Null: now.")
    reference: Line = Field(description="Of the purchase: one of a product counts once.")

    model_config = examples({"plan": "care", "reference": "SO-4711/3"})


class RenewContract(Request):
    """How many terms a contract is to have in all."""

    terms: Annotated[int, Field(ge=1, le=50)]

    model_config = examples({"terms": 2})


class EndContract(Request):
    """Why a contract ends before its time."""

    reason: Line

    model_config = examples({"reason": "the product was scrapped"})


def shown_coverage(view: CoverageView) -> Coverage:
    """Return what covers a product as it goes out."""
    return Coverage(
        product_id=view.product_id,
        at=view.at,
        covered=view.by is not None,
        by=None if view.by is None else shown_cover(view.by),
        until=view.until,
        zone=view.zone,
        made_at=view.made_at,
        first_use_at=view.first_use_at,
        begins_at=view.begins_at,
        warranty_version=view.warranty_version,
        warranty=shown_cover(view.warranty),
        meters=[Lifetime.model_validate(one) for one in view.meters],
        extensions=[WarrantyExtension.model_validate(one) for one in view.extensions],
        contracts=[shown_contract(one) for one in view.contracts],
    )


def shown_contract(view: ContractView) -> SupportContract:
    """Return a contract as it goes out."""
    return SupportContract(
        id=view.id,
        plan=view.plan,
        title=view.title,
        version=view.version,
        starts_at=view.starts_at,
        ends_at=view.ends_at,
        incidents=view.incidents,
        transferable=view.transferable,
        cover=shown_cover(view.cover),
    )


def shown_cover(cover: covers.Cover) -> Cover:
    """Return a cover as it goes out."""
    return Cover(
        kind=cover.kind,
        covered=cover.covered,
        code=cover.code,
        arguments=shown_arguments(cover.args),
        sentence=sentence(cover.code, cover.args),
        transferable=cover.transferable,
    )


def shown_mark(view: CoverView | None) -> AlertCover | None:
    """Return the mark of an alert as it goes out."""
    if view is None:
        return None
    return AlertCover(
        covered=view.covered,
        kind=None if view.kind is None else CoverKind(view.kind),
        contract_id=view.contract_id,
        code=view.code,
        arguments=shown_arguments(view.arguments),
        sentence=view.sentence,
    )


def shown_arguments(args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return arguments with their instants as RFC 3339."""
    return {
        name: text_of(value) if name.endswith("_at") and type(value) is int else value
        for name, value in args.items()
    }
