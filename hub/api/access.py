"""Who may call what: one table, read by the guard of every route and by the API's description.

1. Every route has a row; a route without one does not start the application.
2. The table says which kinds of caller may call. Whose products they see is decided by the
   services, and what is not theirs does not exist for them (404).
3. A row of `PUBLIC` means that the call carries its own proof or gives nothing away.
4. A row also says which writes happen once by key (`once`) and what an edit is compared with
   (`edits`); `conditional.py` sees to both, in the transaction of the write, and the route need not know.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class Role(enum.StrEnum):
    """Kinds of caller."""

    ANONYMOUS = "anonymous"
    CUSTOMER = "customer"
    PARTNER = "partner"
    SUPPORT = "support"
    OPERATOR = "operator"


PUBLIC = frozenset(Role)
SIGNED_IN = frozenset({Role.CUSTOMER, Role.PARTNER, Role.SUPPORT, Role.OPERATOR})
CUSTOMERS = frozenset({Role.CUSTOMER})
CUSTOMERS_AND_STAFF = frozenset({Role.CUSTOMER, Role.SUPPORT, Role.OPERATOR})
STAFF = frozenset({Role.SUPPORT, Role.OPERATOR})
OPERATORS = frozenset({Role.OPERATOR})


class Need(enum.StrEnum):
    """Whether a header must be sent."""

    OPTIONAL = "optional"
    REQUIRED = "required"


SMALL_BODY = 65_536
"""Bytes that a body may have where anybody may send one."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Args:
        roles: kinds of caller that may call.
        body_bytes: largest body; `None` takes the hub's setting `limits.request_bytes`.
        once: an `Idempotency-Key` may or must come with it; `None`: it is not looked at. The
            answer is kept for two days, so it must hold no secret.
        edits: operation that reads what this one changes, whose ETag `If-Match` is compared with.
        match: whether `If-Match` must come.
    """

    roles: frozenset[Role]
    body_bytes: int | None = SMALL_BODY
    once: Need | None = None
    edits: str | None = None
    match: Need = Need.OPTIONAL


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # Devices: the enrolment secret or the enrolled key in the body is the proof.
        "enroll": Rule(PUBLIC),
        "renew": Rule(PUBLIC),
        # Public keys; what a device believes of them is signed.
        "get_signing_keys": Rule(PUBLIC),
        "rotate_signing_keys": Rule(OPERATORS),
        "list_authorities": Rule(OPERATORS),
        "rotate_authority": Rule(OPERATORS),
        "retire_authority": Rule(OPERATORS),
        # A broker that asks for admission shows the secret it shares with the hub.
        "emqx_auth": Rule(PUBLIC),
        "emqx_acl": Rule(PUBLIC),
        # People
        "sign_in": Rule(PUBLIC),
        "sign_out": Rule(SIGNED_IN),
        "get_me": Rule(SIGNED_IN),
        "change_password": Rule(SIGNED_IN),
        "list_sessions": Rule(SIGNED_IN),
        "end_sessions": Rule(SIGNED_IN),
        "end_session": Rule(SIGNED_IN),
        "list_sessions_of": Rule(OPERATORS),
        "end_sessions_of": Rule(OPERATORS),
        "list_api_keys": Rule(SIGNED_IN),
        "list_passkeys": Rule(SIGNED_IN),
        "begin_passkey": Rule(SIGNED_IN),
        "add_passkey": Rule(SIGNED_IN),
        "remove_passkey": Rule(SIGNED_IN),
        "begin_passkey_sign_in": Rule(PUBLIC),
        "sign_in_with_passkey": Rule(PUBLIC),
        "create_api_key": Rule(SIGNED_IN),
        "revoke_api_key": Rule(SIGNED_IN),
        "create_person": Rule(OPERATORS),
        "disable_person": Rule(OPERATORS),
        "export_me": Rule(SIGNED_IN),
        "export_person": Rule(OPERATORS),
        "preview_my_erasure": Rule(SIGNED_IN),
        "erase_me": Rule(SIGNED_IN),
        "preview_erasure": Rule(OPERATORS),
        "erase_person": Rule(OPERATORS),
        "get_erasure": Rule(OPERATORS),
        # Households
        "list_households": Rule(CUSTOMERS),
        "list_household_people": Rule(CUSTOMERS_AND_STAFF),
        "give_household_role": Rule(CUSTOMERS | OPERATORS),
        "remove_from_household": Rule(CUSTOMERS | OPERATORS),
        "hand_over_household": Rule(CUSTOMERS),
        "invite": Rule(CUSTOMERS),
        "list_invitations": Rule(CUSTOMERS | OPERATORS),
        "list_my_invitations": Rule(CUSTOMERS),
        "accept_invitation": Rule(CUSTOMERS),
        "decline_invitation": Rule(CUSTOMERS),
        "withdraw_invitation": Rule(CUSTOMERS | OPERATORS),
        # Who looks at what, and who lets them
        "state_reason": Rule(STAFF),
        "list_looks": Rule(CUSTOMERS_AND_STAFF),
        "give_consent": Rule(CUSTOMERS),
        "list_consents": Rule(CUSTOMERS_AND_STAFF),
        "withdraw_consent": Rule(CUSTOMERS),
        "break_glass": Rule(STAFF),
        # Partners
        "create_partner": Rule(OPERATORS),
        "give_partner_grant": Rule(CUSTOMERS | OPERATORS),
        "list_partner_grants": Rule(SIGNED_IN),
        "revoke_partner_grant": Rule(CUSTOMERS | OPERATORS),
        # Products and their owners
        "claim_product": Rule(CUSTOMERS),
        "release_product": Rule(CUSTOMERS_AND_STAFF),
        "offer_product": Rule(CUSTOMERS),
        "list_offers": Rule(CUSTOMERS),
        "cancel_offer": Rule(CUSTOMERS),
        "decline_offer": Rule(CUSTOMERS),
        "accept_offer": Rule(CUSTOMERS),
        "prepare_hand_over": Rule(CUSTOMERS),
        "withdraw_hand_over": Rule(CUSTOMERS),
        "lock_stolen": Rule(CUSTOMERS),
        "unlock_found": Rule(CUSTOMERS),
        "undo_claim": Rule(STAFF),
        "list_receipts": Rule(CUSTOMERS),
        "get_receipt": Rule(CUSTOMERS_AND_STAFF),
        "list_letters": Rule(CUSTOMERS),
        "list_former_products": Rule(CUSTOMERS),
        "open_dispute": Rule(CUSTOMERS),
        "list_disputes": Rule(CUSTOMERS_AND_STAFF),
        "refuse_dispute": Rule(CUSTOMERS),
        "agree_dispute": Rule(CUSTOMERS),
        "withdraw_dispute": Rule(CUSTOMERS),
        "complete_dispute": Rule(CUSTOMERS),
        "decide_dispute": Rule(STAFF),
        "list_products": Rule(SIGNED_IN),
        "get_product": Rule(SIGNED_IN),
        "explain_entitlement": Rule(SIGNED_IN),
        "evaluate_flag": Rule(SIGNED_IN),
        "evaluate_flags": Rule(SIGNED_IN),
        "register_products": Rule(OPERATORS, body_bytes=None),
        "revoke_device": Rule(OPERATORS),
        "create_subscription": Rule(STAFF, once=Need.OPTIONAL),
        "get_subscription": Rule(CUSTOMERS_AND_STAFF),
        "subscribe": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL),
        "change_plan": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL, edits="get_subscription"),
        "undo_plan_change": Rule(CUSTOMERS_AND_STAFF),
        "set_addon": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL, edits="get_subscription"),
        "redeem_promotion": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL),
        "pause_plan": Rule(CUSTOMERS_AND_STAFF),
        "resume_plan": Rule(CUSTOMERS_AND_STAFF),
        "cancel_plan": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL),
        "undo_cancel": Rule(CUSTOMERS_AND_STAFF),
        "withdraw_plan": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL),
        "pay_plan": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL),
        "create_promotion": Rule(OPERATORS, once=Need.OPTIONAL),
        "list_promotions": Rule(STAFF),
        "end_promotion": Rule(OPERATORS),
        "decide_products": Rule(SIGNED_IN),
        "tally_decisions": Rule(STAFF),
        "get_settings": Rule(SIGNED_IN),
        "get_owner_settings": Rule(CUSTOMERS_AND_STAFF),
        "change_owner_settings": Rule(CUSTOMERS_AND_STAFF, edits="get_owner_settings"),
        "give_grant": Rule(STAFF, once=Need.OPTIONAL),
        "list_grants": Rule(STAFF),
        "withdraw_grant": Rule(STAFF),
        "place_hold": Rule(STAFF, once=Need.OPTIONAL),
        "hold_account": Rule(STAFF, once=Need.OPTIONAL),
        "list_account_holds": Rule(STAFF),
        "recall_model": Rule(STAFF, once=Need.OPTIONAL),
        "list_recalls": Rule(STAFF),
        "list_holds": Rule(STAFF),
        "lift_hold": Rule(STAFF),
        # What covers a product; a certificate's link is its proof
        "get_coverage": Rule(SIGNED_IN),
        "extend_warranty": Rule(STAFF, once=Need.OPTIONAL),
        "sell_contract": Rule(STAFF, once=Need.OPTIONAL),
        "renew_contract": Rule(STAFF, once=Need.OPTIONAL),
        "end_contract": Rule(STAFF),
        "open_case": Rule(SIGNED_IN),
        "list_cases": Rule(SIGNED_IN),
        "get_case": Rule(SIGNED_IN),
        "reply_to_case": Rule(SIGNED_IN),
        "assign_case": Rule(STAFF),
        "wait_for_customer": Rule(STAFF),
        "resume_case": Rule(STAFF),
        "resolve_case": Rule(STAFF),
        "close_case": Rule(STAFF),
        "issue_certificate": Rule(CUSTOMERS_AND_STAFF),
        "get_certificate": Rule(PUBLIC),
        "get_certificate_keys": Rule(PUBLIC),
        # Telemetry and what follows from it
        "get_telemetry": Rule(SIGNED_IN),
        "get_usage": Rule(SIGNED_IN),
        "simulate_plans": Rule(SIGNED_IN),
        "tell_usage": Rule(STAFF, body_bytes=None),
        "correct_usage": Rule(STAFF, once=Need.OPTIONAL),
        "list_usage_credit": Rule(SIGNED_IN),
        "list_usage_statements": Rule(SIGNED_IN),
        "give_usage_credit": Rule(STAFF, once=Need.OPTIONAL),
        "give_owner_usage_credit": Rule(STAFF, once=Need.OPTIONAL),
        "end_usage_credit": Rule(STAFF),
        "list_top_ups": Rule(CUSTOMERS_AND_STAFF),
        "list_orders": Rule(CUSTOMERS_AND_STAFF),
        "place_order": Rule(CUSTOMERS_AND_STAFF, once=Need.REQUIRED),
        "refund_order": Rule(STAFF, once=Need.OPTIONAL),
        "get_fleet_telemetry": Rule(STAFF),
        "list_findings": Rule(SIGNED_IN),
        "list_alerts": Rule(SIGNED_IN),
        "acknowledge_alert": Rule(SIGNED_IN),
        "resolve_alert": Rule(SIGNED_IN),
        "mute_alert": Rule(SIGNED_IN),
        "give_alert_feedback": Rule(SIGNED_IN),
        "list_alert_feedback": Rule(STAFF),
        "list_causes": Rule(STAFF),
        "list_incidents": Rule(STAFF),
        "stream_events": Rule(CUSTOMERS_AND_STAFF),
        # Down to the product
        "get_configuration": Rule(SIGNED_IN),
        "replace_configuration": Rule(SIGNED_IN, edits="get_configuration"),
        "change_configuration": Rule(SIGNED_IN, edits="get_configuration"),
        "send_notice": Rule(STAFF),
        "send_command": Rule(SIGNED_IN),
        # Money; an event of Stripe carries its signature
        "list_invoices": Rule(CUSTOMERS_AND_STAFF),
        "get_invoice": Rule(CUSTOMERS_AND_STAFF),
        "get_invoice_text": Rule(CUSTOMERS_AND_STAFF),
        "pay_invoice": Rule(CUSTOMERS_AND_STAFF, once=Need.OPTIONAL),
        "void_invoice": Rule(STAFF, once=Need.OPTIONAL),
        "write_off_invoice": Rule(STAFF, once=Need.OPTIONAL),
        "get_billing_account": Rule(CUSTOMERS_AND_STAFF),
        "change_billing_account": Rule(CUSTOMERS_AND_STAFF, edits="get_billing_account"),
        "give_payment_method": Rule(CUSTOMERS),
        "name_payment_method": Rule(STAFF, once=Need.OPTIONAL),
        "remove_payment_method": Rule(CUSTOMERS_AND_STAFF),
        "give_credit": Rule(STAFF, once=Need.REQUIRED),
        "refund_credit": Rule(STAFF, once=Need.REQUIRED),
        "take_stripe_event": Rule(PUBLIC, body_bytes=262_144),
        # Running the hub
        "put_catalogue": Rule(OPERATORS, body_bytes=None, edits="get_catalogue"),
        "get_catalogue": Rule(STAFF),
        "list_models": Rule(SIGNED_IN),
        "get_model": Rule(SIGNED_IN),
        "list_dead_letters": Rule(STAFF),
        "get_dead_letter": Rule(STAFF),
        "replay_dead_letter": Rule(OPERATORS),
        "list_audit": Rule(OPERATORS),
        "advance_clock": Rule(OPERATORS),
        # Webhooks: who hears of what. Their answers show secrets, so no key keeps them.
        "create_webhook_endpoint": Rule(OPERATORS),
        "list_webhook_endpoints": Rule(STAFF),
        "get_webhook_endpoint": Rule(STAFF),
        "change_webhook_endpoint": Rule(
            OPERATORS, edits="get_webhook_endpoint", match=Need.REQUIRED
        ),
        "remove_webhook_endpoint": Rule(OPERATORS),
        "rotate_webhook_secret": Rule(OPERATORS),
        "test_webhook_endpoint": Rule(OPERATORS),
        "list_webhook_deliveries": Rule(STAFF),
        "get_webhook_delivery": Rule(STAFF),
        "resend_webhook_delivery": Rule(OPERATORS),
        "get_security_txt": Rule(PUBLIC),
        "get_health": Rule(PUBLIC),
        "get_readiness": Rule(PUBLIC),
        "get_metrics": Rule(OPERATORS),
        "get_description": Rule(PUBLIC),
    }
)
