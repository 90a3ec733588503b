"""Disputed claims: begun by who has code and product, answered by the owner, decided by support.

1. A dispute is seen by its two sides and by staff; for others it does not exist.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from hub.api.bodies import ID_PATTERN, Answer, Line, Request, examples
from hub.api.certificates import issuer_of
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.product_bodies import ClaimProduct
from hub.api.transfers import HandedOver
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Dispute as DisputeRow
from hub.services import disputes

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["ownership"])

DisputeId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the dispute.")]


class Dispute(Answer):
    """A dispute about who owns a product."""

    id: str
    product_id: str
    owner_id: str
    claimant_id: str
    status: str = Field(
        description="`open`; `due`: the owner stayed silent, its claimant may end it; `lapsed`; or "
        "how it ended."
    )
    opened_at: Instant
    deadline: Instant
    closed_at: Instant | None

    model_config = examples(
        {
            "id": "w2k7f4c9x1m8d3q5",
            "product_id": "b7x2m9q4k1v8c3z6",
            "owner_id": "h7d2n4v9s0b6j1t5",
            "claimant_id": "m3z8x5k0q7c2v9b4",
            "status": "open",
            "opened_at": "2026-01-31T08:00:00Z",
            "deadline": "2026-02-14T08:00:00Z",
            "closed_at": None,
        }
    )


class Disputes(Answer):
    """Disputes, the latest first."""

    disputes: list[Dispute]


class DecideDispute(Request):
    """What support decided, and why."""

    to_claimant: bool = Field(description="Hand the product over; else it stays where it is.")
    reason: Line

    model_config = examples({"to_claimant": True, "reason": "showed the bill of sale"})


@ROUTER.post(
    "/disputes", operation_id="open_dispute", summary="Dispute who owns a product", status_code=201
)
def open_dispute(hub: HubDep, caller: CallerDep, body: ClaimProduct) -> Dispute:
    """Say that a product at hand, which somebody else owns, is the caller's."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        row = disputes.begin(
            session,
            caller,
            body.claim_code,
            at,
            hub.tokens,
            hub.dispute_days,
            serial=body.serial,
        )
        return _shown(row, at)


@ROUTER.get("/disputes", operation_id="list_disputes", summary="List disputes")
def list_disputes(hub: HubDep, caller: CallerDep) -> Disputes:
    """List the disputes that the caller's household is part of; staff see all."""
    at = hub.clock()
    with read_session(hub.engine) as session:
        return Disputes(disputes=[_shown(row, at) for row in disputes.listed(session, caller)])


@ROUTER.post(
    "/disputes/{dispute_id}/refuse",
    operation_id="refuse_dispute",
    summary="Say as the owner that the product stays",
    status_code=204,
    response_class=Response,
)
def refuse_dispute(hub: HubDep, caller: CallerDep, dispute_id: DisputeId) -> None:
    """End a dispute with a no; support may be asked to decide."""
    with write_session(hub.engine) as session:
        disputes.refuse(session, caller, dispute_id, hub.clock())


@ROUTER.post(
    "/disputes/{dispute_id}/agree",
    operation_id="agree_dispute",
    summary="Say as the owner that the product is the claimant's",
    status_code=204,
    response_class=Response,
)
def agree_dispute(hub: HubDep, caller: CallerDep, dispute_id: DisputeId) -> None:
    """Hand the product to the claimant at once."""
    with write_session(hub.engine) as session:
        disputes.agree(session, caller, dispute_id, hub.clock(), hub.tokens, issuer_of(hub))


@ROUTER.post(
    "/disputes/{dispute_id}/withdraw",
    operation_id="withdraw_dispute",
    summary="Take a dispute back",
    status_code=204,
    response_class=Response,
)
def withdraw_dispute(hub: HubDep, caller: CallerDep, dispute_id: DisputeId) -> None:
    """End a dispute as its claimant, without the product."""
    with write_session(hub.engine) as session:
        disputes.withdraw(session, caller, dispute_id, hub.clock())


@ROUTER.post(
    "/disputes/{dispute_id}/complete",
    operation_id="complete_dispute",
    summary="Take the product after the deadline",
)
def complete_dispute(hub: HubDep, caller: CallerDep, dispute_id: DisputeId) -> HandedOver:
    """Become the owner because the owner stayed silent, with the product at hand again."""
    with write_session(hub.engine) as session:
        handed = disputes.complete(
            session, caller, dispute_id, hub.clock(), hub.tokens, issuer_of(hub)
        )
    return HandedOver.model_validate(handed)


@ROUTER.post(
    "/disputes/{dispute_id}/decide",
    operation_id="decide_dispute",
    summary="Settle a dispute as support",
    status_code=204,
    response_class=Response,
)
def decide_dispute(
    hub: HubDep, caller: CallerDep, dispute_id: DisputeId, body: DecideDispute
) -> None:
    """Settle a dispute that goes on, or one that the owner refused; audited."""
    with write_session(hub.engine) as session:
        disputes.decide(
            session,
            caller,
            dispute_id,
            body.reason,
            hub.clock(),
            hub.tokens,
            issuer_of(hub),
            to_claimant=body.to_claimant,
        )


def _shown(row: DisputeRow, at: int) -> Dispute:
    return Dispute(
        id=row.id,
        product_id=row.product_id,
        owner_id=row.owner_id,
        claimant_id=row.claimant_id,
        status=disputes.status(row, at),
        opened_at=row.opened_at,
        deadline=row.deadline,
        closed_at=row.closed_at,
    )
