"""Holds on products, accounts and what was built alike; suspected clones; what was decided in the past."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from entitlements.decision import Decision, decide
from entitlements.facts import Facts, HoldKind
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Hold, SubscriptionTerms
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import Audit
from hub.services import feature_grants, holds, past, subscriptions
from hub.services.alert_kinds import IDENTITY_CONFLICT, OLDER_COPY, TWO_COPIES
from hub.services.alerts import apply_findings
from hub.services.caller import HUB, Caller
from hub.services.facts import load_one
from hub.services.found import Found
from hub.services.products import Manufactured
from tests.hub.services.service_world import DAY, T0, World


def owned(world: World) -> tuple[Manufactured, Caller]:
    made, caller = world.product(), world.customer()
    world.enrol(made)
    world.claim(made, caller)
    return made, caller


def subscribed(world: World, made: Manufactured, paid_until: int | None) -> str:
    with write_session(world.engine) as session:
        return subscriptions.start(
            session, HUB, made.product_id, "comfort", T0, world.tokens, paid_until=paid_until
        ).id


def facts_of(world: World, made: Manufactured) -> Facts:
    with read_session(world.engine) as session:
        return load_one(session, made.product_id)


def decided(world: World, made: Manufactured, at: int, feature: str = "telemetry") -> Decision:
    return decide(facts_of(world, made), feature, at)


def test_an_account_that_owes_loses_only_what_is_not_paid(world: World) -> None:
    prepaid, caller = owned(world)
    owing = world.product()
    world.claim(owing, caller)
    subscribed(world, prepaid, T0 + 30 * DAY)
    subscribed(world, owing, T0 + DAY)
    elsewhere, _ = owned(world)
    subscribed(world, elsewhere, T0 + DAY)
    assert caller.owner_id is not None
    with write_session(world.engine) as session:
        row = holds.place_on_account(
            session, HUB, caller.owner_id, HoldKind.PAYMENT, "two bills", T0, world.tokens
        )
    at = T0 + 2 * DAY  # in the grace of the one, within the paid time of the other
    assert decided(world, prepaid, at).allowed
    refused = decided(world, owing, at)
    assert (refused.code, refused.hold_id) == ("hold", row.id)
    assert decided(world, elsewhere, at).code == "grace"
    assert decided(world, owing, at, "frost_protection").code == "safe_function"
    assert decided(world, owing, T0 + DAY - 1).allowed
    with write_session(world.engine) as session:
        holds.lift(session, HUB, row.id, at)
    assert decided(world, owing, at).code == "grace"


def test_a_held_account_holds_what_it_owns_and_only_while_it_does(world: World) -> None:
    made, caller = owned(world)
    subscribed(world, made, T0 + 30 * DAY)
    assert caller.owner_id is not None
    with write_session(world.engine) as session:
        holds.place_on_account(
            session, HUB, caller.owner_id, HoldKind.FRAUD, "stolen card", T0, world.tokens
        )
        with pytest.raises(InvalidInputError, match="model"):
            holds.place_on_account(
                session, HUB, caller.owner_id, HoldKind.RECALL, "x", T0, world.tokens
            )
        with pytest.raises(NotFoundError):
            holds.place_on_account(session, HUB, "z" * 16, HoldKind.FRAUD, "x", T0, world.tokens)
    facts = facts_of(world, made)
    assert decide(facts, "telemetry", T0 + 1).code == "hold"
    (before,) = facts.ownership
    sold = replace(
        facts,
        ownership=(
            replace(before, end=T0 + DAY),
            replace(before, epoch=2, owner_id="somebody", start=T0 + DAY),
        ),
    )
    assert decide(sold, "telemetry", T0 + DAY).code != "hold"


def test_a_recall_by_firmware_follows_what_a_device_runs(world: World) -> None:
    made, _ = owned(world)
    subscribed(world, made, None)

    def runs(firmware: str, at: int) -> None:
        with write_session(world.engine) as session:
            device = session.scalars(
                select(Device).where(Device.product_id == made.product_id)
            ).one()
            device.firmware = firmware
            holds.follow_firmware(session, device, at)

    runs("1.0", T0)
    with write_session(world.engine) as session:
        row = holds.recall(
            session, HUB, "heat-pump", "it may leak", T0 + DAY, world.tokens, firmware="1.0"
        )
    runs("1.1", T0 + 2 * DAY)
    runs("1.0", T0 + 4 * DAY)
    codes = [decided(world, made, T0 + day * DAY).code for day in range(6)]
    assert codes == ["plan", "hold", "plan", "plan", "hold", "hold"]
    with write_session(world.engine) as session:
        holds.lift(session, HUB, row.id, T0 + 5 * DAY)
        runs_now = holds.listed(session, HUB, made.product_id)
        assert [one.id for one in runs_now] == [row.id]
    assert decided(world, made, T0 + 5 * DAY).code == "plan"
    assert decided(world, made, T0 + 4 * DAY).code == "hold"


def test_a_recall_of_a_model_holds_products_that_are_made_later(world: World) -> None:
    with write_session(world.engine) as session:
        row = holds.recall(session, HUB, "heat-pump", "it may leak", T0, world.tokens)
        with pytest.raises(InvalidInputError, match="not both"):
            holds.recall(
                session, HUB, "heat-pump", "x", T0, world.tokens, firmware="1", hardware_lot="L1"
            )
        with pytest.raises(InvalidInputError, match="safe function"):
            holds.recall(
                session, HUB, "heat-pump", "x", T0, world.tokens, features=["frost_protection"]
            )
        with pytest.raises(NotFoundError):
            holds.recall(session, HUB, "toaster", "x", T0, world.tokens)
    made, _ = owned(world)
    assert decided(world, made, T0).hold_id == row.id
    assert decided(world, made, T0, "frost_protection").allowed


def finding(slot: int, number: int, kind: int = TWO_COPIES, evidence: str = "") -> Found:
    return Found(
        bytes([number] * 16), slot, 0, kind, 2, T0, T0, 0.0, 2.0, None, None, evidence=evidence
    )


def clone_holds(world: World, made: Manufactured) -> list[Hold]:
    with read_session(world.engine) as session:
        query = select(Hold).where(Hold.product_id == made.product_id).order_by(Hold.starts_at)
        return list(session.scalars(query))


def test_a_suspected_clone_is_held_once_for_the_same_evidence(world: World) -> None:
    made, _ = owned(world)
    slot = facts_of(world, made).device.slot

    def found(number: int, at: int, evidence: str, kind: int = TWO_COPIES) -> None:
        with write_session(world.engine) as session:
            apply_findings(session, [finding(slot, number, kind, evidence)], at)

    found(1, T0, "a/b")
    found(2, T0 + 1, "a/b")
    (first,) = clone_holds(world, made)
    assert (first.kind, first.author, first.evidence, first.ends_at) == (
        "clone",
        "hub",
        "a/b",
        None,
    )
    assert decided(world, made, T0 + 1).args["kind"] == "clone"
    with write_session(world.engine) as session:
        holds.lift(session, HUB, first.id, T0 + 10)
    found(3, T0 + 20, "a/b")
    assert len(clone_holds(world, made)) == 1
    found(4, T0 + 30, "a/c")
    assert [one.evidence for one in clone_holds(world, made)] == ["a/b", "a/c"]
    with read_session(world.engine) as session:
        acts = session.scalars(select(Audit.action).where(Audit.action.like("hold.%"))).all()
    assert acts == ["hold.place", "hold.lift", "hold.place"]


@pytest.mark.parametrize(("kind", "held"), [(IDENTITY_CONFLICT, 1), (OLDER_COPY, 0)])
def test_what_makes_a_clone_likely(world: World, kind: int, held: int) -> None:
    made, _ = owned(world)
    slot = facts_of(world, made).device.slot
    with write_session(world.engine) as session:
        apply_findings(session, [finding(slot, 1, kind), finding(slot, 2, kind)], T0)
    assert len(clone_holds(world, made)) == held


def test_the_same_evidence_leads_to_one_hold(world: World) -> None:
    made, _ = owned(world)

    def place(evidence: str | None) -> Hold:
        with write_session(world.engine) as session:
            return holds.place(
                session, HUB, made.product_id, HoldKind.THEFT, "gone", T0, world.tokens,
                evidence=evidence,
            )  # fmt: skip

    place("police 7")
    with pytest.raises(ConflictError, match="police 7"):
        place("police 7")
    place("police 8")
    assert {place(None).id, place(None).id} <= {one.id for one in clone_holds(world, made)}
    assert len(clone_holds(world, made)) == 4


def test_a_hold_of_one_subscription_leaves_the_others(world: World) -> None:
    made, _ = owned(world)
    one, other = subscribed(world, made, None), subscribed(world, made, None)
    with write_session(world.engine) as session:
        holds.place(
            session, HUB, made.product_id, HoldKind.PAYMENT, "x", T0, world.tokens,
            subscription_id=one,
        )  # fmt: skip
        with pytest.raises(InvalidInputError, match="no subscription"):
            holds.place(
                session, HUB, made.product_id, HoldKind.PAYMENT, "x", T0, world.tokens,
                subscription_id="z" * 16,
            )  # fmt: skip
    assert decided(world, made, T0).subscription_id == other


def test_a_later_payment_does_not_change_what_was_decided(world: World) -> None:
    made, _ = owned(world)
    subscription = subscribed(world, made, T0 + DAY)
    lapsed, renewed = T0 + 20 * DAY, T0 + 30 * DAY
    with write_session(world.engine) as session:
        subscriptions.extend(session, HUB, subscription, T0 + 60 * DAY, renewed)
        subscriptions.extend(session, HUB, subscription, T0 + 90 * DAY, renewed + DAY)
        subscriptions.cancel(session, HUB, subscription, renewed + 2 * DAY)

    def known(known_at: int, at: int) -> Decision:
        with read_session(world.engine) as session:
            return decide(past.load_known(session, made.product_id, known_at), "telemetry", at)

    assert decided(world, made, lapsed).code == "plan"  # on present facts
    assert known(lapsed, lapsed).code == "lapsed"
    assert known(renewed, lapsed).code == "plan"
    assert known(renewed, renewed).args["until_at"] == T0 + 60 * DAY
    assert known(renewed + DAY, renewed + DAY).args["until_at"] == T0 + 90 * DAY
    assert known(renewed + DAY, renewed + 3 * DAY).code == "plan"
    assert known(renewed + 2 * DAY, renewed + 3 * DAY).code == "cancelled"
    assert known(T0 - 1, T0).code == "unclaimed"
    with read_session(world.engine) as session:
        assert len(session.scalars(select(SubscriptionTerms)).all()) == 3


def test_what_was_not_known_then_decided_nothing(world: World) -> None:
    made, _ = owned(world)
    with write_session(world.engine) as session:
        gift = feature_grants.give(
            session, HUB, made.product_id, "telemetry", "sorry", T0 + DAY, world.tokens
        )
        held = holds.place(
            session, HUB, made.product_id, HoldKind.THEFT, "gone", T0 + 2 * DAY, world.tokens
        )
        feature_grants.withdraw(session, HUB, gift.id, T0 + 3 * DAY)
        assert [one.id for one in feature_grants.listed(session, HUB, made.product_id)] == [gift.id]
        at = T0 + 5 * DAY
        known = [
            decide(past.load_known(session, made.product_id, T0 + day * DAY), "telemetry", at).code
            for day in range(4)
        ]
    assert known == ["no_subscription", "no_subscription", "hold", "hold"]
    assert decided(world, made, T0 + 2 * DAY).hold_id == held.id
