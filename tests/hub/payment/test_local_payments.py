"""Payments without a provider: the journal answers the same for ever and notices strangers."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from entitlements.billing.money import Money
from hub.errors import ConflictError, StorageError
from hub.ports.payment.local import LocalPayments
from hub.ports.payment.port import Answer, Charge, Outcome, Payer, PaymentUnreachableError, Refund

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def charge(attempt: str, method: str, owner: str = "owner1") -> Charge:
    return Charge(attempt, Payer(owner, "", method), Money(999, "EUR"), "2030-000001", "", 0, 0)


def outcomes(payments: LocalPayments, method: str, count: int) -> list[Outcome]:
    return [payments.charge(charge(f"{method}-{n}", method)).outcome for n in range(count)]


def test_the_means_of_payment_says_what_happens(tmp_path: Path) -> None:
    payments = LocalPayments(tmp_path / "payments" / "local.log", KEY)
    paid, failed = Outcome.PAID, Outcome.FAILED
    assert outcomes(payments, "local:ok", 2) == [paid, paid]
    assert outcomes(payments, "local:declines", 2) == [failed, failed]
    assert outcomes(payments, "local:declines:2", 3) == [failed, failed, paid]
    assert payments.charge(charge("none", "")).code == "no_payment_method"
    assert payments.charge(charge("odd", "local:declines:x")).code == "no_payment_method"
    for _ in range(2):
        with pytest.raises(PaymentUnreachableError):
            payments.charge(charge("u", "local:unreachable:2"))
    assert payments.charge(charge("u", "local:unreachable:2")).outcome is paid
    with pytest.raises(ConflictError, match="local:ok"):
        payments.setup(Payer("owner1"), "", "", 0)
    payments.close()


def test_the_same_attempt_gets_the_same_answer_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "local.log"
    payments = LocalPayments(path, KEY)
    first = payments.charge(charge("a", "local:declines:2"))
    back = payments.refund(Refund("r", "local-a", Money(5, "EUR"), "", 0, 0))
    payments.close()
    with path.open("ab") as file:
        file.write(b"00 {torn")
    assert path.stat().st_mode & 0o777 == 0o600
    payments = LocalPayments(path, KEY)
    assert payments.charge(charge("a", "local:ok")) == first
    assert payments.refund(Refund("r", "local-a", Money(5, "EUR"), "", 0, 0)) == back
    assert payments.charge(charge("b", "local:declines:2")).outcome is Outcome.FAILED
    assert payments.charge(charge("c", "local:declines:2")) == Answer(Outcome.PAID, "local-c")
    payments.close()


@pytest.mark.parametrize("tamper", ["9.99", "owner1"])
def test_a_line_that_others_changed_is_an_error(tmp_path: Path, tamper: str) -> None:
    path = tmp_path / "local.log"
    payments = LocalPayments(path, KEY)
    for attempt in "ab":
        payments.charge(charge(attempt, "local:ok"))
    payments.close()
    path.write_text(path.read_text().replace(tamper, tamper[::-1], 1))
    with pytest.raises(StorageError, match="Line 1 of"):
        LocalPayments(path, KEY)


def test_a_line_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "local.log"
    payments = LocalPayments(path, KEY)
    for attempt in "abc":
        payments.charge(charge(attempt, "local:ok"))
    payments.close()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[2]]))
    with pytest.raises(StorageError, match="Line 2 of"):
        LocalPayments(path, KEY)
