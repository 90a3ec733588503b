"""Who is asking, and what they may do at all.

1. Every service that reads or changes something of somebody takes a `Caller`.
2. A scope says what kind of thing a caller may do; a role gives scopes, an API key narrows them.
3. Whose things they may do it to is decided by the service from the caller's ties: what is not
   theirs is not found, and what their relation does not permit is forbidden.
4. Ties are those in force when the caller was authenticated; what lasts longer than a request asks
   again when one of them ends (`Caller.until`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hub.errors import ForbiddenError
from hub.services.relations import Act, Relation, Tie


class Role(StrEnum):
    """Roles of people; the words of `person.role`."""

    CUSTOMER = "customer"
    PARTNER = "partner"
    SUPPORT = "support"
    OPERATOR = "operator"


class Scope(StrEnum):
    """What can be permitted."""

    PRODUCTS_READ = "products:read"
    PRODUCTS_CLAIM = "products:claim"
    PRODUCTS_REGISTER = "products:register"
    TELEMETRY_READ = "telemetry:read"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    DEVICES_PUSH = "devices:push"
    DEVICES_REVOKE = "devices:revoke"
    ENTITLEMENTS_WRITE = "entitlements:write"
    CATALOGUE_WRITE = "catalogue:write"
    PEOPLE_WRITE = "people:write"
    RECORDS_READ = "records:read"
    RECORDS_REPLAY = "records:replay"
    USAGE_WRITE = "usage:write"
    METRICS_READ = "metrics:read"
    KEYS_ROTATE = "keys:rotate"
    CLOCK_MOVE = "clock:move"
    WEBHOOKS_WRITE = "webhooks:write"


_CUSTOMER = frozenset(
    {
        Scope.PRODUCTS_READ,
        Scope.PRODUCTS_CLAIM,
        Scope.TELEMETRY_READ,
        Scope.ALERTS_READ,
        Scope.ALERTS_WRITE,
        Scope.DEVICES_PUSH,
    }
)
_SUPPORT = _CUSTOMER | {Scope.ENTITLEMENTS_WRITE, Scope.RECORDS_READ}

ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.CUSTOMER: _CUSTOMER,
    Role.PARTNER: _CUSTOMER - {Scope.PRODUCTS_CLAIM},
    Role.SUPPORT: _SUPPORT - {Scope.PRODUCTS_CLAIM},
    Role.OPERATOR: frozenset(Scope) - {Scope.PRODUCTS_CLAIM},
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody looks at a product: in words, and for which support case if for one."""

    text: str
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is signed in, or the hub itself.

    Args:
        role: see `Role`.
        person_id: id of the person; empty for the hub itself.
        owner_id: the customer's own household, into which they claim; None for others.
        scopes: what is permitted.
        ties: what ties them to products; staff need none.
        reason: why they look at products, if they said so with the request.
        by_key: a program with an API key: it manages neither sessions nor passkeys.
        key_until: when that key expires, ns; None: never.
    """

    role: Role
    person_id: str
    owner_id: str | None
    scopes: frozenset[Scope]
    ties: tuple[Tie, ...] = ()
    reason: Reason | None = field(default=None, compare=False)
    by_key: bool = False
    key_until: int | None = None

    @property
    def is_staff(self) -> bool:
        """Whether this is support or operator: they know of everybody's things."""
        return self.role in STAFF

    @property
    def is_operator(self) -> bool:
        """Whether this is an operator, or the hub itself."""
        return self.role is Role.OPERATOR

    @property
    def until(self) -> int | None:
        """When the first of the ties ends by itself, ns; None: never."""
        return min((tie.until for tie in self.ties if tie.until is not None), default=None)

    def may(self, act: Act, owner_id: str) -> bool:
        """Whether a tie to a household permits an act on the whole of it."""
        return any(tie.plain and tie.owner_id == owner_id and act in tie.acts for tie in self.ties)

    def household(self, act: Act, named: str | None = None) -> str:
        """Return the household that an act concerns: the one named, else the caller's own.

        Raises:
            ForbiddenError: the caller has none, or may not do this to it.
        """
        owner_id = named or self.owner_id
        if owner_id is None or not self.may(act, owner_id):
            raise ForbiddenError(
                f"Your role in this household does not permit: {act}. Ask one of its owners.",
                act=str(act),
            )
        return owner_id

    def hears(self, owner_id: str | None, product_id: str | None, act: Act = Act.ALERTS) -> bool:
        """Whether live events of a product of a household are for whoever may do an act."""
        if self.is_staff:
            return True
        return owner_id is not None and any(
            tie.owner_id == owner_id
            and tie.relation is not Relation.PARTNER  # partners have no live events
            and (tie.product_ids is None or product_id in tie.product_ids)
            and act in tie.acts
            for tie in self.ties
        )

    @property
    def actor(self) -> str:
        """How the audit names the caller."""
        return f"person:{self.person_id}" if self.person_id else "hub"

    def require_person(self) -> str:
        """Return the person's id; raise unless a person is signed in, not a program or the hub.

        Raises:
            ForbiddenError: it is an API key or the operator token.
        """
        if not self.person_id or self.by_key:
            raise ForbiddenError("Only a person who is signed in can do this. Sign in first.")
        return self.person_id

    def require(self, scope: Scope) -> None:
        """Raise unless the scope is given.

        Raises:
            ForbiddenError: it is not.
        """
        if scope not in self.scopes:
            raise ForbiddenError(
                f"This needs the permission {scope}, which your {self.role} account or API key "
                "does not have. Ask an operator for it.",
                scope=str(scope),
            )


STAFF = frozenset({Role.SUPPORT, Role.OPERATOR})
HUB = Caller(Role.OPERATOR, "", None, ROLE_SCOPES[Role.OPERATOR])
"""The hub itself and its operator at the command line."""
