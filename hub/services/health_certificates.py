"""Certificates of health and coverage: what a buyer wants to know of a used product, signed.

1. A certificate says nothing of people, nor of how the product was used: counters, open faults, what
   is left of the warranty and passes on, and whether something stands against a change of owner.
2. Who has the link can read it until it expires; the link is random and kept as a hash.
3. It states one instant. Whether the product has changed hands since is said by the link alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from analytics.findings import Severity
from entitlements import coverage
from entitlements.coverage_facts import CoverageFacts
from entitlements.coverage_sentences import sentence
from entitlements.covers import CoverKind
from entitlements.facts import Hold, HoldKind, in_force
from entitlements.warranty import warranty
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.alert_tables import Alert
from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.coverage_tables import HealthCertificate
from hub.ports.database.product_tables import Device, Product
from hub.ports.store.port import TelemetryStore
from hub.services import audit, certificate_proof, coverage_facts, lifetimes, products
from hub.services.alert_kinds import FIRST_OF_HUB
from hub.services.caller import Caller, Scope
from hub.services.coverage import lifetimes_at
from hub.services.facts import load_one
from hub.services.parties import open_ownership
from hub.services.relations import Act
from hub.services.signing_keys import SigningKeys
from hub.services.tokens import Tokens, secret_hash

Purpose = Literal["sale", "transfer"]
DAYS = 30
MOST_DAYS = 90
MOST_LIVE = 20
_DAY_NS = 86_400_000_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: the hub's keys and the address under which it is known."""

    keys: SigningKeys = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just issued; the secret of its link is shown now and never again."""

    id: str
    product_id: str
    purpose: str
    issued_at: int
    expires_at: int
    link: str = field(repr=False)
    signed: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as its link shows it; `changed_hands`: it has another owner since."""

    issued_at: int
    expires_at: int
    signed: str
    document: Mapping[str, Any]
    changed_hands: bool


def issue(
    session: Session,
    caller: Caller,
    product_id: str,
    purpose: Purpose,
    at: int,
    tokens: Tokens,
    issuer: Issuer,
    *,
    days: int = DAYS,
    store: TelemetryStore | None = None,
) -> Issued:
    """Issue a certificate of a product.

    Args:
        session: a writing session.
        caller: its owner, or staff.
        product_id: which product.
        purpose: `sale`: for somebody who may buy it, with what would pass on to them; `transfer`:
            for who has just become the owner, with what did.
        at: now, ns.
        tokens: source of the id and the link.
        issuer: who signs.
        days: how long it holds.
        store: the telemetry store, to read the counters anew; None: as they were read last.

    Raises:
        ConflictError: many certificates of the product hold already.
        InvalidInputError: it would hold for no time or too long.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE if caller.is_staff else Scope.PRODUCTS_CLAIM)
    product = products.visible(session, caller, product_id, Act.TRANSFER)
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInputError(f"A certificate holds for 1 to {MOST_DAYS} days, not {days}.")
    _check_number(session, product_id, at)
    if store is not None and (found := lifetimes.read_one(session, store, product_id)) is not None:
        lifetimes.keep(session, [found], at)
    second = at // _SECOND
    expires = second + days * _DAY_NS // _SECOND
    id_ = tokens.new_id()
    document = {
        "iss": issuer.name,
        "jti": id_,
        "iat": second,
        "exp": expires,
        "purpose": purpose,
        **_state(session, product, purpose, at),
    }
    signed = certificate_proof.sign(issuer.keys.present(at), document)
    link = tokens.secret()
    present = open_ownership(session, product_id)
    session.add(
        HealthCertificate(
            id=id_,
            product_id=product_id,
            epoch=present.epoch if present else 0,
            purpose=purpose,
            issued_at=at,
            expires_at=expires * _SECOND,
            issued_by=caller.actor,
            link_hash=secret_hash(link),
            signed=signed,
        )
    )
    session.flush()
    details = {"id": id_, "purpose": purpose, "days": days}
    about = f"product:{product_id}"
    audit.record(session, at, caller.actor, "certificate.issue", about, details)
    return Issued(id_, product_id, purpose, at, expires * _SECOND, link, signed, document)


def shown(session: Session, link: str, issuer: Issuer, at: int) -> Shown:
    """Return the certificate that a link leads to.

    Raises:
        NotFoundError: no such link, or it has expired.
    """
    row = session.scalars(
        select(HealthCertificate).where(HealthCertificate.link_hash == secret_hash(link))
    ).first()
    if row is None or at >= row.expires_at:
        raise NotFoundError(
            "There is no certificate under this link, or it has expired. Ask for a new one."
        )
    document = certificate_proof.verify(row.signed, public_keys(issuer.keys), at)
    present = open_ownership(session, row.product_id)
    changed_hands = (present.epoch if present else 0) != row.epoch
    return Shown(row.issued_at, row.expires_at, row.signed, document, changed_hands)


def public_keys(keys: SigningKeys) -> certificate_proof.Keys:
    """Return the keys under which certificates of this hub hold, former ones too."""
    return {key.kid.hex(): Ed25519PublicKey.from_public_bytes(key.key) for key in keys.ever()}


def _state(session: Session, product: Product, purpose: Purpose, at: int) -> dict[str, Any]:
    model = session.get_one(ProductModel, product.model_number)
    device = session.scalars(select(Device).where(Device.product_id == product.id)).first()
    facts = coverage_facts.load_one(session, product.id)
    return {
        "product": {
            "model": model.name,
            "title": model.title,
            "serial": product.serial,
            "made_at": _text(product.made_at),
            "first_use_at": _text(facts.first_use_at),
            "firmware": device.firmware if device else None,
            "last_contact_at": _text(device.last_contact if device else None),
            "revoked": device is not None and device.revoked_at is not None,
        },
        "counters": {
            counter.name: {
                "total": round(counter.total, 1),
                "covered": round(counter.at_most, 1),
                "read_at": _text(counter.read_at),
            }
            for counter in lifetimes_at(facts, at)
        },
        "open_faults": _open_faults(session, device),
        "warranty": _warranty(facts, purpose, at),
        "contracts": _contracts(facts, purpose, at),
        "transfer_blocked_by": _blocking(load_one(session, product.id).holds, at),
    }


def _warranty(facts: CoverageFacts, purpose: Purpose, at: int) -> dict[str, Any]:
    """Say what of the warranty the buyer has, or would have."""
    theirs = coverage.transferred(facts, at) if purpose == "sale" else facts
    cover = warranty(theirs, at)
    end = cover.args.get("until_at")
    return {
        "covered": cover.covered,
        "transferable": cover.transferable,
        "code": str(cover.code),
        "sentence": sentence(cover.code, cover.args),
        "ends_at": _text(int(end)) if end is not None else None,
    }


def _contracts(facts: CoverageFacts, purpose: Purpose, at: int) -> list[dict[str, Any]]:
    if purpose == "transfer":
        found = [
            (cover.id, cover.args.get("until_at"))
            for cover in coverage.covers_at(facts, at)
            if cover.kind is CoverKind.CONTRACT and cover.covered
        ]
    else:
        found = [
            (one.id, one.ends_at)
            for one in coverage.split(facts, at)
            if one.kind is CoverKind.CONTRACT and one.passes
        ]
    plans = {one.id: one.plan for one in facts.contracts}
    return [
        {"plan": plans[id_], "ends_at": None if end is None else _text(int(end))}
        for id_, end in found
    ]


def _blocking(holds: tuple[Hold, ...], at: int) -> list[str]:
    """Name what stands against a change of owner: never whose, nor anybody's money."""
    told = {HoldKind.RECALL, HoldKind.THEFT, HoldKind.FRAUD, HoldKind.CLONE}
    kinds = {
        str(hold.kind) if hold.kind in told and hold.owner_id is None else "other"
        for hold in holds
        if hold.subscription_id is None and in_force(hold.start, hold.end, at)
    }
    return sorted(kinds)


def _open_faults(session: Session, device: Device | None) -> dict[str, int]:
    counts = {severity.name.lower(): 0 for severity in Severity if severity}
    if device is not None:
        query = (
            select(Alert.severity, func.count())
            .where(
                Alert.slot == device.slot,
                Alert.resolved_at.is_(None),
                Alert.kind < FIRST_OF_HUB,
            )
            .group_by(Alert.severity)
        )
        for severity, count in session.execute(query):
            counts[Severity(severity).name.lower()] = count
    return counts


def _check_number(session: Session, product_id: str, at: int) -> None:
    live = session.scalar(
        select(func.count())
        .select_from(HealthCertificate)
        .where(HealthCertificate.product_id == product_id, HealthCertificate.expires_at > at)
    )
    if (live or 0) >= MOST_LIVE:
        raise ConflictError(
            f"{MOST_LIVE} certificates of this product hold already. Use one of them, or wait until "
            "one expires.",
            product=product_id,
        )


def _text(instant: int | None) -> str | None:
    if instant is None:
        return None
    return datetime.fromtimestamp(instant // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
