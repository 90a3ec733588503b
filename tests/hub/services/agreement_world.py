"""A hub that bills: plans with prices, a clock of its own, and a payment provider that does as it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.status import Status, status
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Subscription
from hub.ports.payment.port import Answer, Outcome
from hub.services import agreements, billing_accounts, catalogue, ledger, payments, renewals
from hub.services.caller import HUB, Caller
from hub.services.ledger import Account
from tests.hub.services.service_world import DAY, T0, World, new_world

if TYPE_CHECKING:
    from hub.services.products import Manufactured

PLANS = """
[taxes.DE]
rates = { standard = "19" }
[plans.basic]
[[plans.basic.versions]]
version = 1
price = { EUR = "3.10", JPY = 400 }
tax = "standard"
grace_days = 7
retry_days = [1, 3]
features = { telemetry = {}, boost_hours = { value = 5 } }
[plans.full]
[[plans.full.versions]]
version = 1
price = { EUR = "9.99", JPY = 1200 }
tax = "standard"
grace_days = 7
retry_days = [1, 3]
trial_days = 14
cancel_refund = "unused"
features = { telemetry = {}, boost_hours = { value = 20 } }
[plans.yearly]
[[plans.yearly.versions]]
version = 1
price = { EUR = "99.00" }
interval_months = 12
withdrawal_refund = "unused"
features = { telemetry = {}, boost_hours = { value = 20 } }
[plans.free]
[[plans.free.versions]]
version = 1
features = { telemetry = {} }
[plans.more-boost]
addon = true
[[plans.more-boost.versions]]
version = 1
price = { EUR = "1.50", JPY = 200 }
tax = "standard"
features = { boost_hours = { value = 10 } }
"""


@dataclass
class BillingWorld:
    """A product with an owner who has a means of payment, at an instant.

    Args:
        world: the database.
        answers: whether the provider collects an attempt, by invoice and attempt.
    """

    world: World
    now: int = T0
    answers: Callable[[Invoice, PaymentAttempt], bool] = field(default=lambda _i, _a: True)

    def __post_init__(self) -> None:
        with write_session(self.world.engine) as session:
            catalogue.apply(session, HUB, catalogue.parse(PLANS), T0)
        self.anna: Caller = self.world.customer()
        self.made: Manufactured = self.world.product()
        self.world.claim(self.made, self.anna)
        self.pay_by("card")

    @property
    def product_id(self) -> str:
        return self.made.product_id

    @property
    def owner_id(self) -> str:
        assert self.anna.owner_id is not None
        return self.anna.owner_id

    def moved(self, world: World) -> "BillingWorld":
        """Return the same in another database, which has all that is in this one."""
        self.world = world
        return self

    def pay_by(self, method: str | None, **columns: str) -> None:
        """Give the household a means of payment, or take it away."""
        with write_session(self.world.engine) as session:
            account = billing_accounts.of_owner(session, self.owner_id, self.now)
            account.method = method
            for name, value in columns.items():
                setattr(account, name, value)

    def run(self, until: int) -> None:
        """Let time pass: whatever is due happens at its instant, in order."""
        while (due := self._next(until)) is not None:
            self.now = max(self.now, due)
            self.step()
        self.now = max(self.now, until)

    def step(self) -> None:
        """Do all that is due now: what the clock and the payment desk do."""
        while True:
            with write_session(self.world.engine) as session:
                acted = [
                    renewals.act(session, self.world.tokens, one, self.now)
                    for one in renewals.due(session, self.now)
                ]
            with write_session(self.world.engine) as session:
                requests = payments.begin(session, self.now)
            for request in requests:
                self._answer(request.attempt_id)
            if not acted and not requests:
                return

    def _answer(self, attempt_id: str) -> None:
        with write_session(self.world.engine) as session:
            attempt = session.get_one(PaymentAttempt, attempt_id)
            paid = True
            if attempt.invoice_id is not None and attempt.amount:
                invoice = session.get_one(Invoice, attempt.invoice_id)
                paid = self.answers(invoice, attempt)
            answer = Answer(Outcome.PAID if paid else Outcome.FAILED, f"ref_{attempt_id}")
            hooks = renewals.hooks(self.world.tokens)
            payments.record(session, attempt_id, answer, self.now, hooks)

    def _next(self, until: int) -> int | None:
        with read_session(self.world.engine) as session:
            waiting = set(renewals.due(session, until))
            found = [
                one.next_at
                for one in session.scalars(select(Agreement))
                if one.next_at is not None and one.id in waiting
            ]
            found += session.scalars(
                select(PaymentAttempt.next_at).where(
                    PaymentAttempt.answered_at.is_(None), PaymentAttempt.next_at <= until
                )
            )
        return min(found, default=None)

    def agreement(self) -> Agreement:
        with read_session(self.world.engine) as session:
            return session.scalars(
                select(Agreement)
                .where(Agreement.product_id == self.product_id)
                .order_by(Agreement.concluded_at.desc(), Agreement.closed_at.is_not(None))
            ).all()[0]

    def base(self) -> Subscription:
        with read_session(self.world.engine) as session:
            return agreements.base(session, self.agreement())

    def status(self, at: int | None = None) -> Status:
        with read_session(self.world.engine) as session:
            fact = agreements.fact_of(session, self.base())
        return status(fact, self.now if at is None else at)

    def invoices(self) -> list[Invoice]:
        with read_session(self.world.engine) as session:
            return list(session.scalars(select(Invoice).order_by(Invoice.sequence)))

    def grosses(self) -> list[tuple[int, str]]:
        return [(one.gross, one.state) for one in self.invoices()]

    def check_money(self) -> None:
        """Money in is money out: the ledger holds, and cash is what invoices and credit say."""
        with read_session(self.world.engine) as session:
            for currency in ("EUR", "JPY"):
                sums = {
                    account: ledger.balance(session, self.owner_id, account, currency).minor
                    for account in Account
                }
                assert sum(sums.values()) == 0
                rows = session.scalars(select(Invoice).where(Invoice.currency == currency)).all()
                billed = sum(row.gross for row in rows if row.state != "void")
                owed = sum(agreements_owed(session, row) for row in rows)
                assert -(sums[Account.REVENUE] + sums[Account.TAX]) == billed
                assert sums[Account.RECEIVABLE] == owed
                assert sums[Account.CREDIT] <= 0


def agreements_owed(session: Session, invoice: Invoice) -> int:
    return ledger.owed(session, invoice.id, invoice.currency).minor


def new_billing_world(folder: Path, url: str = "") -> BillingWorld:
    return BillingWorld(new_world(folder, url))


__all__ = ["DAY", "T0", "BillingWorld", "new_billing_world"]
