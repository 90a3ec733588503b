"""Webhooks over real HTTP, to a receiver that loses, delays, doubles and refuses."""

import base64
import hashlib
import hmac
import random
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from entitlements.facts import HoldKind
from hub.app.webhook_sender import WebhookSender
from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Subscription
from hub.ports.database.record_tables import Audit
from hub.ports.database.webhook_tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from hub.ports.webhook.https import HttpsPost, is_public
from hub.services import holds, ownership, subscriptions, webhook_deliveries, webhook_endpoints
from hub.services.alerts import apply_findings
from hub.services.caller import HUB, Caller
from hub.services.found import Found
from hub.services.webhook_events import EventType, watch
from tests.hub.app.webhook_receiver import Heard, Receiver
from tests.hub.services.service_world import DAY, T0, S, World

if TYPE_CHECKING:
    from hub.services.events import Event

WORLD_S = 1_700_000_000


class Shop:
    """A hub with a sold product, and a receiver who hears of it."""

    def __init__(self, world: World, receiver: Receiver) -> None:
        self.world, self.receiver, self.now = world, receiver, T0
        self.told: list[Event] = []
        watch(world.engine, world.tokens, lambda: self.now)
        self.sender = WebhookSender(
            world.engine,
            HttpsPost(1.0, private_allowed=True),
            world.tokens,
            clock=lambda: self.now,
            world=lambda: WORLD_S * S,
            chance=random.Random(7),  # noqa: S311  seeded, guards nothing
            publish=self.told.append,
        )
        self.owner: Caller = world.customer()
        self.product = world.product()
        self.endpoint = self.register()

    def register(self, *types: EventType, url: str = "") -> str:
        with write_session(self.world.engine) as session:
            row = webhook_endpoints.register(
                session,
                HUB,
                url or self.receiver.url,
                types,
                "",
                self.now,
                self.world.tokens,
                plain=True,
            )
            return row.id

    def claim(self) -> None:
        self.world.claim(self.product, self.owner, self.now)

    def subscribe(self) -> str:
        with write_session(self.world.engine) as session:
            product_id = self.product.product_id
            row = subscriptions.start(
                session, HUB, product_id, "comfort", self.now, self.world.tokens
            )
            return row.id

    def types(self) -> list[str]:
        return [one.json["type"] for one in self.receiver.heard]

    def row(self) -> WebhookEndpoint:
        with read_session(self.world.engine) as session:
            return session.get_one(WebhookEndpoint, self.endpoint)

    def waits(self) -> list[int]:
        with read_session(self.world.engine) as session:
            found = select(WebhookDelivery.next_at).where(WebhookDelivery.next_at.is_not(None))
            return [at for at in session.scalars(found) if at is not None]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def shop(world: World, receiver: Receiver) -> Shop:
    return Shop(world, receiver)


def signatures(shop: Shop, heard: Heard, *numbers: int) -> list[str]:
    """Sign as the specification says, by other means than the hub's."""
    content = b".".join(
        [heard.id.encode(), heard.headers["webhook-timestamp"].encode(), heard.body]
    )
    found = []
    for number in numbers:
        secret = webhook_endpoints.secret(shop.world.tokens, shop.endpoint, number)
        assert secret.startswith("whsec_")
        key = base64.b64decode(secret.removeprefix("whsec_"))
        assert 24 <= len(key) <= 64
        digest = hmac.new(key, content, hashlib.sha256).digest()
        found.append(f"v1,{base64.b64encode(digest).decode()}")
    return found


def test_what_happens_is_told_in_full_and_signed(shop: Shop) -> None:
    shop.claim()
    subscription = shop.subscribe()
    assert shop.sender.step() == 2
    assert shop.types() == ["product.claimed", "subscription.started"]
    for heard in shop.receiver.heard:
        assert heard.path == "/hooks?to=shop"
        assert heard.headers["content-type"] == "application/json"
        assert heard.headers["webhook-timestamp"] == str(WORLD_S)
        assert heard.headers["webhook-signature"].split() == signatures(shop, heard, 1)
    last = shop.receiver.heard[-1].data
    assert last["cause"] == {"subscription_id": subscription}
    assert last["product"]["owner_id"] == shop.owner.owner_id
    assert [one["id"] for one in last["subscriptions"]] == [subscription]
    assert {one["feature"]: one["allowed"] for one in last["entitlements"]}["telemetry"] is True
    first = shop.receiver.heard[0].data
    # What holds is made when it is sent: also the first tells of the subscription.
    assert first["subscriptions"] == last["subscriptions"]
    assert first["version"] == last["version"]


def test_the_reference_library_takes_the_signature(shop: Shop) -> None:
    shop.claim()
    shop.sender.step()
    (heard,) = shop.receiver.heard
    secret = webhook_endpoints.secret(shop.world.tokens, shop.endpoint, 1)
    signed = Webhook(secret).sign(
        heard.id, datetime.fromtimestamp(WORLD_S, UTC), heard.body.decode()
    )
    assert signed == heard.headers["webhook-signature"]


def test_a_known_answer_of_the_specification(shop: Shop) -> None:
    """The example of the reference implementations: same key, id, time and body, same signature."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    content = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    digest = hmac.new(key, content, hashlib.sha256).digest()
    assert base64.b64encode(digest) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_while_one_takes_the_place_of_the_other(shop: Shop) -> None:
    with write_session(shop.world.engine) as session:
        webhook_endpoints.rotate(session, HUB, shop.endpoint, shop.now, overlap_s=60)
    shop.claim()
    shop.sender.step()
    heard = shop.receiver.heard[-1]
    assert heard.headers["webhook-signature"].split() == signatures(shop, heard, 2, 1)
    shop.now += 60 * S
    shop.subscribe()
    shop.sender.step()
    heard = shop.receiver.heard[-1]
    assert heard.headers["webhook-signature"].split() == signatures(shop, heard, 2)
    assert signatures(shop, heard, 1) != signatures(shop, heard, 2)


def test_what_was_undone_is_not_told(shop: Shop) -> None:
    class LostError(Exception):
        pass

    def lose() -> None:
        with write_session(shop.world.engine) as session:
            ownership.claim(session, shop.owner, shop.product.claim_code, T0, shop.world.tokens)
            raise LostError

    with pytest.raises(LostError):
        lose()
    with read_session(shop.world.engine) as session:
        assert session.scalars(select(WebhookEvent)).all() == []
    assert shop.sender.step() == 0


def test_nobody_listens_nothing_is_kept(shop: Shop) -> None:
    with write_session(shop.world.engine) as session:
        webhook_endpoints.remove(session, HUB, shop.endpoint, T0)
    shop.claim()
    with read_session(shop.world.engine) as session:
        assert session.scalars(select(WebhookEvent)).all() == []


def test_who_wants_to_hear_of_some_hears_of_those(shop: Shop) -> None:
    with write_session(shop.world.engine) as session:
        webhook_endpoints.remove(session, HUB, shop.endpoint, T0)
    shop.endpoint = shop.register(EventType.PRODUCT_RELEASED)
    shop.claim()
    shop.subscribe()
    with write_session(shop.world.engine) as session:
        ownership.release(session, shop.owner, shop.product.product_id, T0)
    shop.sender.step()
    (heard,) = shop.receiver.heard
    assert heard.json["type"] == "product.released"
    assert heard.data["product"]["owner_id"] is None
    assert heard.data["version"] >= 3  # numbers rise with what nobody asked for too


def test_alerts_holds_and_cancellations_are_told(shop: Shop) -> None:
    slot = shop.world.enrol(shop.product).slot
    shop.claim()
    subscription = shop.subscribe()
    with write_session(shop.world.engine) as session:
        found = Found(bytes([9] * 16), slot, 0, 6, 3, T0, T0 - S, 20.0, 71.5, None, 70.0)
        apply_findings(session, [found], T0)
    with write_session(shop.world.engine) as session:
        holds.place(
            session,
            HUB,
            shop.product.product_id,
            HoldKind.PAYMENT,
            "x",
            T0,
            shop.world.tokens,
        )
    with write_session(shop.world.engine) as session:
        subscriptions.cancel(session, HUB, subscription, T0)
    shop.sender.step()
    told = shop.types()
    assert "alert.opened" in told
    assert "entitlements.changed" in told
    assert "subscription.cancelled" in told
    last = shop.receiver.heard[-1].data
    assert len(last["open_alerts"]) == 1
    assert last["subscriptions"][0]["cancelled_at"] is not None


def test_retries_follow_the_schedule_and_each_try_is_written_down(shop: Shop) -> None:
    answers = iter([500, 0, 302, 429, 204])
    shop.receiver.answer = lambda _n, _heard: (
        next(answers),
        {"Retry-After": "9000", "Location": shop.receiver.url},
        0.0,
    )
    shop.claim()
    expected = (5, 300, 1_800, 9_000)
    gaps = []
    for _ in range(5):
        assert shop.sender.step() == 1
        assert shop.sender.step() == 0
        if waits := shop.waits():
            gaps.append((waits[0] - shop.now) / S)
            assert shop.sender.next_due(shop.now) == waits[0]
            shop.now = waits[0]
    # A fifth longer at most, and never before the receiver wants to be asked.
    assert gaps[3] >= expected[3]
    assert all(gap >= 9_000 for gap in gaps[2:])
    ids = {heard.id for heard in shop.receiver.heard}
    assert len(ids) == 1
    assert len(shop.receiver.heard) == 5  # the redirect was not followed
    with read_session(shop.world.engine) as session:
        tries = session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.number)).all()
        (delivery,) = session.scalars(select(WebhookDelivery)).all()
    assert [one.status for one in tries] == [500, None, 302, 429, 204]
    assert tries[1].error
    assert delivery.delivered_at == shop.now
    assert shop.row().failing_since is None


def test_the_schedule_lasts_three_days_and_then_the_endpoint_is_disabled(shop: Shop) -> None:
    shop.receiver.answer = lambda _n, _heard: (503, {}, 0.0)
    shop.claim()
    while waits := shop.waits():
        shop.now = max(shop.now, min(waits))
        if shop.sender.step() == 0:
            break
    assert len(shop.receiver.heard) == len(webhook_deliveries.WAITS_S) + 1
    days = (shop.now - T0) / DAY
    assert 3.1 < days < 3.8
    assert shop.row().disabled_why == "failing"
    assert [event.kind for event in shop.told] == ["webhook"]
    with read_session(shop.world.engine) as session:
        assert "failed for days" in webhook_endpoints.problems(session)[0]
        actions = session.scalars(select(Audit.action)).all()
    assert "webhook.disable" in actions
    shop.receiver.answer = lambda _n, _heard: (204, {}, 0.0)
    assert shop.sender.step() == 0
    with write_session(shop.world.engine) as session:
        webhook_endpoints.change(session, HUB, shop.endpoint, shop.now, enabled=True)
    assert shop.sender.step() == 1  # what waited goes out


def test_an_endpoint_that_is_gone_is_not_asked_again(shop: Shop) -> None:
    shop.receiver.answer = lambda _n, _heard: (410, {}, 0.0)
    shop.claim()
    shop.subscribe()
    shop.sender.step()
    assert len(shop.receiver.heard) == 1
    assert shop.row().disabled_why == "gone"


def test_what_a_receiver_cannot_digest_holds_up_nothing_else(shop: Shop) -> None:
    def answer(_number: int, heard: Heard) -> tuple[int, dict[str, str], float]:
        return (500 if heard.json["type"] == "product.claimed" else 204), {}, 0.0

    shop.receiver.answer = answer
    shop.claim()
    shop.subscribe()
    shop.sender.step()
    assert shop.types() == ["product.claimed", "subscription.started"]
    assert len(shop.waits()) == 1


def test_a_slow_receiver_is_given_up_after_the_whole_time(shop: Shop) -> None:
    shop.receiver.answer = lambda _n, _heard: (204, {}, 1.6)
    shop.claim()
    shop.sender.step()
    with read_session(shop.world.engine) as session:
        (tried,) = session.scalars(select(WebhookAttempt)).all()
    assert (tried.status, tried.error) == (None, "no answer within 1 s")


def test_an_answer_letter_by_letter_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4_096)
                while not stop.wait(0.1):
                    try:
                        peer.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        posted = HttpsPost(0.5, private_allowed=True)(url, {}, b"{}")
        stop.set()
        thread.join()
    assert (posted.status, posted.error) == (None, "no answer within 0.5 s")


def test_a_delivery_is_sent_again_by_hand_under_its_own_id(shop: Shop) -> None:
    shop.claim()
    shop.sender.step()
    with read_session(shop.world.engine) as session:
        (delivery,) = session.scalars(select(WebhookDelivery.id)).all()
    shop.subscribe()
    shop.sender.step()
    with write_session(shop.world.engine) as session:
        webhook_deliveries.send_again(session, HUB, delivery, shop.now)
    shop.sender.step()
    first, second, again = shop.receiver.heard
    assert first.id == again.id != second.id
    assert again.data["subscriptions"] == second.data["subscriptions"]  # with what holds now


def test_a_receiver_is_right_in_the_end_though_much_is_lost_doubled_and_late(shop: Shop) -> None:
    seed = 11
    chance = random.Random(seed)  # noqa: S311  seeded, guards nothing
    held: dict[str, Any] = {}

    def answer(_number: int, heard: Heard) -> tuple[int, dict[str, str], float]:
        if chance.random() < 0.3:
            return 503, {}, 0.0  # lost
        data = heard.data
        if (data["version"], data["as_of"]) >= (held.get("version", 0), held.get("as_of", "")):
            held.clear()
            held.update(data)
        # Doubled: it was taken, but the sender does not hear so.
        return (0 if chance.random() < 0.3 else 204), {}, 0.0

    shop.receiver.answer = answer
    shop.claim()
    for _ in range(12):
        row = shop.subscribe()
        shop.now += chance.randrange(1, 400) * S
        with write_session(shop.world.engine) as session:
            subscriptions.cancel(session, HUB, row, shop.now)
        shop.sender.step()
    while waits := shop.waits():
        shop.now = max(shop.now, min(waits))
        shop.sender.step()
    with read_session(shop.world.engine) as session:
        ids = set(session.scalars(select(Subscription.id)))
    assert {one["id"] for one in held["subscriptions"]} == ids, seed
    assert all(one["cancelled_at"] for one in held["subscriptions"]), seed
    assert len(shop.receiver.heard) > 25, seed


def test_old_events_are_forgotten(shop: Shop) -> None:
    shop.claim()
    shop.sender.step()
    with write_session(shop.world.engine) as session:
        webhook_deliveries.prune(session, T0 + webhook_deliveries.KEPT_NS)
    with read_session(shop.world.engine) as session:
        for table in (WebhookEvent, WebhookDelivery, WebhookAttempt):
            assert session.scalars(select(table)).all() == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "http://example.org/",
        "https://",
        "https://ada:secret@example.org/",
        "https://example.org/#x",
        "https://example.org:0/",
        "https://[::1/",
    ],
)
def test_addresses_that_are_none(world: World, url: str) -> None:
    with pytest.raises(InvalidInputError), write_session(world.engine) as session:
        webhook_endpoints.register(session, HUB, url, [], "", T0, world.tokens)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  an address to refuse
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("nonsense", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_name_that_leads_inside_is_not_asked(receiver: Receiver) -> None:
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["93.184.216.34", "127.0.0.1"]  # one that leads inside is enough

    posted = HttpsPost(1.0, resolve=resolve)("https://evil.example/x", {}, b"{}")
    assert posted.status is None
    assert "not public" in posted.error
    assert asked == [("evil.example", 443)]
    assert receiver.heard == []


def test_the_connection_goes_to_the_address_that_was_looked_at(receiver: Receiver) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    post = HttpsPost(1.0, private_allowed=True, resolve=lambda *_: next(answers))
    port = receiver.url.rpartition(":")[2].partition("/")[0]
    posted = post(f"http://shop.example:{port}/x", {}, b"{}")
    assert posted.status == 204
    assert receiver.heard[0].headers["host"] == f"shop.example:{port}"


def test_what_breaks_is_said_without_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    posted = HttpsPost(1.0, private_allowed=True)(f"http://127.0.0.1:{port}/tok3n", {}, b"{}")
    assert (posted.status, posted.error) == (None, "the connection was refused")
