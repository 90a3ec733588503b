"""Who looked at whose product or bills, when and why: told by the services that show it, kept for its owner.

1. Staff and partners look; what a household's own people do is theirs. What nobody owns is nobody's.
2. Staff say why, with the request (`Caller.reason`) or once for a product; a partner's reason is that
   of the grant. Who says nothing sees nothing.
3. Looking writes nothing: looks are noted in the session and written when it has ended
   (`look_book`). One is kept for each person, product, part, reason and quarter of an hour.
4. Rows are chained like the audit trail's. Pruning removes the oldest and is audited with the digest
   of the last one removed, on which the chain goes on.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from hub.errors import ForbiddenError, InvalidInputError
from hub.ports.database.access_tables import Look, StatedReason
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import PartnerGrant, Person
from hub.ports.database.record_tables import Audit
from hub.services import audit, products
from hub.services.caller import Caller, Reason, Role
from hub.services.relations import Act
from hub.services.tokens import Tokens

QUARTER_NS = 900_000_000_000
REMEMBERED_NS = 4 * 3_600_000_000_000
"""How long a reason that was stated holds for a product."""
MAX_REASON = 200
REASON_HEADER = "x-homeport-reason"
CASE_HEADER = "x-homeport-case"
_KEY = "looks"
_OF_THE_HUB = "operator token"


class Part(StrEnum):
    """What of a product was looked at."""

    PRODUCT = "product"
    TELEMETRY = "telemetry"
    FINDINGS = "findings"
    TIMELINE = "timeline"
    CASES = "cases"
    MONEY = "money"


class ReasonRequiredError(ForbiddenError):
    """Staff must say why they look at somebody's product."""

    code = "reason-required"
    title = "Say why you look at this product"


@dataclass(frozen=True, slots=True)
class Seen:
    """A look that is to be kept; `at` in ns. Without a product it was at what is the whole household's."""

    product_id: str | None
    owner_id: str
    person_id: str
    role: str
    part: str
    reason: str
    case_reference: str | None
    at: int

    @property
    def key(self) -> tuple[str, ...]:
        """What is kept only once."""
        quarter = str(self.at // QUARTER_NS)
        case = self.case_reference or ""
        return (
            self.product_id or self.owner_id,
            self.person_id,
            self.part,
            self.reason,
            case,
            quarter,
        )


@dataclass(frozen=True, slots=True)
class LookView:
    """A look as the owner reads it; `who` is a stable pseudonym, `at` in ns."""

    id: int
    role: Role
    who: str
    part: Part
    reason: str
    case_reference: str | None
    at: int


def look(session: Session, caller: Caller, product_id: str, part: Part, at: int) -> None:
    """Note that a caller is shown a part of a product; who is of its household is not noted.

    Raises:
        ReasonRequiredError: the caller is staff and did not say why.
    """
    if caller.role is Role.CUSTOMER:
        return
    owner_id = owner_of(session, product_id)
    if owner_id is None:
        return
    why = reason_of(session, caller, product_id, at)
    _note(session, caller, product_id, owner_id, part, why, at)


def look_at_money(session: Session, caller: Caller, owner_id: str, at: int) -> None:
    """Note that a caller is shown what a household pays; who is of it is not noted.

    Nor is it noted twice: who was shown the money of a product of the household in this session was shown this.

    Raises:
        ReasonRequiredError: the caller is staff and did not say why.
    """
    if not caller.is_staff:
        return
    told = ((one.owner_id, one.part) for one in noted(session.info))
    if (owner_id, str(Part.MONEY)) not in told:
        why = _reason_for_household(session, caller, owner_id, at)
        _note(session, caller, None, owner_id, Part.MONEY, why, at)


def _note(
    session: Session,
    caller: Caller,
    product_id: str | None,
    owner_id: str,
    part: Part,
    why: Reason,
    at: int,
) -> None:
    seen = Seen(
        product_id=product_id,
        owner_id=owner_id,
        person_id=caller.person_id,
        role=str(caller.role),
        part=str(part),
        reason=why.text,
        case_reference=why.case,
        at=at,
    )
    session.info.setdefault(_KEY, []).append(seen)


def noted(info: Mapping[Any, Any]) -> Sequence[Seen]:
    """Return the looks noted in a session that has ended."""
    found: Sequence[Seen] = info.get(_KEY, ())
    return found


def reason_of(session: Session, caller: Caller, product_id: str, at: int) -> Reason:
    """Return why a caller looks at a product.

    Raises:
        ReasonRequiredError: the caller is staff and did not say.
    """
    if caller.role is Role.PARTNER:
        tie = products.tie_to(session, caller, product_id, Act.SEE)
        return Reason(session.get_one(PartnerGrant, tie.id).reason)
    if said := _said(caller):
        return said
    row = session.get(StatedReason, (caller.person_id, product_id))
    if row is None or row.ends_at <= at:
        raise ReasonRequiredError(
            "Say why you look at this product: send the header X-Homeport-Reason, or state a "
            f"reason at /api/v1/products/{product_id}/reason. Its owner reads it.",
            product=product_id,
        )
    return Reason(row.reason, row.case_reference)


def _reason_for_household(session: Session, caller: Caller, owner_id: str, at: int) -> Reason:
    """Return why staff look at what is a household's; a reason stated for one of its products holds."""
    if said := _said(caller):
        return said
    query = (
        select(StatedReason)
        .join(Ownership, Ownership.product_id == StatedReason.product_id)
        .where(
            StatedReason.person_id == caller.person_id,
            StatedReason.ends_at > at,
            Ownership.owner_id == owner_id,
            Ownership.ended_at.is_(None),
        )
        .order_by(StatedReason.stated_at.desc())
    )
    row = session.scalars(query.limit(1)).first()
    if row is None:
        raise ReasonRequiredError(
            "Say why you look at what this household pays: send the header X-Homeport-Reason, or state a "
            "reason for one of its products. The household reads it.",
            household=owner_id,
        )
    return Reason(row.reason, row.case_reference)


def _said(caller: Caller) -> Reason | None:
    """Return the reason that came with a request; the hub's own token has one."""
    return caller.reason or (None if caller.person_id else Reason(_OF_THE_HUB))


def state(
    session: Session, caller: Caller, product_id: str, reason: str, case: str | None, at: int
) -> int:
    """Remember why a member of the staff looks at a product, and return until when (ns).

    Raises:
        ForbiddenError: the caller is nobody of the staff.
        InvalidInputError: no reason.
        NotFoundError: no such product.
    """
    products.visible(session, caller, product_id)
    if not caller.is_staff or not caller.person_id:
        raise ForbiddenError("Only people of the staff state reasons. Sign in as one.")
    checked = checked_reason(reason, case)
    row = StatedReason(
        person_id=caller.person_id,
        product_id=product_id,
        reason=checked.text,
        case_reference=checked.case,
        stated_at=at,
        ends_at=at + REMEMBERED_NS,
    )
    session.merge(row)
    session.flush()
    return row.ends_at


def checked_reason(reason: str, case: str | None = None) -> Reason:
    """Return a reason that may be kept; raises `InvalidInputError` if it is empty or too long."""
    text, case = reason.strip(), (case or "").strip() or None
    if not text and case is not None:
        text = f"case {case}"
    fits = 3 <= len(text) <= MAX_REASON and len(case or "") <= 64
    if not fits or not (text + (case or "")).isprintable():
        raise InvalidInputError(
            f"Say why in 3 to {MAX_REASON} characters, or give the number of a case."
        )
    return Reason(text, case)


def reason_in(headers: Mapping[str, str]) -> Reason | None:
    """Return the reason that the headers of a request state; None if they state none.

    Raises:
        InvalidInputError: it is too short, too long, or no text.
    """
    reason, case = headers.get(REASON_HEADER, ""), headers.get(CASE_HEADER)
    return checked_reason(reason, case) if reason or case else None


def listed(
    session: Session,
    caller: Caller,
    product_id: str,
    tokens: Tokens,
    *,
    names: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> list[LookView]:
    """List who looked at a product, or at the bills, of its present household in its time, the newest first.

    Args:
        session: any session.
        caller: of the household, as far as they may know its people; or staff.
        product_id: of the product.
        tokens: makes the pseudonyms.
        names: name the people instead of giving pseudonyms.
        before: only looks with smaller ids (the last one of the page before).
        limit: at most so many.

    Raises:
        ForbiddenError: the caller's relation does not permit it.
        NotFoundError: no such product, or not one of the caller's.
    """
    products.visible(session, caller, product_id, Act.PEOPLE)
    query = (
        select(Look, Person.name)
        .outerjoin(Person, Person.id == Look.person_id)
        .where(
            or_(Look.product_id == product_id, Look.product_id.is_(None)),
            Look.owner_id == owner_of(session, product_id),
        )
        .order_by(Look.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Look.id < before)
    return [
        LookView(
            id=row.id,
            role=Role(row.role),
            who=name if names and name else pseudonym(tokens, row.person_id),
            part=Part(row.part),
            reason=row.reason,
            case_reference=row.case_reference,
            at=row.at,
        )
        for row, name in session.execute(query)
    ]


def pseudonym(tokens: Tokens, person_id: str) -> str:
    """Return what stands for a person: always the same, and not to be traced back without the key."""
    return tokens.claim_hash(f"look/{person_id}")[:8].upper() if person_id else "hub"


def write(session: Session, seen: Sequence[Seen]) -> int:
    """Append looks that are not there yet, in a writing session; returns how many."""
    newest = session.execute(select(Look.id, Look.digest).order_by(Look.id.desc()).limit(1)).first()
    id_, digest = (newest.id, newest.digest) if newest else (0, audit.GENESIS)
    if not newest:
        id_, digest = _pruned(session)
    written = 0
    for one in {one.key: one for one in reversed(seen)}.values():
        key = hashlib.sha256(f"{one.reason}\n{one.case_reference or ''}".encode()).hexdigest()
        quarter = one.at // QUARTER_NS * QUARTER_NS
        present = select(Look.id).where(
            Look.product_id == one.product_id
            if one.product_id
            else and_(Look.product_id.is_(None), Look.owner_id == one.owner_id),
            Look.person_id == one.person_id,
            Look.part == one.part,
            Look.reason_key == key,
            Look.quarter == quarter,
        )
        if session.scalar(present) is not None:
            continue
        id_ += 1
        row = Look(
            id=id_,
            product_id=one.product_id,
            owner_id=one.owner_id,
            person_id=one.person_id,
            role=one.role,
            part=one.part,
            reason=one.reason,
            case_reference=one.case_reference,
            reason_key=key,
            quarter=quarter,
            at=one.at,
            previous=digest,
        )
        row.digest = digest = _digest(row)
        session.add(row)
        session.flush()
        written += 1
    return written


def prune(session: Session, before: int, at: int) -> int:
    """Remove the looks from before an instant (ns), the oldest first; returns how many."""
    last = session.execute(
        select(Look.id, Look.digest).where(Look.at < before).order_by(Look.id.desc()).limit(1)
    ).first()
    if last is None:
        return 0
    removed: Any = session.execute(delete(Look).where(Look.id <= last.id))
    details = {"through": last.id, "digest": last.digest}
    audit.record(session, at, "hub", "looks.prune", "looks", details)
    return int(removed.rowcount)


def verify(session: Session) -> int | None:
    """Check the chain from the last pruning on; returns the first wrong row's id, None if whole."""
    id_, digest = _pruned(session)
    erased = audit.erased_rows(session, audit.ERASE_LOOKS)
    for row in session.scalars(select(Look).order_by(Look.id).execution_options(yield_per=1_000)):
        id_ += 1
        if row.id != id_ or row.previous != digest:
            return id_
        if row.digest != _digest(row) and row.id not in erased:
            return id_
        digest = row.digest
    return None


def owner_of(session: Session, product_id: str) -> str | None:
    """Return the household that owns a product now."""
    return session.scalar(
        select(Ownership.owner_id).where(
            Ownership.product_id == product_id, Ownership.ended_at.is_(None)
        )
    )


def _pruned(session: Session) -> tuple[int, str]:
    """Return id and digest of the last look that was pruned, on which the chain goes on."""
    row = session.scalars(
        select(Audit)
        .where(Audit.object == "looks", Audit.action == "looks.prune")
        .order_by(Audit.id.desc())
        .limit(1)
    ).first()
    return (0, audit.GENESIS) if row is None else (row.details["through"], row.details["digest"])


def _digest(row: Look) -> str:
    content = [
        row.id,
        row.product_id,
        row.owner_id,
        row.person_id,
        row.role,
        row.part,
        row.reason,
        row.case_reference,
        row.at,
        row.previous,
    ]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
