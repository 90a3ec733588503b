"""Writes that happen once by key, and edits only of what was read."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select
from starlette.requests import Request as HttpRequest
from starlette.testclient import TestClient

from device_sdk.wire.messages import Reported
from hub.api.access import STAFF, Need, Rule
from hub.api.conditional import conditions
from hub.errors import HubError, KeyMissingError, PreconditionRequiredError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.idempotency_tables import KeptAnswer
from hub.ports.database.ownership_tables import Subscription
from hub.ports.database.record_tables import Audit
from hub.services import contacts, subscriptions
from hub.services.caller import HUB
from hub.services.idempotency import KEPT_NS
from tests.hub.api.api_world import World, ok, problem

KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'


class Shop:
    """Somebody who subscribes a product of Ada's."""

    def __init__(self, world: World, ada: TestClient) -> None:
        self.world = world
        self.unit = world.unit(ada)
        self.path = f"/api/v1/owners/{world.owners['ada']}/subscriptions"
        self.body = {"product_id": self.unit.product_id, "plan": "comfort"}

    def buy(self, client: TestClient | None = None, key: str = KEY) -> httpx.Response:
        seller = client or self.world.operator
        headers = httpx.Headers([(b"Idempotency-Key", key.encode("latin-1"))])
        answer: httpx.Response = seller.post(self.path, json=self.body, headers=headers)
        return answer

    @property
    def sold(self) -> int:
        with read_session(self.world.hub.engine) as session:
            return session.scalar(select(func.count()).select_from(Subscription)) or 0


@pytest.fixture
def shop(world: World, ada: TestClient) -> Shop:
    return Shop(world, ada)


def test_a_repeated_write_happens_once_and_is_answered_byte_for_byte(shop: Shop) -> None:
    first = shop.buy()
    ok(first, 201)
    shop.world.clock.now += 3_600_000_000_000
    again = shop.buy()
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert shop.sold == 1


def test_without_a_key_nothing_is_kept(shop: Shop) -> None:
    for _ in range(2):
        ok(shop.world.operator.post(shop.path, json=shop.body), 201)
    assert shop.sold == 2
    with read_session(shop.world.hub.engine) as session:
        assert session.scalars(select(KeptAnswer)).all() == []


def test_a_key_belongs_to_its_caller(shop: Shop, support: TestClient) -> None:
    mine, theirs = ok(shop.buy(), 201), ok(shop.buy(support), 201)
    assert mine["id"] != theirs["id"]
    assert shop.sold == 2


def test_a_key_stands_for_one_request(shop: Shop, ada: TestClient) -> None:
    ok(shop.buy(), 201)
    other = {**shop.body, "paid_until": "2027-01-31T08:00:00Z"}
    answer = shop.world.operator.post(shop.path, json=other, headers={"Idempotency-Key": KEY})
    problem(answer, 422, "idempotency-key-reused")
    elsewhere = shop.world.operator.post(
        f"/api/v1/products/{shop.unit.device_id}/grants",
        json=shop.body,
        headers={"Idempotency-Key": KEY},
    )
    problem(elsewhere, 422, "invalid-input")  # the body is looked at first
    assert shop.sold == 1


def test_a_refused_write_may_be_sent_again_with_its_key(shop: Shop, ada: TestClient) -> None:
    shop.body["plan"] = "luxury"
    problem(shop.buy(), 404, "not-found")
    shop.body["plan"] = "comfort"
    ok(shop.buy(), 201)


def test_a_write_and_its_answer_are_kept_together_or_not_at_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("hub.services.idempotency.keep", lost)
    problem(shop.buy(), 500, "internal")
    assert shop.sold == 0
    monkeypatch.undo()
    ok(shop.buy(), 201)
    assert shop.sold == 1


def test_of_many_at_once_one_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    start = subscriptions.start

    def slowly(*args: object, **named: object) -> Subscription:
        began.set()
        assert go_on.wait(120)
        return start(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(subscriptions, "start", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shop.buy)
        assert began.wait(120)
        waiting = shop.buy()
        go_on.set()
        ok(first.result(), 201)
    problem(waiting, 409, "idempotency-in-progress")
    assert shop.buy().content == first.result().content
    assert shop.sold == 1


def test_answers_are_forgotten_after_two_days(shop: Shop) -> None:
    ok(shop.buy(), 201)
    shop.world.clock.now += KEPT_NS
    ok(shop.buy(key="another"), 201)
    with read_session(shop.world.hub.engine) as session:
        (kept,) = session.scalars(select(KeptAnswer)).all()
    assert kept.key == "another"
    ok(shop.buy(), 201)
    assert shop.sold == 3


@pytest.mark.parametrize("key", ["", '"', '"unended', "two words", "é", "x" * 256, '"a\\b"'])
def test_keys_that_are_none_are_refused(shop: Shop, key: str) -> None:
    answer = shop.buy(key=key)
    problem(answer, 400, "idempotency-key")
    assert shop.sold == 0


def test_a_quoted_and_a_bare_key_are_the_same(shop: Shop) -> None:
    first = shop.buy(key='"k-1"')
    assert shop.buy(key="k-1").content == first.content


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (Rule(STAFF, once=Need.REQUIRED), KeyMissingError),
        (Rule(STAFF, edits="get_catalogue", match=Need.REQUIRED), PreconditionRequiredError),
    ],
)
def test_headers_that_a_row_requires(world: World, rule: Rule, error: type[HubError]) -> None:
    bare = HttpRequest({"type": "http", "method": "POST", "headers": []})
    with pytest.raises(error):
        asyncio.run(conditions(bare, world.hub, HUB, rule))


def settings_of(world: World) -> str:
    return f"/api/v1/owners/{world.owners['ada']}/settings"


def test_an_edit_of_what_was_changed_in_between_is_refused(world: World, ada: TestClient) -> None:
    world.unit(ada)
    path = settings_of(world)
    read = ada.get(path)
    tag = read.headers["etag"]
    assert tag.startswith('"')
    done = ada.patch(path, json={"values": {"eco": True}}, headers={"If-Match": tag})
    ok(done)
    assert done.headers["etag"] == ada.get(path).headers["etag"] != tag
    late = ada.patch(path, json={"values": {"eco": False}}, headers={"If-Match": tag})
    assert problem(late, 412, "precondition-failed")["etag"] == done.headers["etag"]
    assert ok(ada.get(path))["values"] == {"eco": True}


def test_a_configuration_is_not_changed_behind_ones_back(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    path = f"/api/v1/products/{unit.device_id}/configuration"
    read = ada.get(path)
    assert (ok(read)["desired"], read.json()["version"]) == ({}, 0)
    before = {"If-Match": read.headers["etag"]}
    with write_session(world.hub.engine) as session:  # what it reports is nobody's edit
        contacts.reported(session, unit.device_id, Reported(1, {"own": 2}, 1, {}), world.clock.now)
    done = ada.patch(path, json={"values": {"eco": True}}, headers=before)
    ok(done)
    for write in (ada.patch, ada.put):
        late = write(path, json={"values": {"eco": False}}, headers=before)
        assert problem(late, 412, "precondition-failed")["etag"] == done.headers["etag"]
    assert ok(ada.get(path))["desired"] == {"eco": True}
    now = {"If-Match": done.headers["etag"]}
    ok(ada.put(path, json={"values": {"target_c": 21}}, headers=now))
    assert ok(ada.get(path))["desired"] == {"target_c": 21}
    assert (
        ada.get(path, headers={"If-None-Match": ada.get(path).headers["etag"]}).status_code == 304
    )


@pytest.mark.parametrize(
    ("match", "status"),
    [
        ("*", 200),
        ('"no", {tag}', 200),
        ("W/{tag}", 412),
        ('"no"', 412),
        ("{tag", 422),
        ("", 412),
    ],
)
def test_what_if_match_means(world: World, ada: TestClient, match: str, status: int) -> None:
    world.unit(ada)
    tag = ada.get(settings_of(world)).headers["etag"]
    sent = {"If-Match": match.replace("{tag}", tag)}
    answer = ada.patch(settings_of(world), json={"values": {"eco": True}}, headers=sent)
    assert answer.status_code == status, answer.text


def test_what_is_known_is_not_sent_again(world: World, ada: TestClient) -> None:
    world.unit(ada)
    tag = ada.get(settings_of(world)).headers["etag"]
    same = ada.get(settings_of(world), headers={"If-None-Match": f'"x", W/{tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    ok(ada.patch(settings_of(world), json={"values": {"eco": True}}))
    ok(ada.get(settings_of(world), headers={"If-None-Match": tag}))


def test_the_catalogue_is_not_changed_behind_ones_back(world: World) -> None:
    tag = world.operator.get("/api/v1/catalogue").headers["etag"]
    toml = '[models.kettle]\n[[models.kettle.metrics]]\nname = "temp_c"\n'
    sent = {"Content-Type": "application/toml", "If-Match": tag}
    changed = world.operator.post("/api/v1/catalogue", content=toml, headers=sent)
    ok(changed)
    assert changed.headers["etag"] == world.operator.get("/api/v1/catalogue").headers["etag"]
    other = toml.replace("kettle", "toaster")
    late = world.operator.post("/api/v1/catalogue", content=other, headers=sent)
    problem(late, 412, "precondition-failed")


def test_what_failed_was_not_heard_of(world: World, ada: TestClient) -> None:
    heard: list[object] = []
    world.unit(ada)
    with read_session(world.hub.engine) as session:
        before = session.scalar(select(func.count()).select_from(Audit))
    world.hub.live.publish = lambda *said, **_: heard.append(said)  # type: ignore[method-assign]
    answer = ada.patch(
        settings_of(world), json={"values": {"eco": True}}, headers={"If-Match": '"no"'}
    )
    problem(answer, 412, "precondition-failed")
    with read_session(world.hub.engine) as session:
        assert session.scalar(select(func.count()).select_from(Audit)) == before
    assert heard == []


def test_the_description_says_which_headers_are_heeded(world: World) -> None:
    document = ok(world.anonymous.get("/api/v1/openapi.json"))
    buy = document["paths"]["/api/v1/owners/{owner_id}/subscriptions"]["post"]
    assert {"name": "Idempotency-Key", "in": "header", "required": False} in [
        {part: one[part] for part in ("name", "in", "required")} for one in buy["parameters"]
    ]
    assert {"400", "409"} <= buy["responses"].keys()
    edit = document["paths"]["/api/v1/owners/{owner_id}/settings"]["patch"]
    assert "If-Match" in [one["name"] for one in edit["parameters"]]
    assert "412" in edit["responses"]
