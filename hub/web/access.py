"""Who may open which page: one table, read by the guard of every page.

1. Every page has a row; a page without one does not start the application.
2. The table says which kinds of people may come. Whose products they see is decided by the
   services, and what is not theirs does not exist for them (404).
3. A row of `ANYBODY` gives nothing away.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hub.services.caller import Role

Roles = frozenset[Role] | None
"""`None`: nobody needs to be signed in."""

ANYBODY: Roles = None
SIGNED_IN: Roles = frozenset(Role)
CUSTOMERS_AND_STAFF: Roles = frozenset(Role) - {Role.PARTNER}
CUSTOMERS: Roles = frozenset({Role.CUSTOMER})
STAFF: Roles = frozenset({Role.SUPPORT, Role.OPERATOR})

RULES: Mapping[str, Roles] = MappingProxyType(
    {
        # Coming and going
        "page_sign_in": ANYBODY,
        "do_sign_in": ANYBODY,
        "do_sign_out": ANYBODY,
        "do_prefer": ANYBODY,
        "get_static": ANYBODY,
        "page_password": SIGNED_IN,
        "do_password": SIGNED_IN,
        # Customers
        "page_home": CUSTOMERS_AND_STAFF,
        "page_claim": CUSTOMERS,
        "do_claim": CUSTOMERS,
        "page_product": CUSTOMERS,
        # Both
        "get_series": CUSTOMERS_AND_STAFF,
        "stream_product": CUSTOMERS_AND_STAFF,
        "stream_home": CUSTOMERS_AND_STAFF,
        "do_acknowledge": CUSTOMERS_AND_STAFF,
        "do_resolve": CUSTOMERS_AND_STAFF,
        "do_feedback": CUSTOMERS_AND_STAFF,
        "do_mute": CUSTOMERS_AND_STAFF,
        # Support
        "page_lookup": STAFF,
        "page_support_product": STAFF,
        "do_hold": STAFF,
        "do_lift": STAFF,
    }
)
