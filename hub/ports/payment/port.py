"""The payment provider as the hub sees it.

1. Every call carries the id of an attempt. Called again with the same id, a provider does nothing a
   second time and answers as it did the first.
2. A provider that says no is an answer; one that cannot be reached is an error, and is asked again.
3. An answer may come later (`PENDING`): as an event of the provider, or when it is asked again.
What must never live here: what an answer means for invoices and subscriptions (`hub/services`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from entitlements.billing.money import Money
from hub.errors import HubError


class PaymentUnreachableError(HubError):
    """The provider did not answer, or not so that it is known what happened."""

    code = "payment-unreachable"
    title = "The payment provider does not answer"
    status = 503


class Outcome(StrEnum):
    """What came of an attempt; the first two are words of `payment_attempt.outcome`."""

    PAID = "paid"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays, as the provider knows them.

    Args:
        owner_id: the household.
        customer: the provider's reference of it; empty: it does not know them yet.
        method: the provider's reference of the means of payment; empty: there is none.
    """

    owner_id: str
    customer: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """One attempt to collect money without the customer being there.

    Args:
        attempt_id: see rule 1.
        payer: who pays.
        amount: how much; more than nothing.
        text: what for, such as the number of the invoice.
        reference: the provider's name of this attempt from an earlier answer; empty: none came.
        begun_at: when it was first asked for it, ns.
        at: now, ns.
    """

    attempt_id: str
    payer: Payer
    amount: Money
    text: str
    reference: str
    begun_at: int
    at: int


@dataclass(frozen=True, slots=True)
class Refund:
    """One attempt to give back (a part of) what a charge collected.

    Args:
        attempt_id: see rule 1.
        charge_reference: the provider's name of the charge.
        amount: how much; at most what is left of the charge.
        reference: as in `Charge`.
        begun_at: as in `Charge`.
        at: now, ns.
    """

    attempt_id: str
    charge_reference: str
    amount: Money
    reference: str
    begun_at: int
    at: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider said.

    Args:
        outcome: see `Outcome`.
        reference: its name of the attempt; empty: it has none.
        code: why it failed, in the provider's word, such as `card_declined`.
    """

    outcome: Outcome
    reference: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a customer gives a means of payment.

    Args:
        customer: the provider's reference of the household.
        url: page of the provider to send the customer to.
    """

    customer: str
    url: str


class Place(StrEnum):
    """Where the money of a payment is that the provider reverses; words of `payment_reversal.state`."""

    KEPT = "kept"
    """Nothing left, or it came back: a dispute that was won, a refund that failed."""
    HELD = "held"
    """The bank has taken it back until the dispute is decided."""
    GONE = "gone"
    """It went back for good."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """What the provider says of a dispute, or of a refund that it made without the hub.

    Args:
        id: its name of it.
        kind: `dispute` or `refund`.
        reference: its name of the payment.
        amount: how much.
        place: where the money is now.
        stage: how far it has come; what says less never follows what says more.
        said_at: when the provider said so, Unix seconds.
        reason: in its word, such as `fraudulent`.
        answer_by: until when a dispute can be answered, ns; None: it cannot.
    """

    id: str
    kind: str
    reference: str
    amount: Money
    place: Place
    stage: int
    said_at: int
    reason: str = ""
    answer_by: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider says unasked.

    Args:
        id: its name of it.
        kind: its name of the kind, such as `payment_intent.succeeded`.
        attempt_id: the attempt that it is about; empty: none.
        answer: what it says of that attempt.
        owner_id: the household that gave a means of payment; empty: none.
        customer: the provider's reference of that household.
        method: the provider's reference of that means.
        reversal: a dispute, or a refund that is of no attempt; None: neither.
        said_at: when the provider said so, Unix seconds; 0: it does not say when.
    """

    id: str
    kind: str
    attempt_id: str = ""
    answer: Answer | None = None
    owner_id: str = ""
    customer: str = ""
    method: str = ""
    reversal: Reversal | None = None
    said_at: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """What the provider is to forget.

    Args:
        kind: `customer` (with everything that is known of it) or `method`, a means of payment.
        reference: the provider's name of it.
    """

    kind: str
    reference: str


class PaymentPort(Protocol):
    """A payment provider. Safe to call from any thread; never within a transaction."""

    @property
    def has_page(self) -> bool:
        """Whether customers give a means of payment on a page of its own (`setup`)."""
        ...

    @property
    def choices(self) -> Sequence[str]:
        """Means of payment that customers may name themselves: rehearsals, of which nothing is collected."""
        ...

    def charge(self, charge: Charge) -> Answer:
        """Collect money.

        Raises:
            PaymentUnreachableError: it is not known what happened; ask again.
        """
        ...

    def refund(self, refund: Refund) -> Answer:
        """Give money back; errors as `charge`."""
        ...

    def setup(self, payer: Payer, name: str, return_url: str, at: int) -> Setup:
        """Begin to give a means of payment.

        Args:
            payer: who.
            name: of the household, for the provider's records.
            return_url: where the customer comes back to.
            at: now, ns.

        Raises:
            ConflictError: this provider has no such page.
            PaymentUnreachableError: it did not answer, or refused.
        """
        ...

    def title(self, method: str) -> str:
        """Return what a customer knows a means of payment by, such as `Visa •••• 4242`; empty: nothing is known.

        Raises:
            PaymentUnreachableError: it did not answer.
        """
        ...

    def events(self, since: int, until: int) -> Sequence[Event]:
        """Return what the provider has said unasked in `[since, until)` (ns), the earliest first.

        Most of it has come by itself already. What attempts are asked for anyway may be left out.

        Raises:
            PaymentUnreachableError: it did not answer.
        """
        ...

    def remove(self, removal: Removal) -> None:
        """Forget a customer or a means of payment; what is not there is forgotten.

        Raises:
            PaymentUnreachableError: it is not known whether that was done; ask again.
        """
        ...


def known_as(port: PaymentPort, method: str) -> str:
    """Ask what a customer knows a means of payment by; it is as good without that."""
    if not method:
        return ""
    try:
        return port.title(method)[:200]
    except PaymentUnreachableError:
        return ""


class _Nobody:
    """No provider: nothing is ever collected."""

    has_page = False
    choices: Sequence[str] = ()

    def charge(self, charge: Charge) -> Answer:
        raise PaymentUnreachableError(f"Attempt {charge.attempt_id} waits: there is no provider.")

    def refund(self, refund: Refund) -> Answer:
        raise PaymentUnreachableError(f"Attempt {refund.attempt_id} waits: there is no provider.")

    def setup(self, payer: Payer, name: str, return_url: str, at: int) -> Setup:
        del name, return_url, at
        raise PaymentUnreachableError(f"There is no provider for {payer.owner_id}.")

    def title(self, method: str) -> str:
        del method
        return ""

    def events(self, since: int, until: int) -> Sequence[Event]:
        del since, until
        return ()

    def remove(self, removal: Removal) -> None:
        raise PaymentUnreachableError(f"There is no provider to forget a {removal.kind}.")


NOBODY_COLLECTS: PaymentPort = _Nobody()
"""What a hub has that was put together without a provider."""
