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
        "page_home": SIGNED_IN,
        "page_claim": CUSTOMERS,
        "do_claim": CUSTOMERS,
        "page_product": CUSTOMERS,
        # Both
        "get_series": SIGNED_IN,
        "stream_product": SIGNED_IN,
        "stream_home": SIGNED_IN,
        "do_acknowledge": SIGNED_IN,
        "do_resolve": SIGNED_IN,
        "do_feedback": SIGNED_IN,
        "do_mute": SIGNED_IN,
        # Support
        "page_lookup": STAFF,
        "page_support_product": STAFF,
        "do_hold": STAFF,
        "do_lift": STAFF,
    }
)
