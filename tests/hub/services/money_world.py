"""A world with prices and taxes, and a payment provider that does as it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.app.payment_desk import PaymentDesk
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.ports.database.engine import write_session
from hub.ports.payment.port import (
    Answer,
    Charge,
    Event,
    Outcome,
    Payer,
    PaymentUnreachableError,
    Refund,
    Removal,
    Setup,
)
from hub.services import catalogue
from hub.services.caller import HUB
from hub.services.invoices import Line
from hub.services.payments import Hooks
from tests.hub.services.service_world import CATALOGUE, T0, World, new_world

PRICED = (
    CATALOGUE.replace(
        "grace_days = 14\n",
        'grace_days = 14\nprice = { EUR = "9.99", JPY = 1200 }\ntax = "standard"\n',
    )
    + """
[taxes.DE]
title = "USt."
rates = { standard = "19", reduced = 7 }
[taxes.CH]
title = "MWST"
rates = { standard = "8.1" }
[taxes.FR]
rates = { standard = "20" }
reverse_charge = true
"""
)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


@dataclass
class Provider:
    """Keeps what it answered, as providers do, and answers what is next in `answers`."""

    has_page = True
    choices: Sequence[str] = ()
    answers: list[Answer | None] = field(default_factory=list)
    given: dict[str, Answer] = field(default_factory=dict)
    money: dict[str, int] = field(default_factory=dict)
    asked: list[Charge | Refund] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    said: list[Event] | None = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def charge(self, charge: Charge) -> Answer:
        return self._answer(charge, charge.amount, 1)

    def refund(self, refund: Refund) -> Answer:
        return self._answer(refund, refund.amount, -1)

    def setup(self, payer: Payer, name: str, return_url: str, at: int) -> Setup:
        return Setup(payer.customer or f"cus-{payer.owner_id}", f"{return_url}#{name}-{at}")

    def title(self, method: str) -> str:
        return f"Card {method}"

    def events(self, since: int, until: int) -> Sequence[Event]:
        self.spans.append((since, until))
        if self.said is None:
            raise PaymentUnreachableError("nobody there")
        return self.said

    def remove(self, removal: Removal) -> None:
        if self.answers and self.answers.pop(0) is None:
            raise PaymentUnreachableError("nobody there")
        self.removed.append(removal)

    def _answer(self, ask: Charge | Refund, amount: Money, sign: int) -> Answer:
        self.asked.append(ask)
        if ask.attempt_id in self.given:
            return self.given[ask.attempt_id]
        answer = self.answers.pop(0) if self.answers else Answer(Outcome.PAID, "")
        if answer is None:
            raise PaymentUnreachableError("nobody there")
        answer = Answer(answer.outcome, f"ref-{ask.attempt_id}", answer.code)
        if answer.outcome is Outcome.PAID:
            self.given[ask.attempt_id] = answer
            kept = self.money.get(amount.currency, 0)
            self.money[amount.currency] = kept + sign * amount.minor
        return answer


@dataclass
class MoneyWorld:
    """The world, its desk and what the hooks heard."""

    world: World
    provider: Provider
    paid: list[str] = field(default_factory=list)
    failed: list[tuple[str, str | None]] = field(default_factory=list)
    at: int = T0

    def __post_init__(self) -> None:
        self.desk = PaymentDesk(self.world.engine, self.provider, self.hooks, KEY, lambda: self.at)

    @property
    def hooks(self) -> Hooks:
        return Hooks(self._paid, self._failed)

    def _paid(self, _session: Session, invoice: Invoice, _at: int) -> None:
        self.paid.append(invoice.cause)

    def _failed(
        self, _session: Session, invoice: Invoice, attempt: PaymentAttempt, _at: int
    ) -> None:
        self.failed.append((invoice.cause, attempt.code))


def money_world(folder: Path, url: str = "") -> MoneyWorld:
    world = new_world(folder, url)
    with write_session(world.engine) as session:
        catalogue.apply(
            session,
            HUB,
            catalogue.parse(PRICED.replace("version = 1", "version = 2")),
            T0,
            whole=True,
        )
    return MoneyWorld(world, Provider())


def line(amount: Money, ppm: int = 190_000, *, inclusive: bool = True) -> Line:
    return Line(None, None, "plan", "plan", {"plan": "Comfort"}, amount, ppm, inclusive=inclusive)
