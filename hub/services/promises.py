"""Promises: what an owner of a household gave out that somebody may still take.

1. They end with the role of the owner who made them, so that nobody comes back by their own invitation
   or takes a product along by the code of an offer.
   What a partner may do by a grant of theirs ends too.
2. Offers do not say which owner made them: all of the household end; who stays makes them anew.
"""

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hub.ports.database.ownership_tables import HandOver, Ownership, TransferOffer
from hub.ports.database.people_tables import Invitation, PartnerGrant
from hub.services import audit
from hub.services.caller import Caller


def end(session: Session, caller: Caller, owner_id: str, person_id: str, at: int) -> None:
    """End what somebody gave out as an owner of a household.

    Args:
        session: a writing session.
        caller: who ended their role.
        owner_id: the household.
        person_id: who is no owner of it any more.
        at: now, ns.
    """
    actor = f"person:{person_id}"
    invited = session.scalars(
        update(Invitation)
        .where(
            Invitation.owner_id == owner_id,
            Invitation.created_by == actor,
            Invitation.answered_at.is_(None),
        )
        .values(answered_at=at, answer="withdrawn", answered_by=caller.actor)
        .returning(Invitation.id)
    ).all()
    offered = session.scalars(
        update(TransferOffer)
        .where(TransferOffer.owner_id == owner_id, TransferOffer.closed_at.is_(None))
        .values(closed_at=at, outcome="cancelled")
        .returning(TransferOffer.id)
    ).all()
    granted = session.scalars(
        update(PartnerGrant)
        .where(
            PartnerGrant.owner_id == owner_id,
            PartnerGrant.given_by == actor,
            PartnerGrant.revoked_at.is_(None),
            PartnerGrant.ends_at > at,
        )
        .values(revoked_at=at, revoked_by=caller.actor)
        .returning(PartnerGrant.id)
    ).all()
    owned = select(Ownership.product_id).where(
        Ownership.owner_id == owner_id, Ownership.ended_at.is_(None)
    )
    prepared = session.scalars(
        delete(HandOver)
        .where(HandOver.prepared_by == actor, HandOver.product_id.in_(owned))
        .returning(HandOver.product_id)
    ).all()
    if invited or offered or prepared or granted:
        details = {
            "person": person_id,
            "invitations": sorted(invited),
            "offers": sorted(offered),
            "hand_overs": sorted(prepared),
            "grants": sorted(granted),
        }
        audit.record(session, at, caller.actor, "household.promises", f"owner:{owner_id}", details)
