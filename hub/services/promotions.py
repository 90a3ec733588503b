"""Promotions: codes that make periods of plans cheaper.

1. A household redeems a promotion once, and no more households than it says, also when many try at once.
2. It is taken off the plan, not off add-ons, for a number of periods that are billed from then on.
3. Codes are compared without regard to case and spaces.
"""

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from entitlements.billing.money import DECIMALS
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.agreement_tables import Agreement, Promotion, Redemption
from hub.ports.database.catalogue_tables import Plan
from hub.services import agreements, audit
from hub.services.caller import Caller, Scope
from hub.services.tokens import Tokens

_CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{2,39}")


def create(
    session: Session,
    caller: Caller,
    code: str,
    at: int,
    tokens: Tokens,
    *,
    title: str = "",
    percent_ppm: int | None = None,
    amounts: Mapping[str, int] | None = None,
    periods: int | None = None,
    plans: Sequence[str] | None = None,
    most: int | None = None,
    starts_at: int | None = None,
    ends_at: int | None = None,
) -> Promotion:
    """Make a promotion.

    Args:
        session: a writing session.
        caller: needs `catalogue:write`.
        code: what customers type: 3 to 40 letters, digits and hyphens.
        at: now, ns.
        tokens: source of the id.
        title: as it stands on invoices; empty: the code.
        percent_ppm: share that it takes off, in parts per million; or
        amounts: what it takes off in minor units, by currency.
        periods: how many periods are cheaper; None: all.
        plans: names of the plans that it is for; None: all.
        most: how many households can redeem it; None: any number.
        starts_at: from when, ns; None: now.
        ends_at: until when it can be redeemed, ns; None: until it is ended.

    Raises:
        ConflictError: the code is taken.
        InvalidInputError: the terms make no sense.
        NotFoundError: no such plan.
    """
    caller.require(Scope.CATALOGUE_WRITE)
    code = _normal(code)
    if not _CODE.fullmatch(code):
        raise InvalidInputError(
            "A code has 3 to 40 letters, digits and hyphens, such as SPRING-26."
        )
    _check(percent_ppm, amounts, periods, most)
    starts_at = at if starts_at is None else starts_at
    if ends_at is not None and ends_at <= starts_at:
        raise InvalidInputError("The promotion would end before it starts. Correct the dates.")
    for name in plans or ():
        if session.scalar(select(Plan.id).where(Plan.name == name)) is None:
            raise NotFoundError(f"There is no plan {name}. See the catalogue.", plan=name)
    row = Promotion(
        id=tokens.new_id(),
        code=code,
        title=title or code,
        percent_ppm=percent_ppm,
        amounts=None if amounts is None else dict(amounts),
        periods=periods,
        plans=None if plans is None else sorted(plans),
        most=most,
        redeemed=0,
        starts_at=starts_at,
        ends_at=ends_at,
        created_by=caller.actor,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ConflictError(f"There is a promotion {code} already.", code=code) from error
    audit.record(
        session, at, caller.actor, "promotion.create", f"promotion:{row.id}", {"code": code}
    )
    return row


def listed(session: Session, caller: Caller) -> Sequence[Promotion]:
    """Return all promotions, the newest first.

    Args:
        session: any session.
        caller: needs `records:read`.
    """
    caller.require(Scope.RECORDS_READ)
    query = select(Promotion).order_by(Promotion.starts_at.desc(), Promotion.code)
    return session.scalars(query).all()


def end(session: Session, caller: Caller, code: str, at: int) -> Promotion:
    """End a promotion: nobody redeems it from now on; who has it keeps it. Again: no change.

    Raises:
        NotFoundError: no such promotion.
    """
    caller.require(Scope.CATALOGUE_WRITE)
    row = _by_code(session, code)
    if row is None:
        raise NotFoundError(f"There is no promotion {code}.", code=code)
    if row.ends_at is None or row.ends_at > at:
        row.ends_at = max(at, row.starts_at)
        session.flush()
        object_ = f"promotion:{row.id}"
        audit.record(session, at, caller.actor, "promotion.end", object_, {"code": row.code})
    return row


def redeem(session: Session, agreement: Agreement, plan: str, code: str, at: int) -> Promotion:
    """Give an agreement the promotion of a code.

    Args:
        session: a writing session.
        agreement: which.
        plan: name of its plan.
        code: as typed.
        at: now, ns.

    Raises:
        ConflictError: the household had it before, the agreement has one, it is used up, or it is not
            for this plan or currency.
        NotFoundError: no such code that can be redeemed now.
    """
    row = _by_code(session, code)
    if row is None or at < row.starts_at or (row.ends_at is not None and at >= row.ends_at):
        raise NotFoundError(
            "There is no promotion with this code, or its time is over. Check the code.", code=code
        )
    if row.plans is not None and plan not in row.plans:
        raise ConflictError(
            f"Promotion {row.code} is not for plan {plan}, but for {', '.join(row.plans)}.",
            code=row.code,
        )
    if row.amounts is not None and agreement.currency not in row.amounts:
        raise ConflictError(
            f"Promotion {row.code} takes nothing off in {agreement.currency}.", code=row.code
        )
    if agreement.promotion_id is not None:
        raise ConflictError("The plan has a promotion already; there can be one at a time.")
    taken = (
        update(Promotion)
        .where(
            Promotion.id == row.id,
            or_(Promotion.most.is_(None), Promotion.redeemed < Promotion.most),
        )
        .values(redeemed=Promotion.redeemed + 1)
        .returning(Promotion.id)
    )
    if session.scalars(taken).first() is None:
        raise ConflictError(f"Promotion {row.code} is used up.", code=row.code)
    redemption = Redemption(
        promotion_id=row.id, owner_id=agreement.owner_id, agreement_id=agreement.id, at=at
    )
    try:
        with session.begin_nested():
            session.add(redemption)
    except IntegrityError as error:
        raise ConflictError(
            f"Your household redeemed promotion {row.code} before; it can do so once.",
            code=row.code,
        ) from error
    agreement.promotion_id = row.id
    # The present period counts; what was billed of it before the code came does not.
    given = row.periods
    agreement.promotion_left = None if given is None else given + (agreement.billed > 0)
    session.flush()
    return row


def apply(session: Session, caller: Caller, product_id: str, code: str, at: int) -> Agreement:
    """Redeem a code for a plan that runs: the periods that are billed from now on are cheaper.

    Raises:
        ConflictError: see `redeem`, or a bill waits for its payment.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, agreement or code.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    agreements.require_settled(session, agreement)
    plan = agreements.live(session, agreement)[0].plan.name
    row = redeem(session, agreement, plan, code, at)
    details = {"code": row.code, "product": agreement.product_id}
    object_ = f"agreement:{agreement.id}"
    audit.record(session, at, caller.actor, "agreement.promotion", object_, details)
    return agreement


def give_back(session: Session, agreement: Agreement) -> None:
    """Take the redemption of an agreement back that never began, so that the code can be used again."""
    gone = delete(Redemption).where(Redemption.agreement_id == agreement.id)
    for promotion_id in session.scalars(gone.returning(Redemption.promotion_id)).all():
        session.execute(
            update(Promotion)
            .where(Promotion.id == promotion_id)
            .values(redeemed=Promotion.redeemed - 1)
        )
    session.flush()


def title_of(session: Session, agreement: Agreement) -> str:
    """Return the title of an agreement's promotion; empty without one."""
    if agreement.promotion_id is None:
        return ""
    return session.get_one(Promotion, agreement.promotion_id).title


def count_period(agreement: Agreement) -> None:
    """Count a period that was billed with an agreement's promotion; after the last, it has none."""
    if agreement.promotion_left is not None:
        agreement.promotion_left -= 1
        if agreement.promotion_left <= 0:
            agreement.promotion_id = agreement.promotion_left = None


def _by_code(session: Session, code: str) -> Promotion | None:
    return session.scalars(select(Promotion).where(Promotion.code == _normal(code))).first()


def _normal(code: str) -> str:
    return "".join(code.split()).upper()


def _check(
    percent_ppm: int | None,
    amounts: Mapping[str, int] | None,
    periods: int | None,
    most: int | None,
) -> None:
    if (percent_ppm is None) is (amounts is None):
        raise InvalidInputError("A promotion takes off a share or amounts: give one of the two.")
    if percent_ppm is not None and not 1 <= percent_ppm <= 1_000_000:
        raise InvalidInputError("A share is 1 to 1,000,000 parts per million.")
    for currency, minor in (amounts or {}).items():
        if currency not in DECIMALS or not 0 < minor <= 10**15:
            raise InvalidInputError(f"{minor} {currency} is no amount that can be taken off.")
    if amounts is not None and not amounts:
        raise InvalidInputError("Name an amount in at least one currency.")
    for what, number in (("periods", periods), ("households", most)):
        if number is not None and not 1 <= number <= 1_000_000:
            raise InvalidInputError(f"The number of {what} must be 1 to 1,000,000.")
