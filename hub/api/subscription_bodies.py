"""Bodies about plans that are paid for here, their changes, and promotions.

1. Every change can be asked for with `preview`: the answer is the same, and nothing happens.
"""

from typing import Annotated, Literal, Self

from pydantic import Field

from hub.api.bodies import Answer, Line, Request, examples
from hub.api.instants import Instant
from hub.api.money_bodies import Amount
from hub.services import agreement_view as views
from hub.services.plan_changes import MOST

_ID = "kx3q8m0d5c7r2v1z"
_EUROS = {"minor": 999, "currency": "EUR", "text": "9.99"}
PlanName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,47}$", examples=["comfort"])]
PromotionCode = Annotated[str, Field(min_length=3, max_length=40, pattern=r"^[A-Za-z0-9 -]+$")]
Quantity = Annotated[int, Field(ge=0, le=MOST)]
Preview = Annotated[bool, Field(description="Only say what would happen and what it would cost.")]


class Subscribe(Request):
    """Which plan a product is subscribed to."""

    plan: PlanName
    plan_version: int | None = Field(default=None, ge=1, description="Null: the newest.")
    trial: bool = Field(default=True, description="Take the free trial, if there is one.")
    promotion: PromotionCode | None = None
    addons: Annotated[
        dict[PlanName, Annotated[int, Field(ge=1, le=MOST)]],
        Field(max_length=32, default_factory=dict, description="How many of which."),
    ]
    preview: Preview = False

    model_config = examples(
        {"plan": "comfort"},
        {"plan": "comfort", "promotion": "SPRING-26", "addons": {"more-boost": 2}, "preview": True},
    )


class ChangePlan(Request):
    """Which plan takes the place of the present one, and when."""

    plan: PlanName
    plan_version: int | None = Field(default=None, ge=1, description="Null: the newest.")
    when: Literal["now", "period_end"] | None = Field(
        default=None, description="Null: now if it costs as much or more, else at the period's end."
    )
    preview: Preview = False

    model_config = examples({"plan": "comfort"}, {"plan": "basic", "when": "period_end"})


class SetAddon(Request):
    """How many of an add-on a product has from now on."""

    quantity: Quantity
    preview: Preview = False

    model_config = examples({"quantity": 3}, {"quantity": 0, "preview": True})


class PausePlan(Request):
    """How long a plan is paused."""

    resumes_at: Instant | None = Field(default=None, description="Null: until it is resumed.")
    preview: Preview = False

    model_config = examples({"resumes_at": "2026-05-01T00:00:00Z"}, {})


class CancelPlan(Request):
    """When a plan ends."""

    when: Literal["now", "period_end"] = "period_end"
    preview: Preview = False

    model_config = examples({}, {"when": "now", "preview": True})


class Previewed(Request):
    """Whether it is done, or only looked at."""

    preview: Preview = False

    model_config = examples({}, {"preview": True})


class RedeemPromotion(Request):
    """The code of a promotion, as typed."""

    code: PromotionCode
    preview: Preview = False

    model_config = examples({"code": "SPRING-26"})


class Addon(Answer):
    """An add-on that a product has."""

    plan: str
    title: str
    quantity: int

    model_config = examples({"plan": "more-boost", "title": "More boost", "quantity": 2})


class PaidPlan(Answer):
    """A plan of a product that is paid for here."""

    agreement_id: str
    subscription_id: str
    product_id: str
    plan: str
    title: str
    plan_version: int
    status: str = Field(
        description="`scheduled`, `incomplete`, `trial`, `active`, `past_due`, `grace`, `paused`, "
        "`cancelled` (still covered), `lapsed`, `withdrawn` or `ended`."
    )
    currency: str
    interval_months: int
    starts_at: Instant
    trial_end: Instant | None
    covered_until: Instant | None = Field(description="End of the trial or of what is paid for.")
    grace_until: Instant | None = Field(
        description="Until when it goes on after that, while its payment is collected and in the grace."
    )
    outage_s: int = Field(
        description="Seconds of that time that were added because the hub was down meanwhile."
    )
    period_start: Instant | None
    period_end: Instant | None
    paused_at: Instant | None
    resumes_at: Instant | None
    cancelled_at: Instant | None
    addons: list[Addon]
    change_to: str | None = Field(description="Plan from the end of the period on.")
    promotion: str | None
    promotion_left: int | None = Field(
        description="Periods with the promotion, the present one among them; null: all, or none."
    )
    next_at: Instant | None = Field(description="When it is billed next.")
    next_amount: Amount | None = Field(description="What is then to be paid.")
    withdrawal_until: Instant | None = Field(
        description="Until when the household can withdraw from the contract; null: not any more."
    )
    invoice_id: str | None = Field(description="Invoice that waits for its payment.")
    may: list[str] = Field(description="What its state permits to do.")

    model_config = examples(
        {
            "agreement_id": "w2k7f4c9x1m8d3q5",
            "subscription_id": "b7x2m9q4k1v8c3z6",
            "product_id": _ID,
            "plan": "comfort",
            "title": "Comfort",
            "plan_version": 3,
            "status": "active",
            "currency": "EUR",
            "interval_months": 1,
            "starts_at": "2026-01-31T08:00:00Z",
            "trial_end": None,
            "covered_until": "2026-02-28T08:00:00Z",
            "grace_until": "2026-03-17T08:00:00Z",
            "outage_s": 0,
            "period_start": "2026-01-31T08:00:00Z",
            "period_end": "2026-02-28T08:00:00Z",
            "paused_at": None,
            "resumes_at": None,
            "cancelled_at": None,
            "addons": [{"plan": "more-boost", "title": "More boost", "quantity": 2}],
            "change_to": None,
            "promotion": None,
            "promotion_left": None,
            "next_at": "2026-02-28T08:00:00Z",
            "next_amount": _EUROS,
            "withdrawal_until": "2026-02-14T08:00:00Z",
            "invoice_id": None,
            "may": ["change_now", "change_later", "pause", "cancel", "cancel_now", "withdraw"],
        }
    )

    @classmethod
    def of(cls, view: views.SubscriptionView) -> Self:
        """Return the body of a view."""
        plain = {
            name: getattr(view, name)
            for name in cls.model_fields
            if name not in {"addons", "next_amount", "may"}
        }
        amount = view.next_amount
        return cls(
            **plain,
            addons=[Addon.model_validate(one) for one in view.addons],
            next_amount=None if amount is None else Amount.of(amount.minor, amount.currency),
            may=list(view.may),
        )


class BillLine(Answer):
    """A line of a bill; the code with its arguments is its sentence."""

    kind: str
    code: str
    args: dict[str, object]
    quantity: str
    amount: Amount = Field(description="With its tax; negative: given back.")
    starts_at: Instant | None
    ends_at: Instant | None


class Bill(Answer):
    """What a change costs now."""

    invoice_id: str | None = Field(description="Null in a preview.")
    total: Amount
    tax: Amount = Field(description="That is in the total.")
    due: Amount = Field(description="What is left to pay after credit.")
    lines: list[BillLine]

    @classmethod
    def of(cls, bill: views.BillView, *, preview: bool) -> Self:
        """Return the body of a bill."""
        lines = [
            BillLine(
                kind=line.kind,
                code=line.code,
                args=line.args,
                quantity=line.quantity,
                amount=Amount.of(line.amount.minor, line.amount.currency),
                starts_at=line.starts_at,
                ends_at=line.ends_at,
            )
            for line in bill.lines
        ]
        return cls(
            invoice_id=None if preview else bill.invoice_id,
            total=Amount.of(bill.total.minor, bill.total.currency),
            tax=Amount.of(bill.tax.minor, bill.tax.currency),
            due=Amount.of(bill.due.minor, bill.due.currency),
            lines=lines,
        )


class Changed(Answer):
    """What came of a change, or would come of it."""

    preview: bool
    subscription: PaidPlan = Field(
        description="As it stands; in a preview as it would once what is to be paid has come."
    )
    bill: Bill | None = Field(description="What is billed for it now; null: nothing.")

    @classmethod
    def of(cls, outcome: views.Outcome) -> Self:
        """Return the body of an outcome."""
        bill = None if outcome.bill is None else Bill.of(outcome.bill, preview=outcome.preview)
        return cls(
            preview=outcome.preview, subscription=PaidPlan.of(outcome.subscription), bill=bill
        )


class CreatePromotion(Request):
    """A code that makes periods of plans cheaper."""

    code: PromotionCode
    title: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    percent_ppm: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Share taken off, in parts per million; or"
    )
    amounts: dict[Annotated[str, Field(pattern="^[A-Z]{3}$")], int] | None = Field(
        default=None, description="minor units taken off, by currency."
    )
    periods: int | None = Field(default=None, ge=1, le=1_000_000, description="Null: all.")
    plans: Annotated[list[PlanName], Field(max_length=100)] | None = Field(
        default=None, description="Null: all."
    )
    most: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Households that can redeem it; null: any."
    )
    starts_at: Instant | None = Field(default=None, description="Null: now.")
    ends_at: Instant | None = None

    model_config = examples(
        {"code": "SPRING-26", "percent_ppm": 250_000, "periods": 3, "most": 500}
    )


class Promotion(Answer):
    """A promotion."""

    code: str
    title: str
    percent_ppm: int | None
    amounts: dict[str, int] | None
    periods: int | None
    plans: list[str] | None
    most: int | None
    redeemed: int = Field(description="Households that redeemed it.")
    starts_at: Instant
    ends_at: Instant | None
    created_by: Line

    model_config = examples(
        {
            "code": "SPRING-26",
            "title": "Spring",
            "percent_ppm": 250_000,
            "amounts": None,
            "periods": 3,
            "plans": None,
            "most": 500,
            "redeemed": 12,
            "starts_at": "2026-03-01T00:00:00Z",
            "ends_at": None,
            "created_by": "person:w2k7f4c9x1m8d3q5",
        }
    )


class Promotions(Answer):
    """All promotions, the newest first."""

    promotions: list[Promotion]
