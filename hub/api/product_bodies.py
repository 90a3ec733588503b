"""What goes in and out about products: registration, claims, lists, details and decisions."""

from typing import Annotated

from pydantic import Field

from hub.api.bodies import Answer, Id, Line, Request, Scalar, examples
from hub.api.instants import Instant

_ID = "kx3q8m0d5c7r2v1z"


class Registration(Request):
    """A product that was made."""

    model: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,47}$")]
    serial: Annotated[str, Field(pattern="^[!-~]{1,64}$")]
    order_reference: Line | None = None
    hardware_lot: Line | None = None
    region: Line | None = None
    zone: Line = Field(default="UTC", description="IANA time zone where it will stand.")
    made_at: Instant | None = Field(default=None, description="Null: now; never in the future.")

    model_config = examples(
        {"model": "heat-pump", "serial": "HP-2026-000017", "order_reference": "SO-4711"}
    )


class RegisterProducts(Request):
    """Products that were made; all are registered or none."""

    products: list[Registration] = Field(min_length=1, max_length=1_000)

    model_config = examples({"products": [{"model": "heat-pump", "serial": "HP-2026-000017"}]})


class RegisteredProduct(Answer):
    """A product that has just been registered."""

    product_id: str
    model: str
    serial: str
    enrolment_secret: str = Field(description="To be put into the product; shown only here.")
    claim_code: str = Field(description="For the label; shown only here.")

    model_config = examples(
        {
            "product_id": _ID,
            "model": "heat-pump",
            "serial": "HP-2026-000017",
            "enrolment_secret": "5f0c9a4be1d27e38...",
            "claim_code": "ABCD-EFGH-JKMN",
        }
    )


class RegisteredProducts(Answer):
    """Products that have just been registered, in the order of the request."""

    products: list[RegisteredProduct]


class ClaimProduct(Request):
    """The code on the label of a product, and its serial number where the customer has it."""

    claim_code: Annotated[str, Field(min_length=1, max_length=64)]
    serial: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    model_config = examples({"serial": "HP-2026-000017", "claim_code": "ABCD-EFGH-JKMN"})


class ProductSummary(Answer):
    """A product in a list."""

    product_id: str
    device_id: str | None = Field(description="Null until the product has enrolled.")
    serial: str
    model: str
    model_title: str
    name: str | None
    zone: str
    owner_id: str | None
    epoch: int = Field(description="Owner epoch; 0 for nobody.")
    online: bool
    firmware: str | None
    last_contact: Instant | None
    revoked_at: Instant | None
    order_reference: str | None
    hardware_lot: str | None
    region: str | None
    made_at: Instant

    model_config = examples(
        {
            "product_id": "b7x2m9q4k1v8c3z6",
            "device_id": _ID,
            "serial": "HP-2026-000017",
            "model": "heat-pump",
            "model_title": "Heat pump",
            "name": None,
            "zone": "Europe/Berlin",
            "owner_id": "h7d2n4v9s0b6j1t5",
            "epoch": 1,
            "online": True,
            "firmware": "1.4.2",
            "last_contact": "2026-01-31T08:00:00Z",
            "revoked_at": None,
            "order_reference": "SO-4711",
            "hardware_lot": None,
            "region": "eu",
            "made_at": "2025-11-03T10:00:00Z",
        }
    )


class Claimed(Answer):
    """A product that has a new owner."""

    product_id: str
    serial: str
    epoch: int = Field(description="The new owner epoch.")

    model_config = examples({"product_id": _ID, "serial": "HP-2026-000017", "epoch": 1})


class RevokeDevice(Request):
    """Why a device's identity is taken away."""

    reason: Line

    model_config = examples({"reason": "reported stolen"})


class RevokedDevice(Answer):
    """A device that is let in no longer."""

    device_id: str

    model_config = examples({"device_id": _ID})


class Decision(Answer):
    """Whether a product may use a feature, why, and until when."""

    feature: str
    allowed: bool
    code: str = Field(description="Stable code of the reason.")
    args: dict[str, Scalar] = Field(
        description="Arguments of the code; names that end in `_at` are instants."
    )
    sentence: str = Field(description="The reason in English.")
    until: Instant | None = Field(description="When this answer next changes on present facts.")
    rule: str = Field(description="The rung of the ladder that decided.")
    value: bool | int | str | None = Field(description="Setting or quota; null: none.")
    plan: str | None
    plan_version: int | None
    subscription_id: str | None
    hold_id: str | None
    grant_id: str | None
    safe: bool = Field(description="A safe function is never taken away.")

    model_config = examples(
        {
            "feature": "telemetry",
            "allowed": True,
            "code": "plan",
            "args": {"plan": "comfort", "paid_until_at": "2026-03-01T00:00:00Z"},
            "sentence": "Included in the plan comfort, paid until 1 March 2026.",
            "until": "2026-03-01T00:00:00Z",
            "rule": "subscription",
            "value": True,
            "plan": "comfort",
            "plan_version": 1,
            "subscription_id": "s3k9x0c7w2m5q8r1",
            "hold_id": None,
            "grant_id": None,
            "safe": False,
        }
    )


class ExplanationStep(Answer):
    """One rung of the ladder of rules."""

    rule: str
    decided: bool = Field(description="Whether this rung decided.")
    applies: bool
    allowed: bool | None = Field(description="What it says where it applies.")
    code: str | None
    args: dict[str, Scalar]
    sentence: str | None

    model_config = examples(
        {
            "rule": "hold",
            "decided": False,
            "applies": False,
            "allowed": None,
            "code": None,
            "args": {},
            "sentence": None,
        }
    )


class Explanation(Answer):
    """A decision and every step that led to it."""

    at: Instant
    known_at: Instant = Field(description="It is made from the facts as the hub knew them then.")
    owner_epoch: int
    decision: Decision
    steps: list[ExplanationStep]


class CreateSubscription(Request):
    """What was agreed about paying for a plan."""

    product_id: Id
    plan: Annotated[str, Field(min_length=1, max_length=48)]
    plan_version: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Null: the newest."
    )
    starts_at: Instant | None = Field(default=None, description="Null: now.")
    trial_end: Instant | None = None
    paid_until: Instant | None = Field(
        default=None, description="Null (without a trial): open-ended."
    )
    cancelled_at: Instant | None = Field(
        default=None, description="For a subscription that is brought over already cancelled."
    )
    ends_at: Instant | None = None
    transferable: bool = Field(default=False, description="Whether it passes on to the next owner.")

    model_config = examples(
        {
            "product_id": "b7x2m9q4k1v8c3z6",
            "plan": "comfort",
            "starts_at": "2026-01-01T00:00:00Z",
            "paid_until": "2026-03-01T00:00:00Z",
        }
    )
