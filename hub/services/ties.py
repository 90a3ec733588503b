"""Reads what ties somebody to products at an instant: memberships of households, grants of a partner.

1. What has ended, has not begun or was revoked ties nobody.
2. An installer looks no further back than the beginning of the membership.
3. A service that changes a tie notes the person, so that what they have open asks again at once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from hub.ports.database.engine import after_commit
from hub.ports.database.people_tables import Membership, PartnerGrant, Person
from hub.services.relations import ACTS, Act, Relation, Tie

_KEY = "changed_people"


def of(session: Session, person: Person, at: int) -> tuple[Tie, ...]:
    """Return the ties of a person that hold at an instant (ns), in the order of their ids."""
    if person.partner_id is not None:
        return _grants(session, person.partner_id, at)
    if person.owner_id is None:
        return ()
    query = select(Membership).where(
        Membership.person_id == person.id,
        Membership.starts_at <= at,
        Membership.ended_at.is_(None),
        or_(Membership.ends_at.is_(None), Membership.ends_at > at),
    )
    return tuple(_of_membership(row) for row in session.scalars(query.order_by(Membership.id)))


def _of_membership(row: Membership) -> Tie:
    relation = Relation(row.relation)
    return Tie(
        id=row.id,
        relation=relation,
        acts=ACTS[relation],
        owner_id=row.owner_id,
        since=row.starts_at if relation is Relation.INSTALLER else 0,
        until=row.ends_at,
        product_ids=None if row.product_ids is None else frozenset(row.product_ids),
    )


def _grants(session: Session, partner_id: str, at: int) -> tuple[Tie, ...]:
    query = select(PartnerGrant).where(
        PartnerGrant.partner_id == partner_id,
        PartnerGrant.starts_at <= at,
        PartnerGrant.ends_at > at,
        PartnerGrant.revoked_at.is_(None),
    )
    return tuple(
        Tie(
            id=row.id,
            relation=Relation.PARTNER,
            acts=ACTS[Relation.PARTNER] & {Act(word) for word in row.acts},
            owner_id=row.owner_id,
            since=row.starts_at,
            until=row.ends_at,
            product_ids=None if row.product_ids is None else frozenset(row.product_ids),
            model=row.model_number,
            region=row.region,
            order_prefix=row.order_prefix,
        )
        for row in session.scalars(query.order_by(PartnerGrant.id))
    )


def note(session: Session, person_id: str) -> None:
    """Note that in this transaction what somebody may do changes."""
    session.info.setdefault(_KEY, set()).add(person_id)


def listen(engine: Engine, hear: Callable[[frozenset[str]], None]) -> None:
    """Call `hear` with the ids of the people of each transaction that changed what they may do.

    It is called on the thread that committed and must be quick and not raise.
    """

    def committed(info: Mapping[Any, Any]) -> None:
        if people := info.get(_KEY):
            hear(frozenset(people))

    after_commit(engine, committed)
