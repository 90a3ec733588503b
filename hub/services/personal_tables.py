"""Every table that keeps something of a person or a household, and what becomes of it; all others, and why not.

1. `HOLDINGS` is in the order of erasing: what refers to something goes before it.
2. A table is in `HOLDINGS` or in `IMPERSONAL`; a test fails for one that is in neither.
3. Rows that others stand on (audit, bills, owner epochs) stay under ids that name nobody any more.

To add a table: say whose a row is (`personal_data`), what becomes of it, and under which name it is exported.
"""

from collections.abc import Mapping
from typing import Any, Final

from hub.ports.database import (
    access_tables as access,
)
from hub.ports.database import (
    agreement_tables as agreement,
)
from hub.ports.database import (
    alert_tables as alerts,
)
from hub.ports.database import (
    coverage_tables as coverage,
)
from hub.ports.database import (
    order_tables as orders,
)
from hub.ports.database import (
    ownership_tables as ownership,
)
from hub.ports.database import (
    people_tables as people,
)
from hub.ports.database import (
    privacy_tables as privacy,
)
from hub.ports.database import (
    product_tables as products,
)
from hub.ports.database import (
    record_tables as records,
)
from hub.ports.database import (
    sign_in_tables as sign_in,
)
from hub.ports.database import (
    usage_tables as usage,
)
from hub.services.personal_data import (
    ERASED,
    Blank,
    Delete,
    Holding,
    Keep,
    any_of,
    by_person,
    child_of,
    of_epoch,
    of_household,
    of_person,
    of_product,
    of_time,
    to_address,
)
from hub.services.personal_money import MONEY

_PROOF: Final = "a secret, or what one could be tried against"
_INTERNAL: Final = "how the hub keeps it"
_BLANK_TEXT: Final = Blank({"reason": ERASED})


def _address(table: Any) -> Any:
    return table.id + "@erased.invalid"


_alerts = of_epoch(alerts.Alert.epoch, slot=alerts.Alert.slot)
_cases = any_of(
    child_of(coverage.SupportCase.alert_id, alerts.Alert.id, _alerts),
    of_epoch(coverage.SupportCase.epoch, product=coverage.SupportCase.product_id),
    by_person(coverage.SupportCase.opened_by),
)

_agreements = of_household(agreement.Agreement.owner_id)

HOLDINGS: Final[tuple[Holding, ...]] = (
    # What products said and what was found, in the household's time
    Holding(
        alerts.AlertFeedback,
        any_of(
            by_person(alerts.AlertFeedback.actor),
            child_of(alerts.AlertFeedback.alert_id, alerts.Alert.id, _alerts),
        ),
        Delete(),
        "alert_feedback",
    ),
    Holding(
        coverage.AlertCover,
        child_of(coverage.AlertCover.alert_id, alerts.Alert.id, _alerts),
        Delete(),
        "alert_covers",
    ),
    Holding(
        coverage.CaseStep,
        any_of(
            by_person(coverage.CaseStep.actor),
            child_of(coverage.CaseStep.case_id, coverage.SupportCase.id, _cases),
        ),
        Blank({"message": ""}),
        "case_messages",
    ),
    Holding(
        coverage.SupportCase,
        _cases,
        Blank({"subject": ERASED, "alert_id": None, "cover_arguments": {}}),
        "cases",
    ),
    Holding(
        alerts.Finding,
        any_of(
            of_epoch(alerts.Finding.epoch, slot=alerts.Finding.slot),
            child_of(alerts.Finding.alert_id, alerts.Alert.id, _alerts),
        ),
        Delete(),
        "findings",
    ),
    Holding(alerts.Alert, _alerts, Delete(), "alerts", {"last_finding": _INTERNAL}),
    Holding(
        alerts.Notice,
        of_epoch(alerts.Notice.epoch, slot=alerts.Notice.slot),
        Delete(),
        "notices",
    ),
    Holding(
        alerts.Command,
        of_epoch(alerts.Command.epoch, slot=alerts.Command.slot),
        Delete(),
        "commands",
    ),
    Holding(
        products.DeviceEvent,
        of_time(products.DeviceEvent.at, slot=products.DeviceEvent.slot),
        Delete(),
        "device_events",
    ),
    Holding(
        records.DeadLetter,
        of_time(records.DeadLetter.at, slot=records.DeadLetter.slot),
        Delete(),
        "dead_letters",
        {"sample": "bytes that could not be read; ask support for them"},
    ),
    Holding(
        usage.UsageCorrection,
        of_time(usage.UsageCorrection.at, product=usage.UsageCorrection.product_id),
        Delete(),
        "usage_corrections",
    ),
    Holding(
        usage.UsageEntry,
        of_time(usage.UsageEntry.at, product=usage.UsageEntry.product_id),
        Delete(),
        "usage_events",
    ),
    Holding(
        usage.UsageLevel,
        of_time(usage.UsageLevel.start, product=usage.UsageLevel.product_id),
        Delete(),
        "usage_levels",
    ),
    Holding(
        usage.UsageThreshold,
        of_household(usage.UsageThreshold.owner_id),
        Delete(),
        "usage_thresholds",
    ),
    Holding(
        usage.UsageStatement,
        of_household(usage.UsageStatement.owner_id),
        Blank({"reason": ERASED}),
        "usage_statements",
    ),
    Holding(
        usage.CreditGrant,
        of_household(usage.CreditGrant.owner_id),
        _BLANK_TEXT,
        "usage_credit",
    ),
    Holding(
        coverage.HealthCertificate,
        of_epoch(coverage.HealthCertificate.epoch, product=coverage.HealthCertificate.product_id),
        Delete(),
        "health_certificates",
        {"link_hash": _PROOF},
    ),
    Holding(
        coverage.WarrantyExtension,
        of_epoch(coverage.WarrantyExtension.epoch, product=coverage.WarrantyExtension.product_id),
        Keep("it was paid for and is the product's; it names nobody"),
        "warranty_extensions",
    ),
    Holding(
        coverage.SupportContract,
        of_epoch(coverage.SupportContract.epoch, product=coverage.SupportContract.product_id),
        Keep("it was paid for and is the product's; it names nobody"),
        "support_contracts",
    ),
    # Who looked, and who let them
    Holding(
        access.StatedReason,
        any_of(
            of_person(access.StatedReason.person_id), of_product(access.StatedReason.product_id)
        ),
        Delete(),
    ),
    Holding(access.Consent, of_household(access.Consent.owner_id), Delete(), "consents"),
    Holding(
        access.BrokenGlass,
        any_of(
            of_household(access.BrokenGlass.owner_id),
            of_person(access.BrokenGlass.person_id),
        ),
        Delete(),
        "broken_glass",
    ),
    Holding(
        access.Look,
        of_household(access.Look.owner_id),
        Keep("its words go; that it happened stays, as the chain of evidence must stay whole"),
        "looks",
        {"reason_key": _INTERNAL, "quarter": _INTERNAL, "previous": _INTERNAL, "digest": _INTERNAL},
    ),
    *MONEY,
    # Whose products are whose
    Holding(
        ownership.TransferOffer,
        any_of(
            of_household(ownership.TransferOffer.owner_id),
            to_address(ownership.TransferOffer.email),
        ),
        Delete(),
        "transfer_offers",
        {"code_hash": _PROOF, "taker_id": "another household"},
    ),
    Holding(ownership.ClaimAttempt, of_person(ownership.ClaimAttempt.person_id), Delete()),
    Holding(
        ownership.HandOver,
        any_of(
            by_person(ownership.HandOver.prepared_by), of_product(ownership.HandOver.product_id)
        ),
        Delete(),
        "hand_overs",
    ),
    Holding(
        ownership.Dispute,
        any_of(
            of_household(ownership.Dispute.owner_id), of_household(ownership.Dispute.claimant_id)
        ),
        Keep("the other household needs to know how it ended; it holds ids only"),
        "disputes",
    ),
    Holding(
        ownership.Receipt,
        of_household(ownership.Receipt.owner_id),
        Delete(),
        "receipts",
        {"signed": "its content is beside it"},
    ),
    Holding(ownership.Letter, of_household(ownership.Letter.owner_id), Delete(), "letters"),
    Holding(
        ownership.Hold,
        any_of(
            of_household(ownership.Hold.owner_id),
            of_time(ownership.Hold.starts_at, product=ownership.Hold.product_id),
        ),
        _BLANK_TEXT,
        "holds",
        {"author": "somebody of the staff"},
    ),
    Holding(
        ownership.Grant,
        of_time(ownership.Grant.starts_at, product=ownership.Grant.product_id),
        _BLANK_TEXT,
        "feature_grants",
        {"author": "somebody of the staff"},
    ),
    Holding(
        agreement.Redemption,
        of_household(agreement.Redemption.owner_id),
        Keep("a promotion is redeemed once; it holds ids only"),
        "promotions",
    ),
    Holding(
        agreement.AgreementBill,
        child_of(agreement.AgreementBill.agreement_id, agreement.Agreement.id, _agreements),
        Keep("what invoices are for; it holds dates and ids only"),
        "agreement_bills",
        {"wanted": _INTERNAL},
    ),
    Holding(
        agreement.AgreementItem,
        child_of(agreement.AgreementItem.agreement_id, agreement.Agreement.id, _agreements),
        Keep("what invoices are for; it holds amounts and ids only"),
        "agreement_items",
    ),
    Holding(
        agreement.Agreement,
        _agreements,
        Keep("what was agreed about paying; it holds dates and ids only"),
        "agreements",
    ),
    Holding(
        orders.TopUpOrder,
        of_household(orders.TopUpOrder.owner_id),
        Keep("what invoices are for; it holds amounts and ids only"),
        "orders",
    ),
    Holding(
        agreement.Promotion,
        by_person(agreement.Promotion.created_by),
        Keep("the vendor's terms; whoever of the staff made them is an id"),
    ),
    Holding(
        ownership.SubscriptionTerms,
        child_of(
            ownership.SubscriptionTerms.subscription_id,
            ownership.Subscription.id,
            of_household(ownership.Subscription.owner_id),
        ),
        Keep("what was agreed about paying; it holds dates only"),
        "subscription_terms",
    ),
    Holding(
        ownership.Subscription,
        of_household(ownership.Subscription.owner_id),
        Keep("what was agreed about paying; it holds dates and ids only"),
        "subscriptions",
    ),
    Holding(
        ownership.Ownership,
        of_household(ownership.Ownership.owner_id),
        Keep("owner epochs tell later households' data apart; it holds ids only"),
        "ownerships",
        {"state_version": _INTERNAL},
    ),
    Holding(
        products.Device,
        child_of(
            products.Device.product_id,
            ownership.Ownership.product_id,
            of_product(ownership.Ownership.product_id),
        ),
        Keep("it is the product's; what was configured and reported ended with the ownership"),
        "devices",
        {
            "public_key": _INTERNAL,
            "boot": _INTERNAL,
            "state_digest": _INTERNAL,
            "entitlement_digest": _INTERNAL,
        },
    ),
    Holding(
        products.Product,
        of_product(products.Product.id),
        Keep("it is the product's; the name that it was given ended with the ownership"),
        "products",
        {"enrolment_secret_hash": _PROOF, "claim_code_hash": _PROOF},
    ),
    # Households and people
    Holding(
        people.PartnerGrant,
        of_household(people.PartnerGrant.owner_id),
        Blank({"reason": ERASED, "region": None, "order_prefix": None}),
        "partner_grants",
    ),
    Holding(
        people.Invitation,
        any_of(of_household(people.Invitation.owner_id), to_address(people.Invitation.email)),
        Delete(),
        "invitations",
        {"code_hash": _PROOF},
    ),
    Holding(people.OwnerSetting, of_household(people.OwnerSetting.owner_id), Delete(), "settings"),
    Holding(
        people.WebSession,
        of_person(people.WebSession.person_id),
        Delete(),
        "sessions",
        {"token_hash": _PROOF},
    ),
    Holding(
        sign_in.SignInFlow,
        of_person(sign_in.SignInFlow.person_id),
        Delete(),
        "sign_in_flows",
        {"token_hash": _PROOF, "details": _PROOF},
    ),
    Holding(
        sign_in.Passkey,
        of_person(sign_in.Passkey.person_id),
        Delete(),
        "passkeys",
        {"credential_hash": _INTERNAL, "credential_id": _INTERNAL, "public_key": _INTERNAL},
    ),
    Holding(
        sign_in.ExternalIdentity,
        of_person(sign_in.ExternalIdentity.person_id),
        Delete(),
        "external_identities",
    ),
    Holding(
        people.ApiKey,
        of_person(people.ApiKey.person_id),
        Delete(),
        "api_keys",
        {"key_hash": _PROOF},
    ),
    Holding(
        people.Membership,
        of_person(people.Membership.person_id),
        Keep("who was what, and when, is what past decisions rest on; it holds ids only"),
        "memberships",
    ),
    Holding(
        people.Person,
        of_person(people.Person.id),
        Blank(
            {
                "email": _address,
                "name": ERASED,
                "password_hash": "",
                "locale": "en",
                "zone": "UTC",
            }
        ),
        "account",
        {"password_hash": _PROOF},
    ),
    Holding(people.Owner, of_household(people.Owner.id), Blank({"name": ERASED}), "households"),
    Holding(
        privacy.Erasure,
        of_person(privacy.Erasure.person_id),
        Keep("that it was done must be shown; it holds ids only"),
    ),
    Holding(
        records.Audit,
        any_of(by_person(records.Audit.actor)),
        Keep("its words go; that it happened stays, as the chain of evidence must stay whole"),
        "audit",
        {"previous": _INTERNAL, "digest": _INTERNAL},
    ),
)

IMPERSONAL: Final[Mapping[str, str]] = {
    "alembic_version": "the schema's version",
    "business_calendar": "the vendor's terms",
    "certificate": "of devices",
    "claim_window": "a button was pressed on a product; ends within minutes",
    "cohort": "products of one model and firmware",
    "contract_plan": "the vendor's terms",
    "contract_version": "the vendor's terms",
    "cursor": "positions in logs",
    "feature": "the catalogue",
    "incident": "about many products at once",
    "ingest_lane": "which worker has which lane",
    "issued_token": "what a product may do, by its owner epoch",
    "meter": "counters that the product's warranty reads",
    "meter_reading": "counters that the product's warranty reads",
    "metric": "the catalogue",
    "ledger_seal": "signatures over the whole ledger",
    "partner": "an organisation, not a person",
    "payment_event": "which events of the payment provider were taken",
    "payment_removal": "what the payment provider is to forget; goes when it has",
    "plan": "the catalogue",
    "plan_feature": "the catalogue",
    "plan_version": "the catalogue",
    "product_model": "the catalogue",
    "product_use": "when the product's warranty began",
    "recalled": "which firmware a product ran",
    "setting": "of the hub itself",
    "sign_in_failure": "hashes of what was typed and from where; forgotten after a day",
    "tax_region": "the vendor's terms",
    "telemetry_erasure": "which rows went; holds numbers only",
    "usage_meter": "the catalogue",
    "outage": "when the hub was down",
    "warranty_version": "the vendor's terms",
    "webhook_attempt": "what came of telling a receiver",
    "webhook_delivery": "what is to be told to a receiver",
    "webhook_endpoint": "the vendor's own programs",
    "webhook_event": "ids of what happened to which product or household, for thirty days",
}
"""Tables that keep nothing of a person, and why."""
