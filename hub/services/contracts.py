"""What is bought beside a product: more warranty, and support contracts.

1. Each purchase has a reference (an order, an invoice line) and happens once for it.
2. What is bought belongs to the owner of that moment; whether it passes on is said by the terms.
3. Nothing is bought that would cover nothing: the buyer is told why instead.
"""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements import contracts as derived
from entitlements.coverage_facts import Contract
from entitlements.coverage_sentences import sentence
from entitlements.warranty import warranty
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.coverage_tables import (
    ContractVersion,
    SupportContract,
    WarrantyExtension,
)
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.coverage_facts import load_one
from hub.services.parties import open_ownership
from hub.services.tokens import Tokens

MOST_TERMS = 50


def extend(
    session: Session,
    caller: Caller,
    product_id: str,
    months: int,
    reference: str,
    at: int,
    tokens: Tokens,
    *,
    hours: float = 0.0,
    cycles: float = 0.0,
    transferable: bool = True,
) -> WarrantyExtension:
    """Add to the warranty of a product.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product.
        months: added behind the end of the warranty.
        reference: of the purchase; one of this product is taken once.
        at: now, ns.
        tokens: source of the id.
        hours: operating hours added to the limit on them.
        cycles: cycles added to the limit on them.
        transferable: whether it passes on to the next owner, if the warranty does.

    Raises:
        ConflictError: the warranty is over, or the reference was used before.
        InvalidInputError: nothing is added, or to a limit that there is not.
        NotFoundError: no such product.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    product = products.visible(session, caller, product_id)
    _check_reference(session, WarrantyExtension, product_id, reference)
    if not 0 <= months <= 600 or min(hours, cycles) < 0 or months + hours + cycles <= 0:
        raise InvalidInputError(
            "An extension adds months (up to 600), hours or cycles, and none less."
        )
    facts = load_one(session, product_id)
    now = warranty(facts, at)
    if not now.covered or facts.terms is None:
        raise ConflictError(
            f"{sentence(now.code, now.args)} There is nothing to extend; sell a support contract "
            "instead.",
            product=product_id,
            reason=now.code,
        )
    for name, added, limit in (
        ("hours", hours, facts.terms.hours),
        ("cycles", cycles, facts.terms.cycles),
    ):
        if added and limit is None:
            raise InvalidInputError(f"The warranty of {product.serial} has no limit on {name}.")
    row = WarrantyExtension(
        id=tokens.new_id(),
        product_id=product_id,
        bought_at=at,
        months=months,
        hours=hours,
        cycles=cycles,
        transferable=transferable,
        epoch=_epoch(session, product_id),
        reference=reference,
        author=caller.actor,
    )
    session.add(row)
    details = {"id": row.id, "months": months, "hours": hours, "cycles": cycles}
    _record(session, caller, product_id, "warranty.extend", at, {**details, "reference": reference})
    return row


def sell(
    session: Session,
    caller: Caller,
    product_id: str,
    plan: str,
    reference: str,
    at: int,
    tokens: Tokens,
    *,
    version: int | None = None,
    terms: int = 1,
    starts_at: int | None = None,
) -> SupportContract:
    """Begin a support contract for a product.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product.
        plan: name of the contract in the catalogue.
        reference: of the purchase; one of this product is taken once.
        at: now, ns.
        tokens: source of the id.
        version: of the contract; None: the newest.
        terms: how many terms, one behind the other.
        starts_at: first instant, ns, not in the past; None: now.

    Raises:
        ConflictError: the reference was used before.
        InvalidInputError: a start in the past, or terms that are none or too many.
        NotFoundError: no such product or contract.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    products.visible(session, caller, product_id)
    _check_reference(session, SupportContract, product_id, reference)
    starts_at = at if starts_at is None else starts_at
    if starts_at < at:
        raise InvalidInputError("A contract cannot begin in the past. Leave the start out for now.")
    _check_terms(terms)
    query = select(ContractVersion).where(ContractVersion.plan == plan)
    if version is not None:
        query = query.where(ContractVersion.version == version)
    sold = session.scalars(query.order_by(ContractVersion.version.desc())).first()
    if sold is None:
        which = plan if version is None else f"{plan} version {version}"
        raise NotFoundError(f"There is no support contract {which} in the catalogue.", plan=plan)
    row = SupportContract(
        id=tokens.new_id(),
        product_id=product_id,
        contract_version_id=sold.id,
        starts_at=starts_at,
        terms=terms,
        epoch=_epoch(session, product_id),
        ended_at=None,
        reference=reference,
        author=caller.actor,
    )
    session.add(row)
    details = {"id": row.id, "plan": plan, "version": sold.version, "terms": terms}
    _record(session, caller, product_id, "contract.sell", at, {**details, "reference": reference})
    return row


def renew(
    session: Session, caller: Caller, contract_id: str, terms: int, at: int
) -> SupportContract:
    """Let a contract have so many terms in all; asking again changes nothing.

    Raises:
        ConflictError: it is over, or it has more terms already.
        InvalidInputError: too many terms.
        NotFoundError: no such contract.
    """
    row, contract = _running(session, caller, contract_id, at)
    _check_terms(terms)
    if terms < row.terms:
        raise ConflictError(
            f"Contract {contract_id} has {row.terms} terms already; it can be ended, not shortened.",
            contract=contract_id,
        )
    if terms > row.terms:
        details = {"id": row.id, "before": row.terms, "terms": terms, "plan": contract.plan}
        row.terms = terms
        _record(session, caller, row.product_id, "contract.renew", at, details)
    return row


def end(
    session: Session, caller: Caller, contract_id: str, reason: str, at: int
) -> SupportContract:
    """End a contract now, before its time.

    Raises:
        ConflictError: it is over.
        NotFoundError: no such contract.
    """
    row, _ = _running(session, caller, contract_id, at)
    row.ended_at = max(at, row.starts_at)
    details = {"id": row.id, "reason": reason}
    _record(session, caller, row.product_id, "contract.end", at, details)
    return row


def _running(
    session: Session, caller: Caller, contract_id: str, at: int
) -> tuple[SupportContract, Contract]:
    caller.require(Scope.ENTITLEMENTS_WRITE)
    row = session.get(SupportContract, contract_id)
    if row is None:
        raise NotFoundError(f"There is no contract {contract_id}.", contract=contract_id)
    facts = load_one(session, row.product_id)
    contract = next(one for one in facts.contracts if one.id == contract_id)
    if derived.end_of(facts, contract) <= at:
        says = derived.contract(facts, contract, at)
        raise ConflictError(
            f"{sentence(says.code, says.args)} Sell a new one.", contract=contract_id
        )
    return row, contract


def _check_terms(terms: int) -> None:
    if not 1 <= terms <= MOST_TERMS:
        raise InvalidInputError(f"A contract has 1 to {MOST_TERMS} terms, not {terms}.")


def _check_reference(
    session: Session,
    table: type[WarrantyExtension] | type[SupportContract],
    product_id: str,
    reference: str,
) -> None:
    if not 1 <= len(reference.strip()) <= 200:
        raise InvalidInputError("Say which purchase this is, in 1 to 200 characters.")
    query = select(table.id).where(table.product_id == product_id, table.reference == reference)
    if (present := session.scalar(query)) is not None:
        raise ConflictError(
            f"The purchase {reference!r} was taken already, as {present}; it counts once.",
            id=present,
        )


def _epoch(session: Session, product_id: str) -> int:
    present = open_ownership(session, product_id)
    return present.epoch if present else 0


def _record(
    session: Session,
    caller: Caller,
    product_id: str,
    action: str,
    at: int,
    details: Mapping[str, object],
) -> None:
    session.flush()
    audit.record(session, at, caller.actor, action, f"product:{product_id}", details)
    changes.note(session, product_id)
