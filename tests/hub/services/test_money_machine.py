"""Money in is money out: any sequence of invoices, payments, crashes, events, refunds, disputes and credit.

The provider keeps what it really collected, by itself. After every step the books balance and agree with the
invoices; when everything was answered, the cash of the ledger is what the provider has, to the minor unit.
"""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.app.payment_desk import PaymentDesk
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.billing_tables import (
    BillingAccount,
    Invoice,
    LedgerEntry,
    PaymentAttempt,
    PaymentReversal,
)
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Owner
from hub.ports.payment.port import Answer, Charge, Outcome, Place, Reversal
from hub.services import (
    billing_accounts,
    invoice_closing,
    invoices,
    ledger,
    ledger_seals,
    payments,
    refunds,
    reversals,
)
from hub.services.caller import HUB
from hub.services.invoices import Line
from hub.services.ledger import Account
from hub.services.payments import Hooks
from hub.services.tokens import Tokens
from tests.hub.database.sqlite_template import open_migrated
from tests.hub.services.money_world import KEY, Provider
from tests.hub.services.service_world import T0

S = 1_000_000_000
HOUSEHOLDS = {"euro": "EUR", "yen": "JPY", "dinar": "KWD", "second": "EUR"}
ANSWERS = st.lists(
    st.sampled_from(
        [
            Answer(Outcome.PAID),
            Answer(Outcome.FAILED, "", "card_declined"),
            Answer(Outcome.PENDING),
            None,
        ]
    ),
    max_size=4,
)
LINES = st.lists(
    st.tuples(st.integers(-5_000, 10_000), st.sampled_from([0, 81_000, 190_000]), st.booleans()),
    min_size=1,
    max_size=4,
)


@dataclass
class Heard:
    """What the hooks were told."""

    paid: list[str]

    def hooks(self) -> Hooks:
        def paid(_session: Session, invoice: Invoice, _at: int) -> None:
            self.paid.append(invoice.id)

        return Hooks(paid, lambda *_: None)


class Books(RuleBasedStateMachine):
    """A hub without anything but money."""

    issued = Bundle("issued")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_migrated(f"sqlite:///{Path(self.folder.name) / 'hub.db'}")
        self.tokens = Tokens(b"pepper" * 4, random.Random(7).randbytes)  # noqa: S311  of a test
        self.at, self.heard, self.provider = T0, Heard([]), Provider()
        self.said: list[Reversal] = []
        self.desk = PaymentDesk(
            self.engine, self.provider, self.heard.hooks(), KEY, lambda: self.at
        )
        with write_session(self.engine) as session:
            for owner, currency in HOUSEHOLDS.items():
                session.add(Owner(id=owner, name=owner, created_at=T0))
                session.flush()
                account = billing_accounts.of_owner(session, owner, T0)
                account.currency, account.method = currency, "pm"

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        try:
            self.reconcile()
        finally:
            self.engine.dispose()
            self.folder.cleanup()

    def reconcile(self) -> None:
        """Let the provider answer everything, and compare what it has with the cash of the books."""
        self.provider.answers = []
        for said in reversed(self.said):
            self.hear(said)
        for _ in range(4):
            self.at += 3_600 * S
            self.desk.step()
        with read_session(self.engine) as session:
            assert not payments.due(session, self.at + 3_600 * S)
            cash = self.sums(session, Account.CASH)
            assert cash == {c: m for c, m in self.provider.money.items() if m or c in cash}
            assert not any(self.sums(session, Account.PAYOUT).values())
            last = {one.id: str(one.place) for one in sorted(self.said, key=lambda one: one.stage)}
            rows = session.scalars(select(PaymentReversal)).all()
            assert {row.id: row.booked for row in rows} == last
            self.whole(session)

    @rule(target=issued, owner=st.sampled_from(sorted(HOUSEHOLDS)), lines=LINES, due=st.booleans())
    def issue(self, owner: str, lines: list[tuple[int, int, bool]], *, due: bool) -> str:
        currency = HOUSEHOLDS[owner]
        made = [
            Line(None, None, "plan", "plan", {}, Money(minor, currency), ppm, inclusive=inclusive)
            for minor, ppm, inclusive in lines
        ]
        with write_session(self.engine) as session:
            count = len(session.scalars(select(Invoice.id)).all())
            invoice = invoices.issue(
                session, self.tokens, owner, made, self.at, cause=f"test:{count}"
            )
            if due:
                payments.charge(session, invoice, self.at)
            again = invoices.issue(
                session, self.tokens, owner, made[:1], self.at, cause=f"test:{count}"
            )
            assert again.id == invoice.id
            return invoice.id

    @rule(owner=st.sampled_from(sorted(HOUSEHOLDS)))
    def issue_in_another_currency(self, owner: str) -> None:
        other = "JPY" if HOUSEHOLDS[owner] != "JPY" else "EUR"
        line = Line(None, None, "plan", "plan", {}, Money(5, other), 0)
        with read_session(self.engine) as session:
            before = ledger.head(session)
        try:
            with write_session(self.engine) as session:
                invoices.issue(session, self.tokens, owner, [line], self.at, cause="other")
        except InvalidInputError:
            with read_session(self.engine) as session:
                assert ledger.head(session) == before
        else:
            raise AssertionError("two currencies met")

    @rule(invoice=issued, later=st.integers(0, 7_200))
    def charge(self, invoice: str, later: int) -> None:
        with write_session(self.engine) as session:
            row = session.get_one(Invoice, invoice)
            if row.state != "void":
                payments.charge(session, row, self.at + later * S)

    @rule(answers=ANSWERS, seconds=st.sampled_from([1, 300, 7_200]))
    def work(self, answers: list[Answer | None], seconds: int) -> None:
        self.at += seconds * S
        self.provider.answers = answers
        self.desk.step()

    @rule(answers=ANSWERS)
    def crash_between_call_and_record(self, answers: list[Answer | None]) -> None:
        self.provider.answers = [answer for answer in answers if answer is not None]
        with write_session(self.engine) as session:
            requests = payments.begin(session, self.at)
        for request in requests:
            if isinstance(request.ask, Charge):
                self.provider.charge(request.ask)
            elif request.ask is not None:
                self.provider.refund(request.ask)

    @rule(data=st.data())
    def event(self, data: st.DataObject) -> None:
        """An event of the provider comes: late, twice, or before its answer was recorded."""
        with read_session(self.engine) as session:
            begun = session.scalars(
                select(PaymentAttempt.id).where(PaymentAttempt.begun_at.is_not(None))
            ).all()
        if not begun:
            return
        attempt = data.draw(st.sampled_from(sorted(begun)))
        given = self.provider.given.get(attempt)
        if given is None:
            return  # nothing came of it yet
        with write_session(self.engine) as session:
            payments.record(session, attempt, given, self.at, self.heard.hooks())

    @rule(
        data=st.data(),
        share=st.integers(1, 100),
        places=st.sampled_from(
            [
                ("dispute", Place.HELD),
                ("dispute", Place.HELD, Place.KEPT),
                ("dispute", Place.KEPT, Place.HELD, Place.GONE),
                ("refund", Place.GONE),
                ("refund", Place.GONE, Place.KEPT),
            ]
        ),
    )
    def reverse(
        self, data: st.DataObject, share: int, places: tuple[str, *tuple[Place, ...]]
    ) -> None:
        """A bank, or somebody at the provider, takes money back; events of it come later, or not yet."""
        given = self.provider.given
        paid = {
            one.attempt_id: one
            for one in self.provider.asked
            if isinstance(one, Charge) and one.attempt_id in given
        }
        if not paid:
            return
        ask = paid[data.draw(st.sampled_from(sorted(paid)))]
        amount = Money(-(-ask.amount.minor * share // 100), ask.amount.currency)
        kind, *steps = places
        about = f"{kind}-{len(self.said)}", kind, given[ask.attempt_id].reference, amount
        self.said += [Reversal(*about, place, stage, stage) for stage, place in enumerate(steps)]
        if steps[-1] is not Place.KEPT:
            self.provider.money[amount.currency] -= amount.minor

    @rule(data=st.data())
    def hear_something(self, data: st.DataObject) -> None:
        if self.said:
            self.hear(data.draw(st.sampled_from(self.said)))

    def hear(self, said: Reversal) -> None:
        for _ in range(2):
            with write_session(self.engine) as session:
                news = reversals.heard(session, said, self.at)
        assert not news, "the same thing again changed the books"

    @rule(owner=st.sampled_from(sorted(HOUSEHOLDS)), share=st.integers(1, 100))
    def pay_back(self, owner: str, share: int) -> None:
        with write_session(self.engine) as session:
            credit = ledger.credit(session, owner, HOUSEHOLDS[owner])
            amount = Money(credit.minor * share // 100, credit.currency)
            if amount.minor <= 0:
                return
            try:
                refunds.refund(session, owner, amount, self.at, cause=f"{ledger.head(session)[0]}")
            except ConflictError:
                assert ledger.credit(session, owner, credit.currency) == credit

    @rule(owner=st.sampled_from(sorted(HOUSEHOLDS)), minor=st.integers(1, 5_000))
    def give_credit(self, owner: str, minor: int) -> None:
        with write_session(self.engine) as session:
            amount, cause = Money(minor, HOUSEHOLDS[owner]), f"x{ledger.head(session)[0]}"
            for _ in range(2):
                invoices.give_credit(session, HUB, owner, amount, self.at, cause=cause)

    @rule(invoice=issued, how=st.sampled_from(["void", "write_off"]))
    def close(self, invoice: str, how: str) -> None:
        try:
            with write_session(self.engine) as session:
                getattr(invoice_closing, how)(session, HUB, invoice, self.at)
        except ConflictError:
            pass  # paid, closed, or being collected

    @invariant()
    def books_agree(self) -> None:
        if hasattr(self, "engine"):
            with read_session(self.engine) as session:
                self.whole(session)

    def whole(self, session: Session) -> None:
        found = ledger_seals.verify(session, KEY.public_key())
        assert found.wrong == ()
        rows = session.scalars(select(Invoice).order_by(Invoice.sequence)).all()
        assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
        for currency in set(HOUSEHOLDS.values()):
            standing = [r for r in rows if r.currency == currency and r.voided_at is None]
            of = {one: self.sums(session, one).get(currency, 0) for one in Account}
            assert sum(of.values()) == 0
            assert sum(row.net for row in standing) == -of[Account.REVENUE]
            assert sum(row.tax for row in standing) == -of[Account.TAX]
            # Invoices = payments + credit that was used or given + what is open + what was given up.
            assert sum(row.gross for row in standing) == (
                of[Account.CASH]
                + of[Account.GOODWILL]
                + of[Account.CREDIT]
                + of[Account.PAYOUT]
                + of[Account.RECEIVABLE]
                + of[Account.LOSS]
                + of[Account.DISPUTED]
            )
            owed = [invoices.owed(session, row).minor for row in standing]
            assert sum(owed) == of[Account.RECEIVABLE]
        for row in rows:
            due = invoices.owed(session, row).minor
            assert due >= 0
            assert (row.state == "open") == (due > 0), (row.state, due)
            if row.id in self.heard.paid:
                assert row.state == "paid"
        assert len(set(self.heard.paid)) == len(self.heard.paid)
        for owner, currency in HOUSEHOLDS.items():
            assert ledger.credit(session, owner, currency).minor >= 0
            assert session.get_one(BillingAccount, owner).currency == currency

    def sums(self, session: Session, account: Account) -> dict[str, int]:
        query = select(LedgerEntry).where(LedgerEntry.account == account)
        sums: dict[str, int] = {}
        for row in session.scalars(query):
            sums[row.currency] = sums.get(row.currency, 0) + row.amount
        return sums


def test_money_in_is_money_out() -> None:
    checks: dict[str, Any] = {
        "max_examples": 20,
        "stateful_step_count": 25,
        "deadline": None,
        "print_blob": True,
        "phases": (Phase.explicit, Phase.reuse, Phase.generate),
        "suppress_health_check": list(HealthCheck),
    }
    run_state_machine_as_test(Books, settings=settings(**checks))
