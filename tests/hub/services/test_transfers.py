"""Handing a product on: offers that are open, stale, foreign, used, expired; what goes along."""

import json
import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from device_sdk.wire import cose
from entitlements.decision import decide
from entitlements.facts import HoldKind
from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.alert_tables import Alert
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Hold, Subscription
from hub.ports.database.people_tables import Person
from hub.services import (
    alert_desk,
    audit,
    changes,
    former,
    health_certificates,
    holds,
    households,
    letters,
    ownership,
    products,
    receipts,
    resets,
    subscriptions,
    theft,
    transfers,
)
from hub.services.alerts import apply_findings
from hub.services.caller import HUB, Caller, Scope
from hub.services.events import Broadcaster, Event
from hub.services.facts import load_one
from hub.services.found import Found
from hub.services.relations import ACTS, Relation, Tie, owner_tie
from tests.hub.services.ownership_world import ISSUER, Market, market
from tests.hub.services.service_world import DAY, T0, S, World


@pytest.fixture
def sale(world: World) -> Market:
    return market(world)


def email_of(world: World, caller: Caller) -> str:
    with read_session(world.engine) as session:
        return session.get_one(Person, caller.person_id).email


def test_an_open_code_hands_the_product_to_whoever_has_it(sale: Market) -> None:
    offered = sale.offer()
    assert offered.code is not None
    sale.later()
    handed = sale.accept(sale.buyer, code=f" {offered.code} ")
    assert (handed.serial, handed.epoch) == (sale.made.serial, 2)
    assert sale.owners() == [
        (1, sale.seller.owner_id, T0, sale.now),
        (2, sale.buyer.owner_id, sale.now, None),
    ]
    assert sale.letters(sale.seller) == ["transfer.handed_over"]
    assert sale.letters(sale.buyer) == ["transfer.taken_over"]
    assert sale.audited()[-3:] == ["transfer.offer", "certificate.issue", "transfer.accept"]
    with read_session(sale.world.engine) as session:
        assert audit.verify(session) is None
        assert [one.product_id for one in former.listed(session, sale.seller)] == [sale.product_id]
        assert former.listed(session, sale.buyer) == []
        with pytest.raises(NotFoundError):
            products.visible(session, sale.seller, sale.product_id)


def test_an_offer_to_an_address_is_for_its_person_alone(sale: Market) -> None:
    stranger = sale.world.customer()
    offered = sale.offer(email=email_of(sale.world, sale.buyer).upper())
    assert offered.code is None
    assert sale.letters(sale.buyer) == ["transfer.offered"]
    with read_session(sale.world.engine) as session:
        assert [one.mine for one in transfers.listed(session, sale.seller, sale.now)] == [True]
        assert [one.mine for one in transfers.listed(session, sale.buyer, sale.now)] == [False]
        assert transfers.listed(session, stranger, sale.now) == []
    with pytest.raises(NotFoundError):
        sale.accept(stranger, offer_id=offered.id)
    with write_session(sale.world.engine) as session, pytest.raises(NotFoundError):
        transfers.decline(session, stranger, sale.now, offered.id)
    assert sale.accept(sale.buyer, offer_id=offered.id).epoch == 2
    with pytest.raises(ConflictError, match="accepted"):
        sale.accept(sale.buyer, offer_id=offered.id)


def test_both_sides_get_a_receipt_that_the_hub_signed(sale: Market) -> None:
    offered = sale.offer()
    handed = sale.accept(sale.buyer, code=offered.code)
    public = ISSUER.keys.present(T0).public_key()
    with read_session(sale.world.engine) as session:
        (taken,) = receipts.listed(session, sale.buyer)
        (given,) = receipts.listed(session, sale.seller)
        assert taken.id == handed.receipt_id
        assert receipts.one(session, HUB, given.id).id == given.id
        for row, what, epoch in ((given, "handed_over", 1), (taken, "taken_over", 2)):
            content = cose.verify1(row.signed, {cose.key_id(public): public}, receipts.EXTERNAL)
            assert content.decode() == row.content
            facts = json.loads(content)
            assert (facts["what"], facts["owner_epoch"]) == (what, epoch)
            assert facts["serial"] == sale.made.serial
            assert (facts["certificate"] is None) == (what == "handed_over")
        assert handed.certificate_link is not None
        certificate = health_certificates.shown(session, handed.certificate_link, ISSUER, sale.now)
        assert certificate.document["product"]["serial"] == sale.made.serial
        assert not certificate.changed_hands
        for caller, row in ((sale.buyer, given), (sale.seller, taken)):
            with pytest.raises(NotFoundError):
                receipts.one(session, caller, row.id)


def test_offers_that_cannot_be_accepted(sale: Market) -> None:
    with pytest.raises(NotFoundError):
        sale.accept(sale.buyer, code="hpt_" + "0" * 64)
    with pytest.raises(InvalidInputError):
        sale.accept(sale.buyer)
    with pytest.raises(ForbiddenError):
        sale.accept(HUB, code="hpt_")
    offered = sale.offer(days=1)
    with pytest.raises(ConflictError, match="your household's already"):
        sale.accept(sale.seller, code=offered.code)
    with pytest.raises(ConflictError, match="offered already"):
        sale.offer()
    sale.later(DAY)
    with pytest.raises(ConflictError, match="expired"):
        sale.accept(sale.buyer, code=offered.code)
    again = sale.offer()  # what expired stands in nobody's way
    with write_session(sale.world.engine) as session:
        transfers.cancel(session, sale.seller, again.id, sale.now)
        with pytest.raises(ConflictError, match="cancelled"):
            transfers.cancel(session, sale.seller, again.id, sale.now)
        with pytest.raises(NotFoundError):
            transfers.cancel(session, sale.buyer, again.id, sale.now)
    with pytest.raises(ConflictError, match="cancelled"):
        sale.accept(sale.buyer, code=again.code)
    declined = sale.offer(email=email_of(sale.world, sale.buyer))
    with write_session(sale.world.engine) as session:
        transfers.decline(session, sale.buyer, sale.now, declined.id)
    assert sale.letters(sale.seller) == ["transfer.declined"]
    with pytest.raises(ConflictError, match="declined"):
        sale.accept(sale.buyer, offer_id=declined.id)
    stale = sale.offer()
    with write_session(sale.world.engine) as session:
        ownership.release(session, sale.seller, sale.product_id, sale.later())
    sale.claim(sale.seller)
    with pytest.raises(ConflictError, match="stale"):
        sale.accept(sale.buyer, code=stale.code)
    assert [epoch for epoch, *_ in sale.owners()] == [1, 2]


@pytest.mark.parametrize("days", [0, -1, 91, 10**9])
def test_impossible_terms_are_refused(sale: Market, days: int) -> None:
    with pytest.raises(InvalidInputError):
        sale.offer(days=days)
    with write_session(sale.world.engine) as session, pytest.raises(InvalidInputError):
        resets.prepare(session, sale.seller, sale.product_id, sale.now, days=days)


def test_addresses_that_are_none_or_ones_own(sale: Market) -> None:
    with pytest.raises(InvalidInputError):
        sale.offer(email="nobody")
    with pytest.raises(ConflictError, match="already"):
        sale.offer(email=email_of(sale.world, sale.seller))
    assert sale.offer(email="nobody-yet@example.org").code is None


@pytest.mark.parametrize("kind", [HoldKind.THEFT, HoldKind.FRAUD, HoldKind.PAYMENT])
def test_nothing_is_handed_on_during_a_hold(sale: Market, kind: HoldKind) -> None:
    offered = sale.offer()
    with write_session(sale.world.engine) as session:
        held = holds.place(
            session, HUB, sale.product_id, kind, "odd", sale.now, sale.world.tokens
        ).id
    with pytest.raises(ConflictError, match=f"on hold \\({kind}\\)"):
        sale.accept(sale.buyer, code=offered.code)
    with write_session(sale.world.engine) as session:
        holds.lift(session, HUB, held, sale.later())
    assert sale.accept(sale.buyer, code=offered.code).epoch == 2


def test_an_account_on_hold_neither_hands_on_nor_takes(sale: Market) -> None:
    offered, world = sale.offer(), sale.world
    for caller in (sale.seller, sale.buyer):
        with write_session(world.engine) as session:
            assert caller.owner_id is not None
            held = holds.place_on_account(
                session, HUB, caller.owner_id, HoldKind.FRAUD, "odd", sale.now, world.tokens
            ).id
        with pytest.raises(ConflictError, match="The account is on hold"):
            sale.accept(sale.buyer, code=offered.code)
        with write_session(world.engine) as session:
            holds.lift(session, HUB, held, sale.now)
    assert sale.accept(sale.buyer, code=offered.code).epoch == 2


def test_a_recall_goes_along(sale: Market) -> None:
    offered = sale.offer()
    with write_session(sale.world.engine) as session:
        holds.place(
            session, HUB, sale.product_id, HoldKind.RECALL, "r1", sale.now, sale.world.tokens
        )
    sale.accept(sale.buyer, code=offered.code)
    with read_session(sale.world.engine) as session:
        decision = decide(load_one(session, sale.product_id), "telemetry", sale.now)
    assert (decision.allowed, decision.code, decision.owner_epoch) == (False, "hold", 2)


def test_of_two_who_accept_at_once_one_wins(sale: Market) -> None:
    offered = sale.offer()
    people = [sale.world.customer() for _ in range(4)]
    start = threading.Barrier(len(people))
    won: list[str | None] = []
    lost: list[str] = []

    def go(caller: Caller) -> None:
        start.wait()
        try:
            sale.accept(caller, code=offered.code)
            won.append(caller.owner_id)
        except ConflictError as error:
            lost.append(error.detail)

    threads = [threading.Thread(target=go, args=(caller,)) for caller in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    assert [owner for _, owner, _, end in sale.owners() if end is None] == won


def test_what_is_bound_to_the_owner_ends_and_the_rest_goes_along(sale: Market) -> None:
    world = sale.world
    with write_session(world.engine) as session:
        subscriptions.start(
            session,
            HUB,
            sale.product_id,
            "comfort",
            sale.now,
            world.tokens,
            paid_until=sale.now + 30 * DAY,
        )
        along = subscriptions.start(
            session,
            HUB,
            sale.product_id,
            "comfort",
            sale.now,
            world.tokens,
            transferable=True,
            paid_until=sale.now + 2 * DAY,
        ).id
    sale.later()
    sale.accept(sale.buyer, code=sale.offer().code)
    with read_session(world.engine) as session:
        facts = load_one(session, sale.product_id)
        assert decide(facts, "telemetry", sale.now).subscription_id == along
        assert decide(facts, "telemetry", sale.now + 2 * DAY + 15 * DAY).code == "lapsed"
        assert session.get_one(Subscription, along).owner_id == sale.buyer.owner_id


def test_a_fault_that_goes_on_is_an_alert_of_the_next_owner_without_the_past(sale: Market) -> None:
    found = Found(
        id=bytes(16),
        slot=1,
        metric=0,
        kind=6,
        severity=2,
        time=sale.now,
        since=sale.now - S,
        surprise=20.0,
        observed=99.0,
        low=-40.0,
        high=95.0,
    )
    with write_session(sale.world.engine) as session:
        apply_findings(session, [found], sale.now)
        own = alert_desk.listed(session, sale.seller)[0]
        alert_desk.mute(session, sale.seller, own.id, sale.now + DAY, sale.now)
    sale.later()
    sale.accept(sale.buyer, code=sale.offer().code)
    with write_session(sale.world.engine) as session:
        (old,) = alert_desk.listed(session, sale.seller)
        (new,) = alert_desk.listed(session, sale.buyer)
        assert (old.status, old.resolution) == ("resolved", "owner")
        assert (new.status, new.code, new.arguments) == ("open", "alert.goes_on", {})
        assert (new.since, new.count, new.muted_until) == (sale.now, 0, None)
        assert alert_desk.findings(session, sale.buyer, at=T0) == []
        for act in (alert_desk.acknowledge, alert_desk.resolve):
            with pytest.raises(NotFoundError):
                act(session, sale.seller, old.id, sale.now)
        later = replace(found, id=bytes([1] * 16), time=sale.now + S, since=sale.now + S)
        apply_findings(session, [later], sale.now + S)
        assert session.scalars(select(Alert.count).where(Alert.epoch == 2)).all() == [1]


def test_everybody_who_must_know_is_told_after_the_commit(sale: Market) -> None:
    live, wake = Broadcaster(), threading.Event().set
    noted: list[frozenset[str]] = []
    letters.announce(sale.world.engine, live.publish)
    changes.listen(sale.world.engine, noted.append)
    offered = sale.offer()
    noted.clear()
    with live.listening(sale.seller, wake) as seller, live.listening(sale.buyer, wake) as buyer:
        sale.accept(sale.buyer, code=offered.code)
        assert [one.data["code"] for one in seller.drain(0)] == ["transfer.handed_over"]
        assert [one.data["code"] for one in buyer.drain(0)] == ["transfer.taken_over"]
    assert noted == [frozenset({sale.product_id})]


def test_a_household_that_no_longer_exists_can_own_nothing(sale: Market) -> None:
    offered = sale.offer()
    gone = replace(sale.buyer, owner_id="z" * 16, ties=(owner_tie("z" * 16),))
    with pytest.raises(ConflictError, match="household does not exist"):
        sale.accept(gone, code=offered.code)
    assert [end for *_, end in sale.owners()] == [None]
    assert sale.accept(sale.buyer, code=offered.code).epoch == 2


def test_the_theft_lock(sale: Market) -> None:
    world = sale.world
    offered = sale.offer()
    with write_session(world.engine) as session:
        with pytest.raises(NotFoundError):
            theft.lock(session, sale.buyer, sale.product_id, sale.now, world.tokens)
        hold = theft.lock(session, sale.seller, sale.product_id, sale.now, world.tokens)
        again = theft.lock(session, sale.seller, sale.product_id, sale.now, world.tokens)
        assert again.id == hold.id
    sale.press()
    for act in (
        lambda: sale.accept(sale.buyer, code=offered.code),
        lambda: sale.dispute(sale.buyer),
        lambda: sale.claim(sale.buyer),
    ):
        with pytest.raises(ConflictError, match="theft"):
            act()
    with write_session(world.engine) as session:
        with pytest.raises(ConflictError, match="theft"):
            ownership.release(session, sale.seller, sale.product_id, sale.now)
        facts = load_one(session, sale.product_id)
        assert decide(facts, "boost_hours", sale.now).code == "hold"
        assert decide(facts, "frost_protection", sale.now).allowed
        theft.unlock(session, sale.seller, sale.product_id, sale.later())
        holds.place(session, HUB, sale.product_id, HoldKind.THEFT, "police", sale.now, world.tokens)
        with pytest.raises(ConflictError, match="What staff placed"):
            theft.unlock(session, sale.seller, sale.product_id, sale.now)
    assert sale.audited()[-3:] == ["theft.lock", "theft.unlock", "hold.place"]


def test_a_reset_releases_only_what_was_prepared_for_it(sale: Market) -> None:
    def reset(late: int = 0) -> None:
        with write_session(sale.world.engine) as session:
            at = sale.later()
            resets.was_reset(session, sale.product_id, at - late, at)

    reset()
    assert sale.letters(sale.seller) == ["product.reset"]
    with write_session(sale.world.engine) as session:
        with pytest.raises(NotFoundError):
            resets.prepare(session, sale.buyer, sale.product_id, sale.now)
        resets.prepare(session, sale.seller, sale.product_id, sale.now, days=1)
        resets.withdraw(session, sale.seller, sale.product_id, sale.now)
    reset()
    with write_session(sale.world.engine) as session:
        resets.prepare(session, sale.seller, sale.product_id, sale.now, days=1)
    reset(DAY)  # late: of before they prepared
    reset(-DAY)  # of the future
    reset(sale.now)  # of 1970
    sale.later(DAY)
    reset()
    assert [end for *_, end in sale.owners()] == [None]
    with write_session(sale.world.engine) as session:
        resets.prepare(session, sale.seller, sale.product_id, sale.now, days=1)
        lock = theft.lock(session, sale.seller, sale.product_id, sale.now, sale.world.tokens)
        assert lock.ends_at is None
    reset()
    with write_session(sale.world.engine) as session:
        theft.unlock(session, sale.seller, sale.product_id, sale.now)
    assert [end for *_, end in sale.owners()] == [None]
    reset()
    assert [end for *_, end in sale.owners()] == [sale.now]
    assert sale.letters(sale.seller) == ["product.reset"] * 7 + ["product.reset_released"]
    reset()  # of nobody's product: nobody is told
    before = sale.now
    assert sale.claim(sale.buyer).epoch == 2
    sale.later(DAY)
    with write_session(sale.world.engine) as session:
        resets.was_reset(session, sale.product_id, before - DAY, sale.now)  # of the seller's time
    assert sale.letters(sale.buyer) == []


def test_a_theft_lock_of_a_co_owner_is_the_households(sale: Market) -> None:
    with write_session(sale.world.engine) as session:
        place = households.Place(Relation.OWNER)
        owner_id = str(sale.seller.owner_id)
        tokens = sale.world.tokens
        households.begin(session, "test", owner_id, sale.buyer.person_id, place, sale.now, tokens)
        partner = replace(sale.buyer, ties=(*sale.buyer.ties, owner_tie(owner_id)))
        theft.lock(session, partner, sale.product_id, sale.now, tokens)
        assert theft.lock(session, sale.seller, sale.product_id, sale.now, tokens)
    with write_session(sale.world.engine) as session:
        assert len(session.scalars(select(Hold)).all()) == 1
        sale.later()
        theft.unlock(session, sale.seller, sale.product_id, sale.now)
    sale.offer()


def test_what_staff_do_with_an_alert_of_the_former_owner_is_no_news_for_the_next(
    sale: Market,
) -> None:
    at = sale.now
    found = Found(bytes(16), 1, 0, 6, 2, at, at - S, 20.0, 99.0, -40.0, 95.0)
    with write_session(sale.world.engine) as session:
        apply_findings(session, [found], at)
        alert_id = alert_desk.listed(session, sale.seller)[0].id
    code = sale.offer().code
    sale.later()
    sale.accept(sale.buyer, code=code)
    with write_session(sale.world.engine) as session:
        assert alert_desk.mute(session, HUB, alert_id, sale.now + DAY, sale.now).owner_id is None
        (own,) = alert_desk.listed(session, sale.buyer)
        told = alert_desk.mute(session, HUB, own.id, sale.now + DAY, sale.now)
        assert told.owner_id == sale.buyer.owner_id


def test_an_installer_hears_alerts_and_no_letters(sale: Market) -> None:
    acts = ACTS[Relation.INSTALLER]
    tie = Tie("installed", Relation.INSTALLER, acts, sale.seller.owner_id)
    installer = replace(sale.buyer, ties=(tie,))
    live = Broadcaster()
    with live.listening(installer, lambda: None) as listener:
        for kind in ("letter", "alert"):
            live.publish(Event(kind, sale.now, sale.product_id, sale.seller.owner_id))
        assert [event.kind for event in listener.drain(sale.now)] == ["alert"]
    narrow = replace(sale.seller, scopes=frozenset({Scope.PRODUCTS_READ}))
    with live.listening(narrow, lambda: None) as listener:
        for kind in ("letter", "alert", "finding", "presence"):
            live.publish(Event(kind, sale.now, sale.product_id, sale.seller.owner_id))
        assert [event.kind for event in listener.drain(sale.now)] == ["presence"]
