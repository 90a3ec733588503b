"""Usage that is told or corrected over the API, and credit that is given for it.

1. Quantities come as decimal texts: exact, whatever wrote them.
2. A batch of events has an answer for each; nothing in it fails the others.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import APIRouter, Path
from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from hub.api.bodies import ID_PATTERN, Answer, Code, DeviceId, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.usage import Quantity
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.usage_tables import CreditGrant
from hub.services import credit_grants, usage_events, usage_statements
from hub.services.credit_grants import Offer
from hub.services.usage_events import Event, Fate

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["usage"])

OwnerId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the household.")]
GrantId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the credit grant.")]
Amount = Annotated[Decimal, Field(max_digits=18, decimal_places=9, allow_inf_nan=False)]
MeterName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
EventId = Annotated[str, Field(min_length=1, max_length=190, pattern=r"^[!-}]+$")]
_EVENT_ID: Final = TypeAdapter(EventId)
_SAID: Final = 3
"""Of how many things that are wrong with one event its answer tells."""


class UsageEvent(Request):
    """Something that was used."""

    id: EventId = Field(description="Unique for the product; the same again counts once.")
    meter: MeterName
    quantity: Decimal = Field(description="In the meter's unit; not negative.")
    at: Instant | None = Field(default=None, description="When; null: now.")

    model_config = examples(
        {
            "id": "print-8d1f",
            "meter": "printed_pages",
            "quantity": "3",
            "at": "2026-01-31T08:00:00Z",
        }
    )

    def event(self) -> Event:
        """Return it as the service takes it."""
        return Event(self.id, self.meter, self.at, self.quantity)


class Unread(NamedTuple):
    """An element of a batch that is no event, and why; `id` if that at least can be read."""

    id: str
    why: str

    def event(self) -> Event:
        """Return what the service rejects."""
        return Event(self.id, "", None, Decimal(0), self.why)


def _or_why(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read an event, or say why it is none: what is wrong with one must not fail its batch."""
    try:
        return read(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    wrong = [(".".join(map(str, one["loc"])), one["msg"]) for one in found[:_SAID]]
    why = "; ".join(f"{where}: {what}" if where else what for where, what in wrong)
    given = value.get("id") if isinstance(value, dict) else None
    try:
        return Unread(_EVENT_ID.validate_python(given), why)
    except ValidationError:
        return Unread("", why)


class UsageEvents(Request):
    """A batch of events."""

    events: Annotated[
        list[Annotated[UsageEvent, WrapValidator(_or_why)]],
        Field(
            min_length=1,
            max_length=usage_events.MOST,
            description="What is no event is answered `rejected`, and the others are taken.",
        ),
    ]

    model_config = examples(
        {
            "events": [
                {
                    "id": "print-8d1f",
                    "meter": "printed_pages",
                    "quantity": "3",
                    "at": "2026-01-31T08:00:00Z",
                }
            ]
        }
    )


class EventAnswer(Answer):
    """What became of one event."""

    id: str = Field(description="Empty if it could not be read.")
    fate: Fate
    why: str = Field(description="Of a rejected one; else empty.")


class EventAnswers(Answer):
    """What became of each event, in their order."""

    accepted: int
    duplicates: int
    rejected: int
    events: list[EventAnswer]

    model_config = examples(
        {
            "accepted": 1,
            "duplicates": 0,
            "rejected": 0,
            "events": [{"id": "print-8d1f", "fate": "accepted", "why": ""}],
        }
    )


class CorrectUsage(Request):
    """What is added to, or taken from, usage at an instant."""

    meter: MeterName
    quantity: Amount = Field(description="In the meter's unit; negative takes away.")
    reason: Line
    at: Instant | None = Field(default=None, description="When it was used; null: now.")
    id: EventId | None = Field(default=None, description="The same again corrects once.")

    model_config = examples(
        {"meter": "printed_pages", "quantity": "-12", "reason": "misprints after the recall"}
    )


class Corrected(Answer):
    """A correction as it was kept; one of a period that is over becomes an adjustment."""

    id: str
    quantity: Quantity
    at: Instant
    reason: str
    author: str

    model_config = examples(
        {
            "id": "~w2k7f4c9x1m8d3q5",
            "quantity": "-12",
            "at": "2026-01-31T08:00:00Z",
            "reason": "misprints after the recall",
            "author": "person:h7d2n4v9s0b6j1t5",
        }
    )


class GiveCredit(Request):
    """Units of a meter that may be used beside the plan's quota."""

    meter: MeterName
    kind: Literal["topup", "addon", "promotion", "goodwill"]
    amount: Amount
    reason: Line
    starts_at: Instant | None = Field(default=None, description="Null: now.")
    ends_at: Instant | None = Field(default=None, description="Null: it does not expire.")
    priority: Annotated[int, Field(ge=0, le=255)] | None = Field(
        default=None, description="Lower burns first; the quota has 50. Null: usual for the kind."
    )
    renews: bool = Field(default=False, description="It has its amount again in each period.")
    min_rollover: Amount = Field(
        default=Decimal(0), description="What is left at least at the end of a period."
    )
    max_rollover: Amount | None = Field(
        default=None, description="What is left at most; null: all of it."
    )
    code: Code | None = Field(
        default=None, description="Two grants of one code must not run at the same time."
    )
    cause: Line | None = Field(default=None, description="A second grant for it is the first.")

    model_config = examples(
        {"meter": "printed_pages", "kind": "topup", "amount": "100", "reason": "order 4711"}
    )

    def offer(self) -> Offer:
        """Return what is given."""
        return Offer(**self.model_dump(exclude={"reason", "cause"}))


class EndCredit(Request):
    """Why a grant ends."""

    reason: Line

    model_config = examples({"reason": "order 4711 was refunded"})


class Credit(Answer):
    """A credit grant. What is left of it stands in the product's usage."""

    id: str
    owner_id: str
    product_id: str | None = Field(description="Null: for each product of the owner.")
    meter: str
    kind: str
    code: str | None
    amount: Quantity
    priority: int
    starts_at: Instant
    ends_at: Instant | None
    renews: bool
    min_rollover: Quantity
    max_rollover: Quantity
    created_at: Instant
    reason: str
    author: str

    model_config = examples(
        {
            "id": "c5m1x8q4k7w2d9f3",
            "owner_id": "q1w2e3r4t5y6u7i8",
            "product_id": "p0o9i8u7y6t5r4e3",
            "meter": "printed_pages",
            "kind": "topup",
            "code": None,
            "amount": "100",
            "priority": 100,
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": None,
            "renews": False,
            "min_rollover": "0",
            "max_rollover": "100",
            "created_at": "2026-01-31T08:00:00Z",
            "reason": "order 4711",
            "author": "person:h7d2n4v9s0b6j1t5",
        }
    )

    @classmethod
    def of(cls, row: CreditGrant) -> "Credit":
        """Return a grant as the API shows it."""
        plain = {name: getattr(row, name) for name in cls.model_fields}
        for name in ("amount", "min_rollover", "max_rollover"):
            plain[name] = Decimal(plain[name]).scaleb(-row.decimals)
        return cls.model_validate(plain)


class Credits(Answer):
    """All credit grants that a product has or had, the earliest given first."""

    grants: list[Credit]


@ROUTER.post(
    "/products/{device_id}/usage-events",
    operation_id="tell_usage",
    summary="Tell what was used of a product",
)
def tell_usage(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: UsageEvents
) -> EventAnswers:
    """Take a batch of usage events; each is answered, and each id counts once. Needs `usage:write`."""
    events = [one.event() for one in body.events]
    with write_session(hub.engine) as session:
        product_id = product_id_of(session, device_id)
        answers = usage_events.tell(session, caller, product_id, events, hub.clock())
    fates = [answer.fate for answer in answers]
    return EventAnswers(
        accepted=fates.count(Fate.ACCEPTED),
        duplicates=fates.count(Fate.DUPLICATE),
        rejected=fates.count(Fate.REJECTED),
        events=[EventAnswer.model_validate(answer) for answer in answers],
    )


@ROUTER.post(
    "/products/{device_id}/usage-corrections",
    operation_id="correct_usage",
    summary="Correct what was used of a product",
    status_code=201,
)
def correct_usage(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: CorrectUsage
) -> Corrected:
    """Add to or take from past or present usage, with a reason; it is audited."""
    event = Event(body.id or "", body.meter, body.at, body.quantity)
    with write_session(hub.engine) as session:
        product_id = product_id_of(session, device_id)
        row = usage_events.correct_usage(
            session, caller, product_id, event, body.reason, hub.tokens, hub.clock()
        )
        return Corrected(
            id=row.event_id, quantity=body.quantity, at=row.at, reason=row.reason, author=row.author
        )


@ROUTER.get(
    "/products/{device_id}/credit-grants",
    operation_id="list_usage_credit",
    summary="List a product's credit",
)
def list_usage_credit(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Credits:
    """List the credit grants of a product, those that are over too."""
    with read_session(hub.engine) as session:
        rows = credit_grants.listed(session, caller, product_id_of(session, device_id))
        return Credits(grants=[Credit.of(row) for row in rows])


@ROUTER.post(
    "/products/{device_id}/credit-grants",
    operation_id="give_usage_credit",
    summary="Give a product credit",
    status_code=201,
)
def give_usage_credit(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: GiveCredit
) -> Credit:
    """Let a product use more than its plan gives, in the hands of its present owner; it is audited."""
    with write_session(hub.engine) as session:
        row = credit_grants.give(
            session,
            caller,
            body.offer(),
            body.reason,
            hub.clock(),
            hub.tokens,
            product_id=product_id_of(session, device_id),
            cause=body.cause,
        )
        return Credit.of(row)


@ROUTER.post(
    "/owners/{owner_id}/credit-grants",
    operation_id="give_owner_usage_credit",
    summary="Give each product of a household credit",
    status_code=201,
)
def give_owner_usage_credit(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: GiveCredit
) -> Credit:
    """Let each product of a household that has the meter use more than its plan gives; it is audited."""
    with write_session(hub.engine) as session:
        row = credit_grants.give(
            session,
            caller,
            body.offer(),
            body.reason,
            hub.clock(),
            hub.tokens,
            owner_id=owner_id,
            cause=body.cause,
        )
        return Credit.of(row)


@ROUTER.post(
    "/credit-grants/{grant_id}/end", operation_id="end_usage_credit", summary="End a credit grant"
)
def end_usage_credit(hub: HubDep, caller: CallerDep, grant_id: GrantId, body: EndCredit) -> Credit:
    """End a grant now; what it paid for stays paid, and one that is over stays as it is."""
    with write_session(hub.engine) as session:
        return Credit.of(credit_grants.end(session, caller, grant_id, body.reason, hub.clock()))


class Statement(Answer):
    """What a period that is over counted: as it was closed, or as it was adjusted since."""

    meter: str
    start: Instant
    end: Instant
    revision: int = Field(description="0 as it was closed; each adjustment adds one.")
    used: Quantity
    overage: Quantity = Field(description="What nothing paid for, as of this revision.")
    at: Instant = Field(description="When the revision was made.")
    reason: str
    cause: str | None = Field(description="Cause of the invoice of the difference, if it has one.")

    model_config = examples(
        {
            "meter": "printed_pages",
            "start": "2026-01-01T00:00:00Z",
            "end": "2026-02-01T00:00:00Z",
            "revision": 0,
            "used": "130",
            "overage": "30",
            "at": "2026-02-01T01:00:00Z",
            "reason": "closed",
            "cause": "usage:p0o9i8u7y6t5r4e3:1:1767225600000000000:0",
        }
    )


class Statements(Answer):
    """Statements of a product, the latest period first."""

    statements: list[Statement]


@ROUTER.get(
    "/products/{device_id}/usage-statements",
    operation_id="list_usage_statements",
    summary="List what past periods were billed by",
)
def list_usage_statements(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Statements:
    """List the statements of a product with all adjustments; owners get those of their own time."""
    with read_session(hub.engine) as session:
        found = usage_statements.shown(session, caller, product_id_of(session, device_id))
        return Statements(statements=[Statement.model_validate(one) for one in found])
