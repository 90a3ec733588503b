"""What a relation to a product permits: one table, and the ties that people have.

1. A household's people stand to it as owner, member, viewer or installer; partners have grants.
2. `ACTS` says what each relation permits. Nothing else in the hub does: whoever wants to know asks
   `products.visible` with an act, or `Caller.may` where no product is concerned.
3. A tie holds between two instants. Who signs in with it is given those in force at that instant,
   and looks no further back than the tie says.
What must never live here: the database, and what kinds of accounts may call (`caller.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Act(StrEnum):
    """What somebody may do with a product, or with a household."""

    SEE = "see"
    """Know of it: model, name, whether it is online, what it is entitled to, its configuration."""
    ALERTS = "alerts"
    """Read alerts and notices."""
    HISTORY = "history"
    """Read what it measured, and findings about that."""
    BILLS = "bills"
    """Read what was agreed about paying for it."""
    PAY = "pay"
    """Say how the household pays, and pay."""
    PEOPLE = "people"
    """Know who its people are, and who looked at it."""
    ACKNOWLEDGE = "acknowledge"
    """Acknowledge, resolve and mute alerts."""
    CONFIGURE = "configure"
    COMMAND = "command"
    CASES = "cases"
    """Open support cases and follow them."""
    CLAIM = "claim"
    RELEASE = "release"
    TRANSFER = "transfer"
    INVITE = "invite"
    """Invite, remove and give roles to people, and give grants to partners."""
    CONSENT = "consent"
    """Let support look at what was measured."""


class Relation(StrEnum):
    """How somebody stands to a product; the first four are words of `membership.relation`."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"
    INSTALLER = "installer"
    PARTNER = "partner"


_VIEWER = frozenset({Act.SEE, Act.ALERTS, Act.HISTORY, Act.BILLS, Act.PEOPLE})
_MEMBER = _VIEWER | {Act.ACKNOWLEDGE, Act.CONFIGURE, Act.COMMAND, Act.CASES}
_PARTNER = frozenset(
    {Act.SEE, Act.ALERTS, Act.HISTORY, Act.ACKNOWLEDGE, Act.CONFIGURE, Act.COMMAND, Act.CASES}
)

ACTS: Mapping[Relation, frozenset[Act]] = {
    Relation.OWNER: frozenset(Act),
    Relation.MEMBER: _MEMBER,
    Relation.VIEWER: _VIEWER,
    Relation.INSTALLER: frozenset({Act.SEE, Act.ALERTS, Act.HISTORY, Act.CONFIGURE, Act.COMMAND}),
    Relation.PARTNER: _PARTNER,
}
"""What each relation permits. For partners: the most that a grant can give."""

HOUSEHOLD_RELATIONS = (Relation.OWNER, Relation.MEMBER, Relation.VIEWER, Relation.INSTALLER)


@dataclass(frozen=True, slots=True)
class Tie:
    """What ties somebody to products: a membership of a household, or a grant to a partner.

    Args:
        id: of the membership or grant.
        relation: see `Relation`.
        acts: what it permits.
        owner_id: the products are this household's; None: anybody's (a grant of the operator).
        since: what was measured or noticed before this instant (ns) is not shown; 0: all is.
        until: when it ends (ns); None: not by itself.
        product_ids: only these products; None: all.
        model: only products of the model with this number; None: of any.
        region: only products sold there; None: anywhere.
        order_prefix: only products whose order reference begins so; None: any.
    """

    id: str
    relation: Relation
    acts: frozenset[Act]
    owner_id: str | None
    since: int = 0
    until: int | None = None
    product_ids: frozenset[str] | None = None
    model: int | None = None
    region: str | None = None
    order_prefix: str | None = None

    @property
    def plain(self) -> bool:
        """Whether it reaches every product of a household."""
        narrowed = (self.product_ids, self.model, self.region, self.order_prefix)
        return self.owner_id is not None and all(one is None for one in narrowed)

    @property
    def lasting(self) -> bool:
        """Whether it also reaches what the household keeps of products it owned once."""
        return self.plain and not self.since


def owner_tie(owner_id: str, membership: str = "") -> Tie:
    """Return what ties an owner to their household."""
    return Tie(membership, Relation.OWNER, ACTS[Relation.OWNER], owner_id)
