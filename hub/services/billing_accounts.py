"""Billing accounts: in which currency a household pays, how it is taxed, and by what means.

1. A household has one account, made with the vendor's defaults when it is first needed.
2. The currency stands once money moved: a household with a plan, open invoices or credit keeps it.
3. No card or bank number ever comes here, only the payment provider's references.
What must never live here: amounts; the ledger has them.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from entitlements.billing.money import DECIMALS
from entitlements.dates import known_zone
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.billing_tables import BillingAccount, Invoice, LedgerEntry, TaxRegion
from hub.ports.database.people_tables import Owner
from hub.ports.database.record_tables import Setting
from hub.services import audit, looks
from hub.services.caller import Caller, Scope
from hub.services.ledger import Account
from hub.services.price_document import TaxEntry
from hub.services.relations import Act

_SETTING = "billing.vendor"


class NoMethodError(ConflictError):
    """Something is to be paid, and the household has nothing to pay with."""

    code = "payment-method-missing"
    title = "There is no means of payment"


@dataclass(frozen=True, slots=True)
class Vendor:
    """Who sells, and what accounts begin with.

    Args:
        name: as it stands on invoices.
        address: lines, as on invoices.
        tax_id: as on invoices.
        currency: of new accounts.
        region: tax region of new accounts.
        zone: time zone of new accounts, and the one whose new year starts another count of invoices.
        method: means of payment of new accounts, for a hub that collects nothing by itself; empty: none.
    """

    name: str = ""
    address: str = ""
    tax_id: str = ""
    currency: str = "EUR"
    region: str = "DE"
    zone: str = "UTC"
    method: str = ""


def set_vendor(session: Session, vendor: Vendor) -> None:
    """Keep what the hub's settings say, where every service finds it."""
    text = json.dumps(asdict(vendor))
    row = session.get(Setting, _SETTING)
    if row is None or row.value != text:
        session.merge(Setting(name=_SETTING, value=text))


def vendor(session: Session) -> Vendor:
    """Return who sells."""
    row = session.get(Setting, _SETTING)
    return Vendor() if row is None else Vendor(**json.loads(row.value))


def of_owner(session: Session, owner_id: str, at: int) -> BillingAccount:
    """Return the account of a household; made now if there is none.

    Args:
        session: a writing session.
        owner_id: the household.
        at: now, ns.

    Raises:
        NotFoundError: no such household.
    """
    account = session.get(BillingAccount, owner_id)
    if account is not None:
        return account
    account = _new(session, owner_id, at)
    session.add(account)
    session.flush()
    return account


def with_method(session: Session, owner_id: str, at: int) -> BillingAccount:
    """Return the account of a household that has a means of payment.

    Args:
        session: a writing session.
        owner_id: the household.
        at: now, ns.

    Raises:
        NoMethodError: it has none.
        NotFoundError: no such household.
    """
    account = of_owner(session, owner_id, at)
    if not account.method:
        raise NoMethodError(
            "This household has no means of payment. Give one first.", owner=owner_id
        )
    return account


def shown(session: Session, caller: Caller, owner_id: str | None, at: int) -> BillingAccount:
    """Return the account of a household to somebody who may know of it; that staff see it is noted.

    Args:
        session: any session; an account that is not there yet is shown as it would begin.
        caller: one of the household, or staff.
        owner_id: the household; None: the caller's own.
        at: now, ns.

    Raises:
        ForbiddenError: the caller's role in it does not permit that.
        NotFoundError: no such household.
    """
    owner = household(session, caller, owner_id, Act.BILLS)
    looks.look_at_money(session, caller, owner, at)
    return session.get(BillingAccount, owner) or _new(session, owner, at)


def household(session: Session, caller: Caller, owner_id: str | None, act: Act) -> str:
    """Return the household whose money a caller asks about.

    Args:
        session: any session.
        caller: one of the household, or staff.
        owner_id: the household; None: the caller's own.
        act: what the caller's relation to it must permit.

    Raises:
        ForbiddenError: the caller's role in it does not permit that.
        InvalidInputError: staff named none.
        NotFoundError: it is not one of the caller's.
    """
    caller.require(Scope.PRODUCTS_READ)
    if caller.is_staff:
        if owner_id is None:
            raise InvalidInputError("Say whose: name the household with `owner_id`.")
        if session.get(Owner, owner_id) is None:
            raise _unknown(owner_id)
        return owner_id
    if owner_id is not None and not any(tie.owner_id == owner_id for tie in caller.ties):
        raise _unknown(owner_id)
    return caller.household(act, owner_id)


def change(
    session: Session, caller: Caller, owner_id: str | None, at: int, wanted: dict[str, Any]
) -> BillingAccount:
    """Change the account of a household.

    Args:
        session: a writing session.
        caller: an owner of the household, or staff.
        owner_id: the household; None: the caller's own.
        at: now, ns.
        wanted: columns with their new values: `currency`, `zone`, `region`, `tax_id`, `name`, `address`, `email`.

    Raises:
        ConflictError: another currency while it has a plan, owes money, has credit, or is being collected from.
        InvalidInputError: no such currency or zone.
    """
    owner = household(session, caller, owner_id, Act.PAY)
    if caller.is_staff:
        caller.require(Scope.ENTITLEMENTS_WRITE)
    account = of_owner(session, owner, at)
    currency = wanted.get("currency", account.currency)
    if currency not in DECIMALS:
        raise InvalidInputError(f"{currency!r} is no currency of ISO 4217, such as EUR.")
    if not known_zone(wanted.get("zone", account.zone)):
        raise InvalidInputError(f"{wanted['zone']!r} is no time zone, such as Europe/Berlin.")
    if currency != account.currency and _moved(session, account):
        raise ConflictError(
            f"This household pays in {account.currency}, and there are plans, open invoices or credit in it. "
            "End or settle them first.",
            currency=account.currency,
        )
    changed = [name for name, value in wanted.items() if getattr(account, name) != value]
    for name in changed:
        setattr(account, name, wanted[name])
    session.flush()
    if changed:
        details = {"changed": sorted(changed)}  # what it was is the household's own business
        audit.record(session, at, caller.actor, "billing.change", f"owner:{owner}", details)
    return account


def tax(session: Session, account: BillingAccount, tax_class: str) -> tuple[int, str]:
    """Return the tax rate of a class for an account, in ppm, and what the tax is called there."""
    row = session.get(TaxRegion, account.region)
    if row is None:
        return 0, ""
    entry = TaxEntry.model_construct(rates=row.rates, reverse_charge=row.reverse_charge)
    return entry.ppm(tax_class, business=bool(account.tax_id)), row.title


def knows(session: Session, owner_id: str, customer: str) -> bool:
    """Say whether a household is the one that the provider knows by a reference."""
    account = session.get(BillingAccount, owner_id)
    return account is not None and bool(customer) and account.customer == customer


def owes_tax_itself(session: Session, account: BillingAccount) -> bool:
    """Say whether an account is a business that owes the tax itself (reverse charge)."""
    row = session.get(TaxRegion, account.region)
    return row is not None and row.reverse_charge and bool(account.tax_id)


def _new(session: Session, owner_id: str, at: int) -> BillingAccount:
    owner = session.get(Owner, owner_id)
    if owner is None:
        raise _unknown(owner_id)
    defaults = vendor(session)
    return BillingAccount(
        owner_id=owner_id,
        currency=defaults.currency,
        zone=defaults.zone,
        region=defaults.region,
        tax_id="",
        name=owner.name,
        address="",
        email="",
        customer=None,
        method=defaults.method or None,
        method_title=None,
        created_at=at,
    )


def _moved(session: Session, account: BillingAccount) -> bool:
    """Say whether there is something in the account's currency that is not settled."""
    waiting = select(func.count()).where(
        Invoice.owner_id == account.owner_id,
        Invoice.paid_at.is_(None),
        Invoice.voided_at.is_(None),
        Invoice.written_off_at.is_(None),
    )
    agreed = select(func.count()).where(
        Agreement.owner_id == account.owner_id,
        or_(Agreement.closed_at.is_(None), Agreement.next_at.is_not(None)),
    )
    if session.scalar(waiting) or session.scalar(agreed):
        return True
    sums = (
        select(func.sum(LedgerEntry.amount))
        .where(
            LedgerEntry.owner_id == account.owner_id,
            LedgerEntry.account.in_((Account.CREDIT, Account.PAYOUT)),
        )
        .group_by(LedgerEntry.account, LedgerEntry.currency)
    )
    return any(session.scalars(sums))


def _unknown(owner_id: str) -> NotFoundError:
    return NotFoundError(f"There is no household {owner_id}.", owner=owner_id)
