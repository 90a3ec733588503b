"""Who is asking, and what they may do at all.

1. Every service that reads or changes something of somebody takes a `Caller`.
2. A scope says what kind of thing a caller may do; a role gives scopes, an API key narrows them.
3. Whose things they may do it to is decided by the service: what is not theirs is not found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hub.errors import ForbiddenError


class Role(StrEnum):
    """Roles of people; the words of `person.role`."""

    CUSTOMER = "customer"
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
    METRICS_READ = "metrics:read"


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
    Role.SUPPORT: _SUPPORT - {Scope.PRODUCTS_CLAIM},
    Role.OPERATOR: frozenset(Scope) - {Scope.PRODUCTS_CLAIM},
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is signed in, or the hub itself.

    Args:
        role: see `Role`.
        person_id: id of the person; empty for the hub itself.
        owner_id: the customer's household; None for staff.
        scopes: what is permitted.
    """

    role: Role
    person_id: str
    owner_id: str | None
    scopes: frozenset[Scope]

    @property
    def is_staff(self) -> bool:
        """Whether this is support or operator: they see everybody's things."""
        return self.role is not Role.CUSTOMER

    @property
    def actor(self) -> str:
        """How the audit names the caller."""
        return f"person:{self.person_id}" if self.person_id else "hub"

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


HUB = Caller(Role.OPERATOR, "", None, ROLE_SCOPES[Role.OPERATOR])
"""The hub itself and its operator at the command line."""
