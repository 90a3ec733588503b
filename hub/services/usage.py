"""What a product has used in its present period, and what follows when a quota is used up.

1. A quota that is used up is a hold of kind `quota` on its feature until the period ends, placed by the
   hub. So it reaches gate, signed state and explanation as every hold does, cancels nothing, and ends
   by itself, or as soon as the quota grows or the count is corrected.
2. How much was used is the account of the process `meter`, or the archive's count where that one is
   behind; both are exact.
3. People at the product are told once of each share of a quota in a period.

What must never live here: counting, or prices.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from device_sdk.wire.codes import Severity
from entitlements.facts import Facts, Feature, HoldKind
from entitlements.ladder import ownership
from hub.ports.database.alert_tables import Notice
from hub.ports.database.ownership_tables import Hold
from hub.ports.database.product_tables import Device, Product
from hub.ports.database.usage_tables import UsageCorrection
from hub.ports.store.port import TelemetryStore
from hub.services import audit, changes, products
from hub.services.caller import HUB, Caller, Scope
from hub.services.facts import load_one
from hub.services.relations import Act
from hub.services.usage_accounts import ON_TIME, Accounts
from hub.services.usage_archive import count
from hub.services.usage_terms import (
    SHARES,
    ModelMeter,
    edges,
    load_meters,
    metered,
    quota,
)

_SEVERITIES: Final = dict.fromkeys(SHARES, Severity.INFO) | {100: Severity.WARNING}


@dataclass(frozen=True, slots=True)
class Usage:
    """What one meter counted of a product in its present period; instants in ns.

    Args:
        meter: name of the meter.
        title: as people read it.
        unit: UCUM code.
        start: first instant of the period.
        end: end of it.
        total: what was used, exactly.
        feature: feature whose quota it counts against, `None` without one.
        quota: how much of it may be used in the period, `None`: without limit.
        used_up: whether that much was used.
        exhausted_at: when the quota will be used up if usage goes on as it did; `None`: not in this period.
    """

    meter: str
    title: str
    unit: str
    start: int
    end: int
    total: Decimal
    feature: str | None
    quota: int | None
    used_up: bool
    exhausted_at: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """A share of a quota was reached: whom to tell, after the transaction committed."""

    device_id: str
    product_id: str
    owner_id: str | None
    notice: Notice


def of_product(
    session: Session,
    store: TelemetryStore,
    accounts: Accounts,
    caller: Caller,
    product_id: str,
    at: int,
) -> list[Usage]:
    """Return what a product has used in its present periods, by meter.

    Args:
        session: any session.
        store: the archive.
        accounts: as the meter published them.
        caller: who asks.
        product_id: of the product.
        at: now, ns.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.TELEMETRY_READ)
    product = products.visible(session, caller, product_id, Act.BILLS)
    facts = load_one(session, product.id)
    found = load_meters(session).get(facts.model.number, ())
    return [_usage(facts, one, product.zone, store, accounts(), at) for one in found]


def _usage(
    facts: Facts,
    one: ModelMeter,
    zone: str,
    store: TelemetryStore,
    accounts: NDArray[Any],
    at: int,
) -> Usage:
    feature = metered(facts, one.meter.code)
    start, end = period(facts, feature, zone, at)
    slot = facts.device.slot
    total = _account_total(accounts, slot, one.number, start, end)
    if total is None:
        total = count(store, slot, one.meter, start, min(end, at)).total if slot else 0
    limit = None if feature is None else quota(facts, feature, at)
    whole = None if limit is None else limit * 10**one.meter.decimals
    return Usage(
        meter=one.meter.code,
        title=one.title,
        unit=one.unit,
        start=start,
        end=end,
        total=Decimal(total).scaleb(-one.meter.decimals),
        feature=None if feature is None else feature.name,
        quota=limit,
        used_up=whole is not None and total >= whole,
        exhausted_at=_exhausted_at(total, whole, start, end, at),
    )


def period(facts: Facts, feature: Feature | None, zone: str, at: int) -> tuple[int, int]:
    """Return the period (ns) of a product that holds an instant."""
    begins = edges(facts, feature, zone, at)
    place = int(np.searchsorted(begins, at, "right"))
    place = min(max(place, 1), len(begins) - 1)
    return begins[place - 1], begins[place]


def _account_total(
    accounts: NDArray[Any], slot: int, meter: int, start: int, end: int
) -> int | None:
    """Return what the account of a product counted in a period, `None` if the archive must be asked."""
    keys = (accounts["slot"].astype(np.int64) << 16) | accounts["meter"]
    place = int(np.searchsorted(keys, (slot << 16) | meter))
    if place >= keys.size or keys[place] != (slot << 16) | meter:
        return None
    row = accounts[place]
    if row["late"] != ON_TIME or (row["start"], row["end"]) != (start, end):
        return None
    return int(row["total"])


def _exhausted_at(total: int, whole: int | None, start: int, end: int, at: int) -> int | None:
    if whole is None or total <= 0 or total >= whole or at <= start:
        return None
    then = start + (at - start) * whole // total
    return then if then < end else None


def apply(session: Session, records: Iterable[dict[str, int]], at: int) -> list[Told]:
    """Take what the meter told into the database.

    Args:
        session: a writing session.
        records: of the usage log.
        at: now, ns.
    """
    told: list[Told] = []
    meters = {one.number: one for found in load_meters(session).values() for one in found}
    for record in records:
        device = session.get(Device, record["slot"])
        one = meters.get(record["meter"])
        if device is None or one is None:
            continue
        if record["late"]:
            session.add(
                UsageCorrection(
                    product_id=device.product_id, meter=one.number, since=record["late"], at=at
                )
            )
        else:
            told += settle(session, device, one, record["start"], record["total"], at)
    return told


def held_products(session: Session, at: int) -> Sequence[str]:
    """Return the products that have a quota used up at an instant (ns)."""
    query = select(Hold.product_id).where(
        Hold.kind == HoldKind.QUOTA, Hold.ends_at > at, Hold.product_id.is_not(None)
    )
    return [product_id for product_id in session.scalars(query.distinct()) if product_id]


def settle_products(
    session: Session, product_ids: Sequence[str], accounts: NDArray[Any], at: int
) -> list[Told]:
    """Hold or free metered features of products whose facts changed, by what their accounts say.

    Args:
        session: a writing session.
        product_ids: which products.
        accounts: as the meter published them, `ACCOUNT[A]`.
        at: now, ns.
    """
    meters = load_meters(session)
    by_number = {one.number: one for found in meters.values() for one in found}
    devices = session.scalars(
        select(Device)
        .join(Product, Product.id == Device.product_id)
        .where(Device.product_id.in_(product_ids), Product.model_number.in_(meters))
    ).all()
    told: list[Told] = []
    for device in devices:
        _free_earlier(session, device.product_id, at)
        first, last = np.searchsorted(accounts["slot"], [device.slot, device.slot + 1])
        for row in accounts[first:last]:
            one = by_number.get(int(row["meter"]))
            if one is not None and row["late"] == ON_TIME:
                told += settle(session, device, one, int(row["start"]), int(row["total"]), at)
    return told


def settle(
    session: Session, device: Device, one: ModelMeter, start: int, total: int, at: int
) -> list[Told]:
    """Hold or free a metered feature by what was used of its quota, and say whom to tell.

    Args:
        session: a writing session.
        device: of the product.
        one: the meter.
        start: first instant (ns) of the period that `total` is of.
        total: what it counted, in its quantities.
        at: now, ns.
    """
    facts = load_one(session, device.product_id)
    feature = metered(facts, one.meter.code)
    zone = session.get_one(Product, device.product_id).zone
    if feature is None or period(facts, feature, zone, at)[0] != start:
        return []
    limit = quota(facts, feature, at)
    whole = None if limit is None else limit * 10**one.meter.decimals
    end = period(facts, feature, zone, at)[1]
    used_up = whole is not None and total >= whole
    _hold_or_free(session, device.product_id, feature.name, start, end, at, used_up=used_up)
    if whole is None or limit is None:
        return []
    reached = [share for share in SHARES if total * 100 >= whole * share]
    return _tell(session, device, facts, one, feature, limit, start, reached[-1:], at)


def _free_earlier(session: Session, product_id: str, at: int) -> None:
    """Lift what an earlier period used up: that a period began anew, nothing that is counted tells."""
    holds = session.scalars(_standing(product_id, at)).all()
    if not holds:
        return
    facts = load_one(session, product_id)
    zone = session.get_one(Product, product_id).zone
    for hold in holds:
        features = [facts.model.features.get(name) for name in hold.features or ()]
        if all(one is None or hold.starts_at < period(facts, one, zone, at)[0] for one in features):
            hold.ends_at = max(at, hold.starts_at)
            _record(session, hold, "hold.lift", at)


def _standing(product_id: str, at: int) -> Select[Hold]:
    return select(Hold).where(
        Hold.product_id == product_id,
        Hold.kind == HoldKind.QUOTA,
        or_(Hold.ends_at.is_(None), Hold.ends_at > at),
    )


def _hold_or_free(
    session: Session,
    product_id: str,
    feature: str,
    start: int,
    end: int,
    at: int,
    *,
    used_up: bool,
) -> None:
    found = session.scalars(_standing(product_id, at))
    standing = [hold for hold in found if hold.features == [feature]]
    if not used_up:
        for hold in standing:
            hold.ends_at = max(at, hold.starts_at)
            _record(session, hold, "hold.lift", at)
        return
    if any(hold.ends_at == end for hold in standing):
        return
    id_ = hashlib.sha256(f"quota/{product_id}/{feature}/{start}/{at}".encode()).hexdigest()[:16]
    lifted = session.get(Hold, id_)
    if lifted is not None:  # at this very instant, by a count before this one
        lifted.ends_at = end
        _record(session, lifted, "hold.place", at)
        return
    row = Hold(
        id=id_,
        product_id=product_id,
        kind=str(HoldKind.QUOTA),
        starts_at=at,
        ends_at=end,
        features=[feature],
        reason="The quota of this period is used up.",
        author=HUB.actor,
    )
    session.add(row)
    session.flush()
    _record(session, row, "hold.place", at)


def _record(session: Session, hold: Hold, action: str, at: int) -> None:
    details = {"kind": hold.kind, "id": hold.id, "features": hold.features}
    audit.record(session, at, HUB.actor, action, f"product:{hold.product_id}", details)
    changes.note(session, hold.product_id or "")


def _tell(
    session: Session,
    device: Device,
    facts: Facts,
    one: ModelMeter,
    feature: Feature,
    limit: int,
    start: int,
    shares: Sequence[int],
    at: int,
) -> list[Told]:
    present = ownership(facts, at)
    told = []
    for share in shares:
        about = f"usage/{device.slot}/{one.number}/{start}/{share}/{limit}"
        identity = hashlib.sha256(about.encode()).digest()[:16]
        if session.get(Notice, identity) is not None:
            continue
        notice = Notice(
            id=identity,
            slot=device.slot,
            epoch=0 if present is None else present.epoch,
            code="usage.share",
            arguments={
                "feature": feature.name,
                "title": one.title,
                "share": share,
                "quota": limit,
                "unit": one.unit,
            },
            severity=int(_SEVERITIES[share]),
            created_at=at,
            created_by="hub",
        )
        session.add(notice)
        owner = None if present is None else present.owner_id
        told.append(Told(device.device_id, device.product_id, owner, notice))
    return told
