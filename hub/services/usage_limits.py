"""What follows from usage: features close and open again, and people are told of each share, once.

1. What may be used is used up: with a hard limit that is a hold of kind `quota` on the feature until
   the period ends, placed by the hub. So it reaches gate, signed state and explanation as every hold
   does, cancels nothing, and ends by itself, or as soon as there is more or the count is corrected.
2. Each share of what may be used is told when it is reached, and when it is not reached any more: in
   the order of shares, once for each crossing, in the transaction that knows of it. A new period
   begins at nothing without a word.

What must never live here: counting, folding (`usage_balance`), or prices.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from numpy.typing import NDArray
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from device_sdk.wire.codes import Severity
from entitlements.billing.allowance import Standing
from entitlements.facts import HoldKind
from entitlements.ladder import ownership
from hub.ports.database.alert_tables import Notice
from hub.ports.database.ownership_tables import Hold
from hub.ports.database.product_tables import Device, Product
from hub.ports.database.usage_tables import UsageCorrection, UsageLevel, UsageThreshold
from hub.services import audit, changes, outages
from hub.services.caller import HUB
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_some
from hub.services.usage_accounts import account_total
from hub.services.usage_archive import Totals
from hub.services.usage_balance import Given, Metered, standing
from hub.services.usage_meters import Meters, ModelMeter
from hub.services.usage_periods import period

REACHED: Final = "usage.share"
FREED: Final = "usage.share_left"


@dataclass(frozen=True, slots=True)
class Told:
    """A share was reached or left: whom to tell, after the transaction committed."""

    device_id: str
    product_id: str
    owner_id: str | None
    notice: Notice


def apply(
    session: Session, archive: Totals, records: Sequence[dict[str, int]], at: int
) -> list[Told]:
    """Take what the meter told into the database.

    Args:
        session: a writing session.
        archive: reads it; best where `foresee` has read what is asked for.
        records: of the usage log.
        at: now, ns.
    """
    told: list[Told] = []
    for record in records:
        if not record["slot"]:
            outages.note(session, record["meter"], record["start"], record["total"])
    for record, device, one, known in _about_products(session, records):
        if record["late"]:
            correct(session, device.product_id, one.number, record["late"], at)
        else:
            whose = known.metered(device.product_id, one)
            if whose is not None and _is_present(whose, record, at):
                told += _settle(session, archive, device, whose, at, record["total"])
    return told


def foresee(session: Session, archive: Totals, records: Sequence[dict[str, int]], at: int) -> None:
    """Read from the archive what `apply` will ask for at the same instant, while nobody waits for a lock."""
    for record, device, one, known in _about_products(session, records):
        whose = None if record["late"] else known.metered(device.product_id, one)
        if whose is not None and _is_present(whose, record, at):
            standing(session, archive, whose, at, record["total"])


def _about_products(
    session: Session, records: Sequence[dict[str, int]]
) -> Iterator[tuple[dict[str, int], Device, ModelMeter, "_Known"]]:
    """Yield the records of products and meters that there are, with what is known of them."""
    meters = {one.number: one for found in load_catalogue(session).meters.values() for one in found}
    kept = [record for record in records if record["slot"] and record["meter"] in meters]
    slots = {record["slot"] for record in kept}
    devices = {
        device.slot: device
        for device in session.scalars(select(Device).where(Device.slot.in_(slots)))
    }
    known = _Known(session, [device.product_id for device in devices.values()])
    for record in kept:
        device = devices.get(record["slot"])
        if device is not None:
            yield record, device, meters[record["meter"]], known


def _is_present(whose: Metered, record: dict[str, int], at: int) -> bool:
    """Say whether a record is of the period that holds an instant."""
    return period(whose.facts, whose.feature, whose.zone, at)[0] == record["start"]


def correct(session: Session, product_id: str, meter: int, since: int, at: int) -> None:
    """Note that closed periods from an instant (ns) on are to be counted again; once, however often."""
    row = session.get(UsageCorrection, (product_id, meter))
    if row is None:
        session.add(UsageCorrection(product_id=product_id, meter=meter, since=since, at=at))
        session.flush()
    else:
        row.since, row.at = min(row.since, since), at


def held_products(session: Session, at: int) -> Sequence[str]:
    """Return the products that have a quota used up at an instant (ns)."""
    query = select(Hold.product_id).where(
        Hold.kind == HoldKind.QUOTA, Hold.ends_at > at, Hold.product_id.is_not(None)
    )
    return [product_id for product_id in session.scalars(query.distinct()) if product_id]


def settle_products(
    session: Session,
    archive: Totals,
    product_ids: Sequence[str],
    accounts: NDArray[Any],
    at: int,
) -> list[Told]:
    """Hold or free metered features of products whose facts, credit or told usage changed.

    Args:
        session: a writing session.
        archive: reads it; best where `foresee_products` has read what is asked for.
        product_ids: which products.
        accounts: as the meter published them, `ACCOUNT[A]`.
        at: now, ns.
    """
    devices, meters, known = _metered_products(session, product_ids)
    told: list[Told] = []
    for device in devices:
        known.free_earlier(device.product_id, at)
        for whose in known.all_of(device.product_id, meters):
            counted = _counted(whose, accounts, at)
            told += _settle(session, archive, device, whose, at, counted)
    return told


def foresee_products(
    session: Session,
    archive: Totals,
    product_ids: Sequence[str],
    accounts: NDArray[Any],
    at: int,
) -> None:
    """Read what `settle_products` will ask for at the same instant, while nobody waits for a lock."""
    devices, meters, known = _metered_products(session, product_ids)
    for device in devices:
        for whose in known.all_of(device.product_id, meters):
            standing(session, archive, whose, at, _counted(whose, accounts, at))


def _metered_products(
    session: Session, product_ids: Sequence[str]
) -> tuple[Sequence[Device], Meters, "_Known"]:
    meters = load_catalogue(session).meters
    devices = session.scalars(
        select(Device)
        .join(Product, Product.id == Device.product_id)
        .where(Device.product_id.in_(product_ids), Product.model_number.in_(meters))
    ).all()
    return devices, meters, _Known(session, [device.product_id for device in devices])


def _counted(whose: Metered, accounts: NDArray[Any], at: int) -> int | None:
    """Return what an account counted in the present period, `None` if the archive must be asked."""
    start, end = period(whose.facts, whose.feature, whose.zone, at)
    return account_total(accounts, whose.facts.device.slot, whose.one.number, start, end)


class _Known:
    """Facts, credit and zones of some products, loaded once for a transaction."""

    def __init__(self, session: Session, product_ids: Sequence[str]) -> None:
        self._session = session
        self._facts = load_some(session, product_ids)
        self._given = Given.load(session, product_ids)
        zones = select(Product.id, Product.zone).where(Product.id.in_(product_ids))
        self._zones = {row.id: row.zone for row in session.execute(zones)}

    def metered(self, product_id: str, one: ModelMeter) -> Metered | None:
        return self._given.metered(
            product_id, self._facts[product_id], self._zones[product_id], one
        )

    def all_of(self, product_id: str, meters: Meters) -> Iterator[Metered]:
        for one in meters.get(self._facts[product_id].model.number, ()):
            whose = self.metered(product_id, one)
            if whose is not None:
                yield whose

    def free_earlier(self, product_id: str, at: int) -> None:
        """Lift what an earlier period used up: that a period began anew, nothing that is counted tells."""
        facts, zone = self._facts[product_id], self._zones[product_id]
        for hold in self._session.scalars(_standing_holds(product_id, at)).all():
            features = [facts.model.features.get(name) for name in hold.features or ()]
            if all(
                one is None or hold.starts_at < period(facts, one, zone, at)[0] for one in features
            ):
                hold.ends_at = max(at, hold.starts_at)
                _record(self._session, hold, "hold.lift", at)


def _settle(
    session: Session,
    archive: Totals,
    device: Device,
    whose: Metered,
    at: int,
    counted: int | None,
) -> list[Told]:
    """Hold or free a metered feature by what was used, and say whom to tell.

    Args:
        session: a writing session.
        archive: reads it.
        device: of the product.
        whose: the meter.
        at: now, ns.
        counted: what telemetry counted in the present period; `None`: the archive is asked.
    """
    stands = standing(session, archive, whose, at, counted)
    closed = stands.used_up and stands.period.terms.hard
    _hold_or_free(session, whose, stands.period.start, stands.period.end, at, used_up=closed)
    return list(_cross(session, device, whose, stands, at))


def _standing_holds(product_id: str, at: int) -> Select[Hold]:
    return select(Hold).where(
        Hold.product_id == product_id,
        Hold.kind == HoldKind.QUOTA,
        or_(Hold.ends_at.is_(None), Hold.ends_at > at),
    )


def _hold_or_free(
    session: Session, whose: Metered, start: int, end: int, at: int, *, used_up: bool
) -> None:
    product_id, feature = whose.product_id, whose.feature.name
    found = session.scalars(_standing_holds(product_id, at))
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
        reason="What may be used in this period is used up.",
        author=HUB.actor,
    )
    session.add(row)
    session.flush()
    _record(session, row, "hold.place", at)


def _record(session: Session, hold: Hold, action: str, at: int) -> None:
    details = {"kind": hold.kind, "id": hold.id, "features": hold.features}
    audit.record(session, at, HUB.actor, action, f"product:{hold.product_id}", details)
    # How much may be used does not depend on whether it is used up.
    changes.note(session, hold.product_id or "", changes.About.DECISIONS)


def _cross(
    session: Session, device: Device, whose: Metered, stands: Standing, at: int
) -> Iterator[Told]:
    """Keep each share that was reached or left, and yield whom to tell."""
    start, shares = stands.period.start, stands.period.terms.shares
    level = session.get(UsageLevel, (whose.product_id, whose.one.number))
    before = 0 if level is None or level.start != start else level.share
    reached = stands.reached if stands.allowance is not None else ()
    up = [share for share in shares if share > before and share in reached]
    left = [share for share in reversed(shares) if share <= before and share not in reached]
    if not up and not left:
        return
    if level is None:
        level = UsageLevel(
            product_id=whose.product_id, meter=whose.one.number, start=start, share=0, changes=0
        )
        session.add(level)
    level.start, level.share = start, max(reached, default=0)
    for share, rose in [*((share, False) for share in left), *((share, True) for share in up)]:
        level.changes += 1
        yield _tell(session, device, whose, stands, share, level.changes, at, up=rose)
    session.flush()


def _tell(
    session: Session,
    device: Device,
    whose: Metered,
    stands: Standing,
    share: int,
    number: int,
    at: int,
    *,
    up: bool,
) -> Told:
    present = ownership(whose.facts, at)
    owner = None if present is None else present.owner_id
    one, allowance = whose.one, stands.allowance or 0
    session.add(
        UsageThreshold(
            product_id=whose.product_id,
            meter=one.number,
            number=number,
            owner_id=owner,
            start=stands.period.start,
            share=share,
            up=up,
            used=stands.used,
            allowance=allowance,
            at=at,
        )
    )
    about = f"usage/{device.slot}/{one.number}/{number}"
    whole, part = divmod(max(allowance, 0), 10**one.meter.decimals)
    notice = Notice(
        id=hashlib.sha256(about.encode()).digest()[:16],
        slot=device.slot,
        epoch=0 if present is None else present.epoch,
        code=REACHED if up else FREED,
        arguments={
            "feature": whose.feature.name,
            "title": one.title,
            "share": share,
            "quota": whole if not part else f"{Decimal(allowance).scaleb(-one.meter.decimals):f}",
            "unit": one.unit,
        },
        severity=int(Severity.WARNING if up and share >= 100 else Severity.INFO),
        created_at=at,
        created_by="hub",
    )
    session.add(notice)
    return Told(device.device_id, whose.product_id, owner, notice)
