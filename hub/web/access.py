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
CUSTOMERS_AND_PARTNERS: Roles = frozenset({Role.CUSTOMER, Role.PARTNER})
CUSTOMERS: Roles = frozenset({Role.CUSTOMER})
PARTNERS: Roles = frozenset({Role.PARTNER})
STAFF: Roles = frozenset({Role.SUPPORT, Role.OPERATOR})
OPERATORS: Roles = frozenset({Role.OPERATOR})

RULES: Mapping[str, Roles] = MappingProxyType(
    {
        # Coming and going
        "page_sign_in": ANYBODY,
        "do_sign_in": ANYBODY,
        "do_sign_out": ANYBODY,
        "do_prefer": ANYBODY,
        "get_provider": ANYBODY,
        "get_provider_back": ANYBODY,
        "get_static": ANYBODY,
        "page_account": SIGNED_IN,
        "do_end_session": SIGNED_IN,
        "do_remove_passkey": SIGNED_IN,
        "do_revoke_key": SIGNED_IN,
        "page_password": SIGNED_IN,
        "do_password": SIGNED_IN,
        # Customers
        "page_home": SIGNED_IN,
        "page_claim": CUSTOMERS,
        "do_claim": CUSTOMERS,
        "page_product": CUSTOMERS_AND_PARTNERS,
        "page_usage": CUSTOMERS,
        "page_compare": CUSTOMERS,
        "page_my_data": CUSTOMERS,
        "get_my_data": CUSTOMERS,
        "page_erase": CUSTOMERS,
        "do_erase": CUSTOMERS,
        "page_plan": CUSTOMERS,
        "page_step": CUSTOMERS,
        "do_step": CUSTOMERS,
        "page_bills": CUSTOMERS,
        "page_bill": CUSTOMERS,
        "do_account": CUSTOMERS,
        "do_pay": CUSTOMERS,
        "page_means": CUSTOMERS,
        "do_means": CUSTOMERS,
        "page_hands": CUSTOMERS,
        "do_take": CUSTOMERS,
        "do_decline": CUSTOMERS,
        "do_cancel": CUSTOMERS,
        "do_dispute": CUSTOMERS,
        "page_hand_over": CUSTOMERS,
        "do_offer": CUSTOMERS,
        "do_theft": CUSTOMERS,
        "do_release": CUSTOMERS,
        "do_ask": CUSTOMERS_AND_PARTNERS,
        "get_receipt_file": CUSTOMERS,
        "do_certify": CUSTOMERS,
        "page_looks": CUSTOMERS,
        "do_consent": CUSTOMERS,
        "page_former": CUSTOMERS,
        "page_household": CUSTOMERS,
        "do_invite": CUSTOMERS,
        "do_member": CUSTOMERS,
        "do_withdraw_invitation": CUSTOMERS,
        "do_decline_invitation": CUSTOMERS,
        "do_join": CUSTOMERS,
        "page_partners": CUSTOMERS,
        "do_grant": CUSTOMERS,
        "do_end_grant": CUSTOMERS,
        # Partners
        "page_partner": PARTNERS,
        # Whoever has the link, which is its own proof
        "page_certificate": ANYBODY,
        # All of them
        "get_series": SIGNED_IN,
        "stream_product": CUSTOMERS_AND_STAFF,
        "stream_home": CUSTOMERS_AND_STAFF,
        "do_acknowledge": SIGNED_IN,
        "do_resolve": SIGNED_IN,
        "page_case": SIGNED_IN,
        "do_case": SIGNED_IN,
        "do_feedback": CUSTOMERS_AND_STAFF,
        "do_mute": CUSTOMERS_AND_STAFF,
        # Support
        "page_lookup": STAFF,
        "page_support_product": STAFF,
        "do_reason": STAFF,
        "do_break_glass": STAFF,
        "do_give_credit": STAFF,
        "do_send_again": STAFF,
        "do_hold": STAFF,
        "do_lift": STAFF,
        "do_undo": STAFF,
        "page_disputes": STAFF,
        "do_decide": STAFF,
        "page_cases": STAFF,
        # The operator
        "page_webhooks": OPERATORS,
        "page_webhook": OPERATORS,
        "do_webhook": OPERATORS,
        "do_webhook_act": OPERATORS,
        "do_resend": OPERATORS,
        "page_capacity": OPERATORS,
    }
)
