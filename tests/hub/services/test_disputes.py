"""Disputed and wrong claims: the window, the owner's word, the deadline, support, and undoing."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from entitlements.facts import HoldKind
from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Subscription
from hub.ports.store.port import Window
from hub.services import disputes, holds, ownership, subscriptions, transfers
from hub.services.caller import HUB, Caller
from hub.services.own_time import own_time
from tests.hub.services.ownership_world import DISPUTE_DAYS, ISSUER, Market, market
from tests.hub.services.service_world import DAY, T0, S, World


@pytest.fixture
def quarrel(world: World) -> Market:
    return market(world)


def want_windows(world: World) -> None:
    with write_session(world.engine) as session:
        session.execute(update(ProductModel).values(possession="window"))


def test_a_claim_wants_a_press_of_the_button(world: World) -> None:
    want_windows(world)
    case = market_without_owner(world)
    with pytest.raises(ConflictError, match="press its button") as refused:
        case.claim(case.seller)
    assert refused.value.context["possession"] == "window"
    case.press(60)
    case.later(60 * S)
    with pytest.raises(ConflictError, match="press its button"):
        case.claim(case.seller)
    case.press(10**9)  # as long as allowed, and not longer
    case.later(900 * S)
    with pytest.raises(ConflictError, match="press its button"):
        case.claim(case.seller)
    case.press(900)
    case.later(900 * S - 1)
    assert case.claim(case.seller).epoch == 1
    with write_session(world.engine) as session:
        ownership.release(session, case.seller, case.product_id, case.now)
    with pytest.raises(ConflictError, match="press its button"):
        case.claim(case.buyer)  # the window was used up


def market_without_owner(world: World) -> Market:
    made = world.product()
    world.enrol(made)
    return Market(world, made, world.customer(), world.customer())


@pytest.mark.parametrize("seconds", [True, -1, "300", 1.5, None])
def test_a_window_of_nonsense_is_one_of_the_usual_length(world: World, seconds: object) -> None:
    want_windows(world)
    case = market_without_owner(world)
    case.press(seconds)  # type: ignore[arg-type]
    case.later(299 * S)
    assert case.claim(case.seller).epoch == 1


def test_silence_and_the_product_at_hand_again_give_it_to_the_claimant(quarrel: Market) -> None:
    with pytest.raises(ConflictError, match="press its button"):
        quarrel.dispute(quarrel.buyer)
    quarrel.press()
    dispute = quarrel.dispute(quarrel.buyer)
    assert quarrel.letters(quarrel.seller) == ["dispute.opened"]
    assert quarrel.letters(quarrel.buyer) == ["dispute.yours"]
    quarrel.press()
    with pytest.raises(ConflictError, match="until the deadline"):
        quarrel.complete(quarrel.buyer, dispute)
    with pytest.raises(NotFoundError):
        quarrel.complete(quarrel.seller, dispute)
    quarrel.later(DISPUTE_DAYS * DAY - 2 * S)
    quarrel.press(900)  # too early: it must be renewed after the deadline
    quarrel.later(3 * S)
    with pytest.raises(ConflictError, match="again"):
        quarrel.complete(quarrel.buyer, dispute)
    quarrel.press()
    assert quarrel.complete(quarrel.buyer, dispute).epoch == 2
    assert [owner for _, owner, _, end in quarrel.owners() if end is None] == [
        quarrel.buyer.owner_id
    ]
    with pytest.raises(ConflictError, match="given"):
        quarrel.complete(quarrel.buyer, dispute)


def test_the_owners_no_ends_it_and_support_may_decide(quarrel: Market) -> None:
    quarrel.press()
    dispute = quarrel.dispute(quarrel.buyer)
    with write_session(quarrel.world.engine) as session:
        with pytest.raises(NotFoundError):
            disputes.refuse(session, quarrel.buyer, dispute, quarrel.now)
        disputes.refuse(session, quarrel.seller, dispute, quarrel.now)
    assert quarrel.letters(quarrel.buyer) == ["dispute.yours", "dispute.refused"]
    quarrel.later(DISPUTE_DAYS * DAY)
    quarrel.press()
    with pytest.raises(ConflictError, match="refused"):
        quarrel.complete(quarrel.buyer, dispute)
    with write_session(quarrel.world.engine) as session:
        with pytest.raises(ForbiddenError):
            decide(session, quarrel, quarrel.buyer, dispute)
        with pytest.raises(InvalidInputError):
            decide(session, quarrel, HUB, dispute, reason=" ")
        decide(session, quarrel, HUB, dispute)
        with pytest.raises(ConflictError):
            decide(session, quarrel, HUB, dispute)
    assert [epoch for epoch, *_ in quarrel.owners()] == [1, 2]
    assert quarrel.audited()[-3:] == ["dispute.refuse", "dispute.decide", "certificate.issue"]


def decide(
    session: Session, quarrel: Market, caller: Caller, dispute: str, reason: str = "bill of sale"
) -> None:
    disputes.decide(
        session,
        caller,
        dispute,
        reason,
        quarrel.now,
        quarrel.world.tokens,
        ISSUER,
        to_claimant=True,
    )


def test_who_agrees_hands_it_over_at_once(quarrel: Market) -> None:
    quarrel.press()
    dispute = quarrel.dispute(quarrel.buyer)
    with write_session(quarrel.world.engine) as session:
        disputes.agree(session, quarrel.seller, dispute, quarrel.now, quarrel.world.tokens, ISSUER)
    assert [epoch for epoch, *_ in quarrel.owners()] == [1, 2]


def test_one_dispute_at_a_time_and_none_of_what_is_free_ones_own_or_held(quarrel: Market) -> None:
    third = quarrel.world.customer()
    quarrel.press()
    with pytest.raises(ConflictError, match="You own"):
        quarrel.dispute(quarrel.seller)
    with write_session(quarrel.world.engine) as session:
        held = holds.place(
            session,
            HUB,
            quarrel.product_id,
            HoldKind.FRAUD,
            "odd",
            quarrel.now,
            quarrel.world.tokens,
        ).id
    with pytest.raises(ConflictError, match="fraud"):
        quarrel.dispute(quarrel.buyer)
    with write_session(quarrel.world.engine) as session:
        holds.lift(session, HUB, held, quarrel.now)
    dispute = quarrel.dispute(quarrel.buyer)
    quarrel.press()
    with pytest.raises(ConflictError, match="disputes who owns"):
        quarrel.dispute(third)
    with pytest.raises(ConflictError, match="disputes who owns"):
        quarrel.offer()
    with write_session(quarrel.world.engine) as session:
        disputes.withdraw(session, quarrel.buyer, dispute, quarrel.now)
    assert quarrel.letters(quarrel.seller) == ["dispute.opened", "dispute.withdrawn"]
    lapsed = quarrel.dispute(third)
    quarrel.later(2 * DISPUTE_DAYS * DAY)
    quarrel.press()
    with pytest.raises(ConflictError, match="lapsed"):
        quarrel.complete(third, lapsed)
    moot = quarrel.dispute(quarrel.buyer)
    with read_session(quarrel.world.engine) as session:
        stands = {
            row.id: disputes.status(row, quarrel.now) for row in disputes.listed(session, HUB)
        }
        assert stands == {dispute: "withdrawn", lapsed: "lapsed", moot: "open"}
        assert [row.id for row in disputes.listed(session, third)] == [lapsed]
    with write_session(quarrel.world.engine) as session:
        ownership.release(session, quarrel.seller, quarrel.product_id, quarrel.now)
    quarrel.press()
    with pytest.raises(ConflictError, match="moot"):
        quarrel.complete(quarrel.buyer, moot)
    with pytest.raises(ConflictError, match="Nobody owns"):
        quarrel.dispute(quarrel.buyer)


def test_a_wrong_claim_is_undone_and_the_owner_before_sees_both_times(quarrel: Market) -> None:
    world = quarrel.world
    with write_session(world.engine) as session:
        subscriptions.start(
            session,
            HUB,
            quarrel.product_id,
            "comfort",
            T0 + DAY,
            world.tokens,
            paid_until=T0 + 400 * DAY,
        )
    quarrel.accept(quarrel.buyer, code=quarrel.offer().code)
    cut = quarrel.now
    quarrel.later(DAY)
    with write_session(world.engine) as session:
        with pytest.raises(ForbiddenError):
            undo(session, quarrel, quarrel.seller)
        with pytest.raises(InvalidInputError):
            undo(session, quarrel, HUB, reason="")
        restored = undo(session, quarrel, HUB)
    assert restored is not None
    assert restored.epoch == 3
    assert quarrel.owners()[2] == (3, quarrel.seller.owner_id, quarrel.now, None)
    with read_session(world.engine) as session:
        own = own_time(session, quarrel.product_id, quarrel.seller.owner_id)
        assert own is not None
        assert own.windows == (Window(0, 1, None, cut), Window(3, 3, quarrel.now))
        assert own_time(session, quarrel.product_id, quarrel.buyer.owner_id) is None
        epochs = session.scalars(select(Subscription.epoch).order_by(Subscription.epoch)).all()
        assert epochs == [1, 3]
    assert quarrel.letters(quarrel.buyer)[-1] == "ownership.undone"
    assert quarrel.letters(quarrel.seller)[-1] == "ownership.restored"
    assert quarrel.audited()[-1] == "product.undo"


def undo(
    session: Session, quarrel: Market, caller: Caller, reason: str = "wrong label"
) -> ownership.Claimed | None:
    return ownership.undo(
        session,
        caller,
        quarrel.product_id,
        reason,
        quarrel.now,
        quarrel.world.tokens,
    )


def test_undoing_a_first_claim_leaves_it_nobodys_and_in_time_only(quarrel: Market) -> None:
    with write_session(quarrel.world.engine) as session:
        assert undo(session, quarrel, HUB) is None
        with pytest.raises(ConflictError, match="nothing to undo"):
            undo(session, quarrel, HUB)
    quarrel.later()
    quarrel.claim(quarrel.buyer)
    quarrel.later(30 * DAY)
    with write_session(quarrel.world.engine) as session, pytest.raises(ConflictError, match="30"):
        undo(session, quarrel, HUB)


def test_staff_who_take_a_product_back_tell_its_owner(quarrel: Market) -> None:
    with write_session(quarrel.world.engine) as session:
        ownership.release(session, HUB, quarrel.product_id, quarrel.now)
        with pytest.raises(ConflictError, match="Nobody owns"):
            ownership.release(session, HUB, quarrel.product_id, quarrel.now)
    assert quarrel.letters(quarrel.seller) == ["ownership.taken_back"]
    assert transfers.USUAL_DAYS == 14
