"""`homeport doctor` on the books of a hub that does not run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.config import Settings
from hub.ports.database.billing_tables import PaymentRemoval
from hub.ports.database.engine import migrate, open_engine, write_session
from hub.ports.database.people_tables import Owner
from hub.services import invoices, ledger_seals, payments
from hub.services.invoices import Line
from hub.services.signing_keys import load_ledger_key
from hub.services.tokens import Tokens
from hub.wiring.doctor import money
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Level
from hub.wiring.doctor.report import Line as Said

T0 = 1_900_000_000 * 10**9
HOUR = 3_600 * 10**9


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.model_validate({"data_dir": tmp_path})
    made.keys_dir.mkdir(mode=0o700)
    engine = open_engine(made.database_url.get_secret_value())
    migrate(engine)
    numbers = iter(range(1_000))
    tokens = Tokens(b"pepper" * 4, lambda size: next(numbers).to_bytes(size))
    line = Line(None, None, "plan", "plan", {}, Money(999, "EUR"), 190_000)
    with write_session(engine) as session:
        session.add(Owner(id="owner", name="Ada", created_at=T0))
        session.flush()
        for cause in ("a", "b", "c"):
            row = invoices.issue(session, tokens, "owner", [line], T0, cause=cause)
        payments.charge(session, row, T0)
        payments.begin(session, T0)
        ledger_seals.seal(session, load_ledger_key(made.keys_dir), T0)
    engine.dispose()
    return made


def looked(settings: Settings, at: int = T0, *, running: bool = False) -> dict[str, Said]:
    return {line.check: line for line in money.check(Case(settings, {}, running, at))}


def changed(settings: Settings, change: Callable[[Session], object]) -> None:
    engine = open_engine(settings.database_url.get_secret_value())
    with write_session(engine) as session:
        change(session)
    engine.dispose()


def test_books_that_are_right(settings: Settings) -> None:
    found = looked(settings)
    assert {line.level for line in found.values()} == {Level.OK}
    assert "all but 0 under a seal" in found["ledger"].seen
    assert found["invoices"].seen.startswith("3, numbered without gaps")
    assert found["payments"].seen == "1 asked for without an answer, 0 planned"


@pytest.mark.parametrize(
    ("statement", "check", "said"),
    [
        ("UPDATE ledger_entry SET amount = 5 WHERE id = 1", "ledger", "Entry 1 was changed."),
        ("UPDATE invoice SET paid_at = 1 WHERE sequence = 2", "invoices", "2030-000002 is not"),
        ("UPDATE invoice SET sequence = 9 WHERE sequence = 3", "invoices", "6 invoices of 2030"),
    ],
)
def test_books_that_somebody_changed(
    settings: Settings, statement: str, check: str, said: str
) -> None:
    changed(settings, lambda session: session.execute(text(statement)))
    line = looked(settings)[check]
    assert line.level is Level.PROBLEM
    assert said in line.seen
    assert line.advice


def test_what_waits_for_too_long(settings: Settings) -> None:
    order = PaymentRemoval(kind="method", reference="pm", ordered_at=T0, next_at=T0, tries=3)
    changed(settings, lambda session: session.add(order))
    assert looked(settings, T0 + 7 * HOUR)["payments"].level is Level.WARNING
    assert looked(settings, T0 + 7 * HOUR, running=True)["payments"].level is Level.PROBLEM
    line = looked(settings, T0 + 25 * HOUR)["payment provider"]
    assert "25 hours ago to forget" in line.seen


def test_a_key_that_is_missing_and_events_that_nobody_believes(settings: Settings) -> None:
    next(settings.keys_dir.glob("ledger*")).unlink()
    assert looked(settings)["ledger"].level is Level.PROBLEM
    assert list(settings.keys_dir.iterdir()) == []
    other = settings.model_copy(
        update={"billing": settings.billing.model_copy(update={"kind": "stripe"})}
    )
    assert looked(other)["payment events"].level is Level.WARNING
