"""What happened to a product, business and technical, on one line of time; and its notices.

1. An entry is a code plus arguments; sentences are made where people read them.
2. It is read from the facts themselves, so it is there for whatever happened before, too.
3. The line of time is for staff. Owners see the notices of their own time with the product.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from device_sdk.wire.codes import ReplyStatus
from entitlements.facts import Subscription
from entitlements.status import covered_until, ended_at, grace_until
from hub.ports.database.alert_tables import Command, Notice
from hub.ports.database.catalogue_tables import Feature, Metric, Plan, ProductModel
from hub.ports.database.ownership_tables import Grant, Hold, Ownership
from hub.ports.database.people_tables import Owner
from hub.ports.database.product_tables import Certificate, Device, DeviceEvent
from hub.services import alert_desk, consent, happenings, looks, products
from hub.services.caller import Caller, Scope
from hub.services.facts import load_one
from hub.services.looks import Part
from hub.services.own_time import owned_in
from hub.services.relations import Act

RECENT = 30
"""Commands, notices and certificates of a product that the line of time goes back to."""


_SEEN = {
    happenings.CAME: "came",
    happenings.WENT: "silent",
    happenings.FIRMWARE: "firmware",
    happenings.ASKED: "configuration_asked",
    happenings.APPLIED: "configuration_applied",
    happenings.NOT_APPLIED: "configuration_refused",
    happenings.PUT_BACK: "put_back",
}
_OF_SETTINGS = {happenings.ASKED, happenings.NOT_APPLIED}
"""Their arguments have names of settings."""


class Side(StrEnum):
    """Whose business an entry is."""

    BUSINESS = "business"
    TECHNICAL = "technical"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened; `at` is ns, `details` are the arguments of the code."""

    at: int
    side: Side
    code: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoticeView:
    """A notice as people see it; `metric` and `unit` are empty where it is about none."""

    id: str
    code: str
    arguments: Mapping[str, Any]
    severity: int
    created_at: int
    metric: str
    unit: str


@dataclass(frozen=True, slots=True)
class Titles:
    """What the catalogue calls the features and plans of a product, and which metrics count up."""

    features: Mapping[str, str]
    plans: Mapping[str, str]
    counters: frozenset[str]


def timeline(
    session: Session, caller: Caller, product_id: str, at: int, *, limit: int = 60
) -> list[Entry]:
    """List what happened to a product until now, the newest first.

    Args:
        session: any session.
        caller: staff.
        product_id: which product.
        at: now, ns; what is to come later is left out.
        limit: at most so many.

    Raises:
        ForbiddenError: the caller is not staff.
        NotFoundError: no such product.
    """
    caller.require(Scope.RECORDS_READ)
    product = products.visible(session, caller, product_id)
    looks.look(session, caller, product_id, Part.TIMELINE, at)
    entries = [
        Entry(product.made_at, Side.BUSINESS, "made", {"order": product.order_reference}),
        *_owners(session, product_id),
        *_coverage(session, product_id),
        *_alerts(session, caller, product_id, limit),
        *_told(session, caller, product_id),
    ]
    device = session.scalar(select(Device).where(Device.product_id == product_id))
    if device is not None:
        entries += _identity(session, device)
        entries += _commands(session, device.slot)
        if consent.history_open(session, caller, product_id, at):  # what it told of its use
            entries += _happenings(session, device.slot)
    past = [entry for entry in entries if entry.at <= at]
    past.sort(key=lambda entry: entry.at, reverse=True)
    return past[:limit]


def notices(
    session: Session, caller: Caller, product_id: str, *, limit: int = 10
) -> list[NoticeView]:
    """List the notices that a product was given, the newest first; owners get their own.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.ALERTS_READ)
    product = products.visible(session, caller, product_id, Act.ALERTS)
    query = (
        select(Notice)
        .join(Device, Device.slot == Notice.slot)
        .where(Device.product_id == product.id)
        .order_by(Notice.created_at.desc(), Notice.id)
        .limit(limit)
    )
    if not caller.is_staff:
        tie = products.tie_to(session, caller, product_id, Act.ALERTS)
        present = tie.owner_id or products.summary(session, caller, product_id).owner_id
        query = query.where(
            owned_in(Notice.slot, Notice.epoch, present), Notice.created_at >= tie.since
        )
    metrics = {
        metric.name: metric
        for metric in session.scalars(
            select(Metric).where(Metric.model_number == product.model_number)
        )
    }
    views = []
    for row in session.scalars(query):
        metric = metrics.get(str(row.arguments.get("metric")))
        views.append(
            NoticeView(
                id=row.id.hex(),
                code=row.code,
                arguments=row.arguments,
                severity=row.severity,
                created_at=row.created_at,
                metric=metric.title if metric else "",
                unit=metric.unit if metric else "",
            )
        )
    return views


def titles(session: Session, model: str) -> Titles:
    """Return what the catalogue calls the features of a model and all plans, and its counters."""
    features = session.execute(
        select(Feature.name, Feature.title)
        .join(ProductModel, ProductModel.number == Feature.model_number)
        .where(ProductModel.name == model)
    )
    plans = session.execute(select(Plan.name, Plan.title))
    counters = session.scalars(
        select(Metric.name)
        .join(ProductModel, ProductModel.number == Metric.model_number)
        .where(ProductModel.name == model, Metric.kind == "counter")
    )
    return Titles(
        features={row.name: row.title for row in features},
        plans={row.name: row.title for row in plans},
        counters=frozenset(counters),
    )


def _owners(session: Session, product_id: str) -> Iterator[Entry]:
    query = (
        select(Ownership, Owner.name)
        .join(Owner, Owner.id == Ownership.owner_id)
        .where(Ownership.product_id == product_id)
    )
    for row, name in session.execute(query):
        yield Entry(row.started_at, Side.BUSINESS, "claimed", {"owner": name})
        if row.ended_at is not None:
            yield Entry(row.ended_at, Side.BUSINESS, "released", {"owner": name})


def _coverage(session: Session, product_id: str) -> Iterator[Entry]:
    for one in load_one(session, product_id).subscriptions:
        yield from _subscription(one)
    for hold in session.scalars(select(Hold).where(Hold.product_id == product_id)):
        about = {"kind": hold.kind, "reason": hold.reason}
        yield Entry(hold.starts_at, Side.BUSINESS, "held", about)
        if hold.ends_at is not None:
            yield Entry(hold.ends_at, Side.BUSINESS, "hold_ended", about)
    for grant in session.scalars(select(Grant).where(Grant.product_id == product_id)):
        about = {"feature": grant.feature, "reason": grant.reason}
        yield Entry(grant.starts_at, Side.BUSINESS, "granted", about)


def _subscription(one: Subscription) -> Iterator[Entry]:
    about = {"plan": one.plan}
    over, covered, grace = ended_at(one), covered_until(one), grace_until(one)
    instants = (
        (one.start, "subscribed"),
        (one.cancelled_at, "cancelled"),
        (one.paused_at, "paused"),
        (None if one.paused_at is None else one.resumes_at, "resumed"),
        (one.withdrawn_at, "withdrawn"),
        (over, "ended"),
        # What would have come after its end never came.
        (covered if covered != grace and _before(covered, over) else None, "unpaid"),
        (grace if _before(grace, over) else None, "lapsed"),
    )
    for at, what in instants:
        if at is not None:
            yield Entry(at, Side.BUSINESS, what, about)


def _before(instant: int | None, end: int | None) -> bool:
    return instant is not None and (end is None or instant < end)


def _alerts(session: Session, caller: Caller, product_id: str, limit: int) -> Iterator[Entry]:
    for view in alert_desk.listed(session, caller, product_id=product_id, limit=limit):
        yield Entry(view.opened_at, Side.TECHNICAL, "alert", {"alert": view})
        if view.acknowledged_at is not None:
            yield Entry(view.acknowledged_at, Side.BUSINESS, "alert_seen", {"alert": view})
        if view.resolved_at is not None:
            yield Entry(view.resolved_at, Side.TECHNICAL, "alert_resolved", {"alert": view})


def _identity(session: Session, device: Device) -> Iterator[Entry]:
    yield Entry(device.enrolled_at, Side.TECHNICAL, "enrolled", {"device": device.device_id})
    if device.revoked_at is not None:
        yield Entry(device.revoked_at, Side.TECHNICAL, "revoked")
    query = (
        select(Certificate.issued_at)
        .where(Certificate.slot == device.slot, Certificate.issued_at > device.enrolled_at)
        .order_by(Certificate.issued_at.desc())
        .limit(RECENT)
    )
    for issued_at in session.scalars(query):
        yield Entry(issued_at, Side.TECHNICAL, "renewed")
    if device.last_contact is not None and device.online:
        yield Entry(device.last_contact, Side.TECHNICAL, "online")


def _happenings(session: Session, slot: int) -> Iterator[Entry]:
    latest = (
        select(DeviceEvent)
        .where(DeviceEvent.slot == slot)
        .order_by(DeviceEvent.at.desc(), DeviceEvent.id.desc())
        .limit(RECENT)
    )
    for row in session.scalars(latest):
        if row.event_id is None and row.name in _OF_SETTINGS:
            yield Entry(row.at, Side.TECHNICAL, _SEEN[row.name], {"arguments": row.arguments})
        elif row.event_id is None:
            yield Entry(row.at, Side.TECHNICAL, _SEEN[row.name], row.arguments)
        else:
            about = {"name": row.name, "arguments": row.arguments}
            yield Entry(row.at, Side.TECHNICAL, "device_event", about)


def _told(session: Session, caller: Caller, product_id: str) -> Iterator[Entry]:
    for view in notices(session, caller, product_id, limit=RECENT):
        yield Entry(view.created_at, Side.TECHNICAL, "notice", {"notice": view})


def _commands(session: Session, slot: int) -> Iterator[Entry]:
    commands_of = (
        select(Command)
        .where(Command.slot == slot)
        .order_by(Command.created_at.desc())
        .limit(RECENT)
    )
    for command in session.scalars(commands_of):
        about = {"name": command.name}
        yield Entry(command.created_at, Side.TECHNICAL, "command", about)
        if command.replied_at is not None and command.reply_status is not None:
            done = command.reply_status == ReplyStatus.DONE
            code = "command_done" if done else "command_failed"
            yield Entry(command.replied_at, Side.TECHNICAL, code, about)
