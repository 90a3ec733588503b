"""Every operation of the API and every page: who may call it, on whose things.

1. One row for each. A row says what it is about (`Kind`), which act it takes there, a request that is
   right in every way, and what is not as the rule of the kind says. A route without a row fails.
2. The rule: who is not signed in gets 401; pages (`page_*`) lead them to the sign-in (303). Kinds
   of account that `access.RULES` leaves out get 403, whatever they ask for. The others get 404
   for what they do not see, 403 for what they see but whose act their relation does not permit
   (`relations.ACTS`), and else what the row says as `ok`.
3. Names in braces in path, query or body stand for ids: those of the product and household that the
   personas stand to ("own"), of somebody else's ("other"), or of none.

To add a route, add a row: most are `"name": product(Act.SEE)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hub.services.relations import Act
from tests.hub.api.api_world import csr


class Kind(Enum):
    """What an operation is about."""

    OPEN = "nothing that is anybody's; no proof is asked for"
    ROLE = "nothing that is anybody's; the kind of account decides"
    PRODUCT = "a product"
    HOUSEHOLD = "a household"


@dataclass(frozen=True)
class Row:
    """One operation.

    Attributes:
        kind: what it is about.
        act: which act it takes there; None where the kind of account decides.
        body: JSON that is right, or None.
        query: what stands behind the path.
        ok: statuses of an answer that was given.
        but: statuses that differ from the rule, by persona, or by persona and whose thing.
        form: fields of a page's form.
        unseen: status for what somebody does not see.
        once: whether it must be sent with an idempotency key.
    """

    kind: Kind
    act: Act | None = None
    body: Any = None
    query: str = ""
    ok: frozenset[int] = frozenset({200, 201, 204})
    but: Mapping[str, int] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    unseen: int = 404
    once: bool = False


def product(act: Act, **more: Any) -> Row:
    """Return the row of an operation on a product."""
    return Row(Kind.PRODUCT, act, **more)


def household(act: Act, **more: Any) -> Row:
    """Return the row of an operation on a household."""
    return Row(Kind.HOUSEHOLD, act, **more)


def role(**more: Any) -> Row:
    """Return the row of an operation that is about nothing of anybody's, or about the caller."""
    return Row(Kind.ROLE, **more)


def anybody(*statuses: int, **more: Any) -> Row:
    """Return the row of an operation that asks for no proof."""
    return Row(Kind.OPEN, ok=frozenset(statuses or (200,)), **more)


NOT_A_PERSON = {"operator": 403}
"""The operator of the tests has the operator token, which is nobody's."""

UNSEEN_CASE = {"viewer": 404, "installer": 404, "partner": 404}
"""Who has no part in cases does not know which there are."""

API: dict[str, Row] = {
    # Devices and brokers: the body is the proof, and it is wrong here; too many tries are slowed.
    "enroll": anybody(
        403, 429, body={"serial": "HP-X", "model": "heat-pump", "secret": "x", "csr": csr()}
    ),
    "renew": anybody(
        403, 429, body={"device_id": "a" * 16, "csr": csr(), "time": "1", "signature": "00" * 64}
    ),
    "emqx_auth": anybody(404, body={}),  # this hub shares no secret with a broker
    "emqx_acl": anybody(404, body={}),
    # People
    "sign_in": anybody(401, 429, body={"email": "nobody@example.org", "password": "x"}),
    "sign_out": role(),
    "get_me": role(),
    "change_password": role(  # the old one is wrong
        body={"old": "x", "new": "a long enough password"}, ok=frozenset({401}), but=NOT_A_PERSON
    ),
    "create_api_key": role(body={"name": "x", "scopes": ["products:read"]}, but=NOT_A_PERSON),
    "revoke_api_key": role(ok=frozenset({404})),
    "list_api_keys": role(but=NOT_A_PERSON),
    "list_sessions": role(but=NOT_A_PERSON),
    "list_passkeys": role(but=NOT_A_PERSON),
    "begin_passkey": role(ok=frozenset({200, 403}), but=NOT_A_PERSON),
    "add_passkey": role(
        body={"flow": "ab" * 32, "credential": {}}, ok=frozenset({401}), but=NOT_A_PERSON
    ),
    "remove_passkey": role(ok=frozenset({404})),
    "begin_passkey_sign_in": anybody(),
    "sign_in_with_passkey": anybody(401, body={"flow": "ab" * 32, "credential": {}}),
    "end_sessions": role(but=NOT_A_PERSON),
    "end_session": role(ok=frozenset({404, 422}), but=NOT_A_PERSON),
    "list_sessions_of": role(),
    "end_sessions_of": role(),
    "create_person": role(body={"email": "new@example.org", "name": "New", "role": "support"}),
    "disable_person": role(),
    "export_me": role(but=NOT_A_PERSON),
    "export_person": role(ok=frozenset({200, 404})),
    "preview_my_erasure": role(but=NOT_A_PERSON),
    "erase_me": role(body={"password": "x"}, ok=frozenset({401}), but=NOT_A_PERSON),  # a wrong one
    "preview_erasure": role(ok=frozenset({200, 404})),
    "erase_person": role(body={"email": "nobody@example.org"}, ok=frozenset({404, 422})),
    "get_erasure": role(ok=frozenset({404})),
    # Households and partners
    "list_households": role(),
    "list_my_invitations": role(),
    "list_household_people": household(Act.PEOPLE),
    "give_household_role": household(Act.INVITE, body={"relation": "viewer"}),
    "remove_from_household": household(Act.INVITE),
    "hand_over_household": household(Act.INVITE, body={"person_id": "{person_id}"}),
    "invite": household(Act.INVITE, body={"relation": "viewer"}),
    "list_invitations": household(Act.INVITE),
    "withdraw_invitation": household(Act.INVITE),
    "accept_invitation": role(body={"code": "AAAA-BBBB-CCCC"}, ok=frozenset({404})),
    "decline_invitation": role(body={"code": "AAAA-BBBB-CCCC"}, ok=frozenset({404})),
    "state_reason": product(
        Act.SEE, body={"reason": "they called"}, but={**NOT_A_PERSON, "operator other": 403}
    ),
    "list_looks": product(Act.PEOPLE),
    "break_glass": product(
        Act.SEE, body={"reason": "gas alarm"}, but={**NOT_A_PERSON, "operator other": 403}
    ),
    "give_consent": household(Act.CONSENT, body={"ends_at": "2026-02-14T08:00:00Z"}),
    "list_consents": household(Act.PEOPLE),
    "withdraw_consent": household(Act.CONSENT),
    "create_partner": role(body={"name": "Heating Huber"}),
    "give_partner_grant": household(
        Act.INVITE,
        body={
            "partner_id": "{partner_id}",
            "acts": ["see"],
            "reason": "service",
            "ends_at": "2026-06-01T00:00:00Z",
            "owner_id": "{owner_id}",
            "region": "south",
        },
        but={"operator none": 201},  # gives in their own name
    ),
    "list_partner_grants": household(
        Act.PEOPLE,
        query="?owner_id={owner_id}",
        but={  # partners see their own, whatever household they name
            "partner": 200,
            "partner other": 200,
            "partner none": 200,
            "dealer": 200,
            "dealer other": 200,
            "dealer none": 200,
        },
    ),
    "revoke_partner_grant": household(Act.INVITE),
    # Products and their owners
    "claim_product": role(body={"claim_code": "AAAA-BBBB-CCCC"}, ok=frozenset({404})),
    "release_product": product(Act.RELEASE),
    "list_products": role(),
    "get_product": product(Act.SEE),
    "explain_entitlement": product(Act.SEE),
    "register_products": role(body={"products": [{"model": "heat-pump", "serial": "HP-NEW"}]}),
    "revoke_device": product(Act.SEE, body={"reason": "stolen"}),
    # The product of the personas has no plan that is paid for: 404 or 409 to who may.
    "get_subscription": product(Act.BILLS, ok=frozenset({404, 200})),
    "subscribe": product(
        Act.PAY, body={"plan": "comfort", "trial": False, "preview": True}, ok=frozenset({201, 409})
    ),
    "change_plan": product(Act.PAY, body={"plan": "comfort"}, ok=frozenset({404, 409})),
    "undo_plan_change": product(Act.PAY, ok=frozenset({404})),
    "set_addon": product(Act.PAY, body={"quantity": 1}, ok=frozenset({404})),
    "redeem_promotion": product(Act.PAY, body={"code": "SPRING-26"}, ok=frozenset({404})),
    "pause_plan": product(Act.PAY, body={}, ok=frozenset({404})),
    "resume_plan": product(Act.PAY, ok=frozenset({404})),
    "cancel_plan": product(Act.PAY, body={}, ok=frozenset({404})),
    "undo_cancel": product(Act.PAY, ok=frozenset({404})),
    "withdraw_plan": product(Act.PAY, body={}, ok=frozenset({404})),
    "pay_plan": product(Act.PAY, ok=frozenset({404})),
    "create_promotion": role(body={"code": "SPRING-26", "percent_ppm": 250_000}),
    "list_promotions": role(),
    "end_promotion": role(ok=frozenset({404, 422})),
    "create_subscription": product(Act.SEE, body={"product_id": "{product_id}", "plan": "comfort"}),
    "place_hold": product(Act.SEE, body={"kind": "payment", "reason": "charged back"}),
    "list_holds": product(Act.SEE),
    "lift_hold": product(Act.SEE),
    "hold_account": household(Act.SEE, body={"kind": "payment", "reason": "bills are open"}),
    "list_account_holds": household(Act.SEE),
    "recall_model": role(body={"reason": "the pump may leak"}),
    "list_recalls": role(),
    "give_grant": product(Act.SEE, body={"feature": "telemetry", "reason": "sorry"}),
    "list_grants": product(Act.SEE),
    "withdraw_grant": role(ok=frozenset({404})),
    "decide_products": product(Act.SEE, body={"products": ["{product_id}"]}),
    "tally_decisions": role(),
    "get_settings": product(Act.SEE),
    "get_owner_settings": household(Act.SEE),
    "change_owner_settings": household(Act.CONFIGURE, body={"values": {"target_c": 21}}),
    # Changes of owner; where an id stands in the path, the scene has none of it
    "offer_product": product(Act.TRANSFER, body={}),
    "list_offers": role(),
    "cancel_offer": role(ok=frozenset({404})),
    "decline_offer": role(ok=frozenset({404})),
    "accept_offer": role(body={"code": "hpt_none"}, ok=frozenset({404})),
    "prepare_hand_over": product(Act.RELEASE, body={"days": 3}),
    "withdraw_hand_over": product(Act.RELEASE, ok=frozenset({204, 409})),
    "lock_stolen": product(Act.RELEASE),
    "unlock_found": product(Act.RELEASE, ok=frozenset({204, 409})),
    "undo_claim": product(Act.SEE, body={"reason": "the wrong label"}),
    "list_receipts": role(),
    "get_receipt": role(ok=frozenset({404})),
    "list_letters": role(),
    "list_former_products": role(),
    "open_dispute": role(body={"claim_code": "AAAA-BBBB-CCCC"}, ok=frozenset({404})),
    "list_disputes": role(),
    "refuse_dispute": role(ok=frozenset({404})),
    "agree_dispute": role(ok=frozenset({404})),
    "withdraw_dispute": role(ok=frozenset({404})),
    "complete_dispute": role(ok=frozenset({404})),
    "decide_dispute": role(body={"to_claimant": False, "reason": "no proof"}, ok=frozenset({404})),
    # Warranty, contracts, cases, certificates
    "get_coverage": product(Act.SEE),
    "extend_warranty": product(  # the products of the scene have none to extend
        Act.SEE, body={"months": 12, "reference": "SO-1"}, ok=frozenset({409})
    ),
    "sell_contract": product(
        Act.SEE, body={"plan": "care", "reference": "SO-2"}, ok=frozenset({404})
    ),  # the catalogue of the scene sells none
    "renew_contract": role(body={"terms": 2}, ok=frozenset({404})),
    "end_contract": role(body={"reason": "scrapped"}, ok=frozenset({404})),
    "open_case": product(
        Act.CASES, body={"device_id": "{device_id}", "subject": "E41", "message": "It is cold."}
    ),
    "list_cases": role(),
    "get_case": product(Act.CASES, but=UNSEEN_CASE),
    "reply_to_case": product(Act.CASES, body={"message": "E41"}, but=UNSEEN_CASE),
    "wait_for_customer": product(Act.CASES, body={"message": "Which code?"}),
    "resume_case": product(Act.CASES, ok=frozenset({200, 409})),
    "resolve_case": product(Act.CASES, body={"message": "Solved."}),
    "assign_case": product(Act.CASES, body={"person_id": "{person_id}"}, ok=frozenset({200, 404})),
    "close_case": product(Act.CASES, body={"chargeable": True}, ok=frozenset({200, 409})),
    "issue_certificate": product(Act.TRANSFER, body={}),
    "get_certificate": anybody(404),  # by its link, which nobody guesses
    "get_certificate_keys": anybody(),
    # Flags, as OpenFeature clients ask; what they do not see they are told as their protocol says
    "evaluate_flag": product(
        Act.SEE, body={"context": {"targetingKey": "{device_id}"}}, unseen=400
    ),
    "evaluate_flags": product(
        Act.SEE, body={"context": {"targetingKey": "{device_id}"}}, unseen=400
    ),
    # Telemetry and what follows from it
    "get_telemetry": product(Act.HISTORY, query="?metric=temp_c", but={"former": 200}),
    "get_usage": product(Act.BILLS),
    "list_invoices": household(Act.BILLS, query="?owner_id={owner_id}"),
    "get_invoice": household(Act.BILLS),
    "get_invoice_text": household(Act.BILLS),
    "pay_invoice": household(Act.PAY, ok=frozenset({202})),
    "void_invoice": household(Act.PAY),
    "write_off_invoice": household(Act.PAY),
    "get_billing_account": household(Act.BILLS),
    "change_billing_account": household(Act.PAY, body={"region": "CH"}),
    "give_payment_method": household(  # these hubs have no provider
        Act.PAY, body={"return_url": "https://hub.example.org/"}, ok=frozenset({503})
    ),
    "remove_payment_method": household(Act.PAY),
    "name_payment_method": household(Act.PAY, body={"method": "local:ok"}),
    "give_credit": household(
        Act.PAY, body={"minor": 5, "currency": "EUR", "cause": "x"}, once=True
    ),
    "refund_credit": household(  # nothing was paid
        Act.PAY,
        body={"minor": 5, "currency": "EUR", "cause": "x"},
        ok=frozenset({409}),
        once=True,
    ),
    "take_stripe_event": anybody(401),
    "simulate_plans": product(Act.BILLS),
    "tell_usage": product(
        Act.SEE,
        body={"events": [{"id": "1", "meter": "energy", "quantity": "1"}]},
        but={"support": 403, "support other": 403, "support none": 403},
    ),
    "correct_usage": product(
        Act.SEE,
        body={"meter": "energy", "quantity": "1", "reason": "misread"},
        ok=frozenset({200, 201, 422}),
    ),
    "list_usage_credit": product(Act.BILLS),
    "list_usage_statements": product(Act.BILLS),
    "give_usage_credit": product(
        Act.SEE,
        body={"meter": "energy", "kind": "topup", "amount": "5", "reason": "bought"},
        ok=frozenset({200, 201, 422}),
    ),
    "give_owner_usage_credit": household(
        Act.SEE,
        body={"meter": "energy", "kind": "promotion", "amount": "5", "reason": "spring"},
        ok=frozenset({200, 201, 422}),
    ),
    "end_usage_credit": role(body={"reason": "refunded"}, ok=frozenset({404})),
    "list_top_ups": product(Act.BILLS),
    "list_orders": product(Act.BILLS),
    "place_order": product(  # nothing is on offer
        Act.PAY, body={"name": "energy_10"}, ok=frozenset({404}), once=True
    ),
    "refund_order": role(body={"reason": "by mistake"}, ok=frozenset({404})),
    "get_fleet_telemetry": role(query="?model=heat-pump&metric=temp_c"),
    "list_findings": product(Act.HISTORY, query="?device_id={device_id}"),
    "list_alerts": product(Act.ALERTS, query="?device_id={device_id}"),
    "acknowledge_alert": product(Act.ACKNOWLEDGE),
    "resolve_alert": product(Act.ACKNOWLEDGE),
    "mute_alert": product(Act.ACKNOWLEDGE, body={"until": "2026-02-20T00:00:00Z"}),
    "give_alert_feedback": product(Act.ACKNOWLEDGE, body={"useful": True}),
    "list_alert_feedback": role(),
    "list_causes": role(),
    "list_incidents": role(),
    # Down to the product
    "get_configuration": product(Act.SEE),
    "replace_configuration": product(Act.CONFIGURE, body={"values": {"target_c": 21}}),
    "change_configuration": product(Act.CONFIGURE, body={"values": {"target_c": 21}}),
    "send_notice": product(Act.COMMAND, body={"code": "service.due"}),
    "send_command": product(Act.COMMAND, body={"name": "restart"}),
    # Running the hub
    "get_catalogue": role(),
    "get_model": role(),
    "list_models": role(),
    "put_catalogue": role(body={"models": {}}, ok=frozenset({200, 409, 422})),
    "list_dead_letters": role(),
    "get_dead_letter": role(ok=frozenset({404})),
    "replay_dead_letter": role(ok=frozenset({404})),
    "list_audit": role(),
    "advance_clock": role(
        body={"by": "40d"}, ok=frozenset({409})
    ),  # the hub of the scene is no demo
    "get_signing_keys": anybody(),
    "rotate_signing_keys": role(body={"lead_days": 30}),
    "list_authorities": role(),
    "rotate_authority": role(body={"lead_days": 30}, ok=frozenset({200, 409})),
    "retire_authority": role(body={"force": False}, ok=frozenset({404})),
    "get_health": anybody(),
    "get_security_txt": anybody(404),
    "get_readiness": anybody(),
    # Webhooks; the scene has no endpoint
    "create_webhook_endpoint": role(body={"url": "https://example.org/hooks"}),
    "list_webhook_endpoints": role(),
    "get_webhook_endpoint": role(ok=frozenset({404})),
    "change_webhook_endpoint": role(body={"enabled": False}, ok=frozenset({428})),
    "remove_webhook_endpoint": role(ok=frozenset({404})),
    "rotate_webhook_secret": role(body={}, ok=frozenset({404})),
    "test_webhook_endpoint": role(ok=frozenset({404})),
    "list_webhook_deliveries": role(),
    "get_webhook_delivery": role(ok=frozenset({404})),
    "resend_webhook_delivery": role(ok=frozenset({404})),
    "get_metrics": role(),
    "get_description": anybody(),
}

ENDLESS = frozenset({"stream_events", "stream_home", "stream_product"})
"""Answers that go on until the listener leaves; `test_api_live` and `test_web_live` hold their doors."""

SHOWN = frozenset({200, 201, 303, 404, 409, 422})
"""Pages of forms: done and led on, or shown again with why not."""

PAGES: dict[str, Row] = {
    "page_sign_in": anybody(200, 303),
    "do_sign_in": anybody(401, 429, form={"email": "nobody@example.org", "password": "x"}),
    "do_sign_out": anybody(303, form={}),
    "do_prefer": anybody(303, form={"theme": "dark"}),
    "get_static": anybody(404),
    "page_password": role(),
    "page_account": role(),
    "do_end_session": role(form={"session": "x"}, ok=frozenset({404})),
    "do_remove_passkey": role(form={"passkey": "x"}, ok=frozenset({404})),
    "do_revoke_key": role(form={"key": "x"}, ok=frozenset({404})),
    "get_provider": anybody(404),
    "get_provider_back": anybody(404),
    "do_password": role(form={"old": "x", "new": "y", "again": "y"}, ok=frozenset({401, 422})),
    "page_home": role(ok=frozenset({200, 303})),
    "page_claim": role(),
    "do_claim": role(form={"code": "AAAA-BBBB-CCCC"}, ok=frozenset({404})),
    "page_product": product(Act.SEE),
    "get_series": product(
        Act.HISTORY,
        query="?metric=temp_c&start=1769800000000&end=1769846400000",
        but={"former": 200},
    ),
    "do_acknowledge": product(Act.ACKNOWLEDGE, form={}, ok=frozenset({303})),
    "do_resolve": product(Act.ACKNOWLEDGE, form={}, ok=frozenset({303})),
    "do_feedback": product(Act.ACKNOWLEDGE, form={"useful": "yes"}, ok=frozenset({303})),
    "do_mute": product(Act.ACKNOWLEDGE, form={}, ok=frozenset({303})),
    "page_lookup": role(),
    "page_support_product": product(Act.SEE),
    # Changes of owner and households; a form that cannot be done is shown again with why
    "page_household": role(ok=SHOWN),
    "do_invite": household(Act.INVITE, form={"relation": "viewer"}, ok=SHOWN),
    "do_join": role(form={"code": "AAAA-BBBB-CCCC"}, ok=SHOWN),
    "do_member": household(Act.INVITE, form={"relation": "viewer"}, ok=SHOWN),
    "do_decline_invitation": role(form={}, ok=SHOWN),
    "do_withdraw_invitation": household(Act.INVITE, form={}, ok=SHOWN),
    "page_usage": product(Act.BILLS, ok=SHOWN),
    "page_compare": product(Act.BILLS, ok=SHOWN),
    "page_my_data": role(),
    "get_my_data": role(),
    "page_erase": role(),
    "do_erase": role(form={"password": "x"}, ok=frozenset({401})),
    "page_plan": product(Act.BILLS, ok=SHOWN),
    "page_step": product(Act.PAY, query="?act=cancel", ok=SHOWN),
    "do_step": product(Act.PAY, form={"act": "cancel"}, ok=SHOWN),
    "page_bills": role(ok=SHOWN),
    "page_bill": household(Act.BILLS, ok=SHOWN),
    "do_pay": household(Act.PAY, form={}, ok=SHOWN),
    "page_means": role(ok=SHOWN),
    "do_means": household(Act.PAY, form={"act": "remove"}, ok=SHOWN),
    "do_give_credit": product(
        Act.SEE, form={"amount": "5", "reason": "sorry", "once": "a" * 16}, ok=frozenset({303})
    ),
    "do_send_again": household(Act.BILLS, form={}, ok=frozenset({404})),  # of no product
    "do_account": household(Act.PAY, form={"name": "Ada"}, ok=SHOWN),
    "page_looks": product(Act.PEOPLE, ok=SHOWN),
    "do_consent": product(Act.CONSENT, form={}, ok=SHOWN),
    "page_hand_over": product(Act.TRANSFER, ok=SHOWN),
    "page_hands": role(ok=SHOWN),
    "page_former": role(ok=SHOWN),
    "page_certificate": anybody(404),
    "page_disputes": role(ok=SHOWN),
    "page_cases": role(ok=SHOWN),
    "do_ask": product(Act.CASES, form={"subject": "Cold", "message": "No heat"}, ok=SHOWN),
    "page_case": household(Act.CASES, ok=SHOWN, but=UNSEEN_CASE),
    "do_case": household(
        Act.CASES, form={"step": "reply", "message": "x"}, ok=SHOWN, but=UNSEEN_CASE
    ),
    "page_partners": household(Act.PEOPLE, ok=SHOWN),
    "do_grant": household(Act.INVITE, form={"partner": "nobody"}, ok=frozenset({404, 422})),
    "do_end_grant": household(Act.INVITE, form={}, ok=SHOWN),
    "page_partner": role(),
    "do_break_glass": product(Act.SEE, form={"reason": "a flood"}, ok=SHOWN),
    "page_webhooks": role(ok=SHOWN),
    "page_webhook": role(ok=SHOWN),
    "do_webhook": role(form={"url": "https://example.org/hooks"}, ok=SHOWN),
    "do_webhook_act": role(form={"act": "pause"}, ok=SHOWN),
    "do_resend": role(form={}, ok=SHOWN),
    "page_capacity": role(),
    "get_receipt_file": role(ok=SHOWN),
    "do_offer": product(Act.TRANSFER, form={}, ok=SHOWN),
    "do_release": product(Act.RELEASE, form={}, ok=SHOWN),
    "do_certify": product(Act.TRANSFER, form={}, ok=SHOWN),
    "do_theft": product(Act.RELEASE, form={}, ok=SHOWN),
    "do_cancel": role(form={}, ok=SHOWN),
    "do_decline": role(form={}, ok=SHOWN),
    "do_take": role(form={"code": "hpt_none"}, ok=SHOWN),
    "do_dispute": role(form={"code": "AAAA-BBBB-CCCC"}, ok=SHOWN),
    "do_decide": role(form={"reason": "no proof"}, ok=SHOWN),
    "do_undo": product(Act.SEE, form={"reason": "the wrong label"}, ok=SHOWN),
    "do_reason": product(Act.SEE, form={"reason": "they called"}, ok=frozenset({303})),
    "do_hold": product(Act.SEE, form={"kind": "payment", "reason": "x"}, ok=frozenset({303})),
    "do_lift": product(Act.SEE, form={}, ok=frozenset({303})),
}
