"""The facts of a product as they were known at an earlier instant.

1. What was decided then was decided from these; no later payment, claim or lift changes it.
2. A fact was not known before it was made: a claim, hold or grant before it began, a subscription
   before it was written down, an end before it came, an outage before it was over. Terms of a
   subscription that were replaced since are those that stood then.
3. The catalogue is the present one: plan versions never change, and what a model says of its
   features counts for all times. The end of a hold or grant is told as it came to be, for what
   support planned is not kept; it does not change what was allowed before.
"""

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.outages import with_outages
from entitlements.facts import Facts, Subscription
from hub.ports.database import ownership_tables as o
from hub.services import outages
from hub.services.facts import load_one


def load_known(session: Session, product_id: str, known_at: int) -> Facts:
    """Load the facts of one product as the hub knew them at an instant (ns).

    Raises:
        NotFoundError: no such product.
    """
    facts = load_one(session, product_id)
    device = facts.device
    if device.revoked_at is not None and device.revoked_at > known_at:
        device = replace(device, revoked_at=None)
    return replace(
        facts,
        device=device,
        ownership=tuple(
            replace(one, end=None if one.end is not None and one.end > known_at else one.end)
            for one in facts.ownership
            if one.start <= known_at
        ),
        subscriptions=_subscriptions(session, product_id, facts, known_at),
        holds=tuple(one for one in facts.holds if one.start <= known_at),
        grants=tuple(one for one in facts.grants if one.start <= known_at),
    )


def keep_terms(session: Session, row: o.Subscription, at: int) -> None:
    """Keep the terms of a subscription before others take their place; call it before the change.

    Args:
        session: a writing session.
        row: as it stands.
        at: now, ns.
    """
    if session.get(o.SubscriptionTerms, (row.id, at)) is None:
        terms = {name: getattr(row, name) for name in _TERMS}
        session.add(o.SubscriptionTerms(subscription_id=row.id, replaced_at=at, **terms))
        session.flush()


_TERMS = (
    "trial_end",
    "paid_until",
    "grace_s",
    "cancelled_at",
    "ends_at",
    "retry_s",
    "paused_at",
    "resumes_at",
    "withdrawn_at",
)


def _subscriptions(
    session: Session, product_id: str, facts: Facts, known_at: int
) -> tuple[Subscription, ...]:
    made = select(o.Subscription.id, o.Subscription.created_at).where(
        o.Subscription.product_id == product_id
    )
    known = {row.id for row in session.execute(made) if row.created_at <= known_at}
    later = (
        select(o.SubscriptionTerms)
        .where(
            o.SubscriptionTerms.subscription_id.in_(known),
            o.SubscriptionTerms.replaced_at > known_at,
        )
        .order_by(o.SubscriptionTerms.replaced_at.desc())
    )
    # The earliest of the later replacements wins: it took the place of what stood then.
    stood = {
        row.subscription_id: {name: getattr(row, name) for name in _TERMS}
        for row in session.scalars(later)
    }
    down = [one for one in outages.all_of(session) if one.end <= known_at]
    return tuple(
        with_outages(replace(one, **stood.get(one.id, {})), down)
        for one in facts.subscriptions
        if one.id in known
    )
