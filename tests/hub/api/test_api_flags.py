"""Decisions asked for as flags: by the protocol, and by an OpenFeature client."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from starlette.testclient import TestClient

from hub.api.flags import UNLIMITED
from hub.api.limits import RateLimit
from tests.hub.api.api_world import CATALOGUE, DAY, SECOND, Unit, World, ok, problem

FEATURES = {
    **CATALOGUE["models"]["heat-pump"]["features"],
    "schedules": {"kind": "value", "low": 1, "high": 10},
    "theme": {"kind": "value", "choices": ["dark", "light"], "default": "light"},
    "boost_hours": {"kind": "metered", "unit": "h"},
    "exports": {"kind": "metered"},
}
TERMS = {"telemetry": {}, "schedules": {"value": 5}, "boost_hours": {"value": 20}, "exports": {}}


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    """A product of Ada's on a plan with features of all kinds."""
    model = {**CATALOGUE["models"]["heat-pump"], "features": FEATURES}
    document = {
        "models": {"heat-pump": model},
        "plans": {"pro": {"versions": [{"version": 1, "features": TERMS}]}},
    }
    ok(world.operator.post("/api/v1/catalogue", json=document))
    made = world.unit(ada)
    world.subscribe("ada", made, plan="pro", paid_until="2026-03-01T00:00:00Z")
    return made


def context(key: Any, **more: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": key, **more}}


def test_a_flag_says_what_was_decided_and_why(world: World, ada: TestClient, unit: Unit) -> None:
    path = "/ofrep/v1/evaluate/flags/boost_hours"
    flag = ok(ada.post(path, json=context(unit.device_id, app="shop")))
    assert (flag["key"], flag["value"], flag["variant"]) == ("boost_hours", 20, "20")
    assert flag["reason"] == "TARGETING_MATCH"
    explained = ok(ada.get(f"/api/v1/products/{unit.device_id}/entitlements/boost_hours"))
    decided = explained["decision"]
    assert flag["metadata"] == {
        "allowed": True,
        "code": "plan",
        "sentence": decided["sentence"],
        "rule": "plan",
        "until": "2026-03-01T00:00:00Z",
        "ownerEpoch": 1,
        "safe": False,
        "plan": "pro",
        "planVersion": 1,
        "args.plan": "pro",
        "args.until_at": "2026-03-01T00:00:00Z",
    }
    assert ok(ada.post(path, json=context(unit.product_id))) == flag


def test_all_flags_of_a_product_with_a_tag(world: World, ada: TestClient, unit: Unit) -> None:
    path = "/ofrep/v1/evaluate/flags"
    answer = ada.post(path, json=context(unit.device_id))
    found = ok(answer)
    assert found["metadata"] == {
        "product": unit.product_id,
        "model": "heat-pump",
        "ownerEpoch": 1,
    }
    values = {flag["key"]: (flag.get("value"), flag["reason"]) for flag in found["flags"]}
    assert values == {
        "boost_hours": (20, "TARGETING_MATCH"),
        "exports": (UNLIMITED, "TARGETING_MATCH"),
        "frost_protection": (True, "STATIC"),
        "holiday_mode": (False, "DEFAULT"),
        "schedules": (5, "TARGETING_MATCH"),
        "telemetry": (True, "TARGETING_MATCH"),
        "theme": ("light", "STATIC"),
    }
    tag = answer.headers["etag"]
    world.clock.now += SECOND
    for sent in (tag, f'"other", W/{tag}', "*"):
        same = ada.post(path, json=context(unit.device_id), headers={"If-None-Match": sent})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    world.clock.now += 60 * DAY  # what was paid for is over
    answer = world.operator.post(path, json=context(unit.device_id), headers={"If-None-Match": tag})
    lapsed = {flag["key"]: flag for flag in ok(answer)["flags"]}
    assert answer.headers["etag"] != tag
    assert (lapsed["boost_hours"]["value"], lapsed["telemetry"]["value"]) == (0, False)
    assert "value" not in lapsed["schedules"], "the client takes its own default"
    assert lapsed["frost_protection"]["value"] is True
    hold = {"kind": "fraud", "reason": "charged back"}
    ok(world.operator.post(f"/api/v1/products/{unit.device_id}/holds", json=hold), 201)
    blocked = ok(world.operator.post(f"{path}/telemetry", json=context(unit.device_id)))
    assert (blocked["reason"], blocked["metadata"]["code"]) == ("DISABLED", "hold")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b"[" * 60_000, "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "zzzzzzzzzzzzzzzz"}}', "INVALID_CONTEXT"),
    ],
)
def test_what_cannot_be_evaluated(ada: TestClient, body: bytes, code: str) -> None:
    one = ada.post("/ofrep/v1/evaluate/flags/telemetry", content=body)
    assert (one.status_code, one.json()["errorCode"]) == (400, code)
    assert one.json()["key"] == "telemetry"
    every = ada.post("/ofrep/v1/evaluate/flags", content=body)
    assert (every.status_code, every.json()["errorCode"]) == (400, code)
    assert "key" not in every.json()
    assert every.json()["errorDetails"]


def test_somebody_elses_product_is_answered_like_none(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    path = "/ofrep/v1/evaluate/flags/telemetry"
    theirs = bob.post(path, json=context(unit.device_id))
    none = bob.post(path, json=context("z" * 16))
    assert (theirs.status_code, none.status_code) == (400, 400)
    assert theirs.text.replace(unit.device_id, "#") == none.text.replace("z" * 16, "#")
    unknown = ada.post("/ofrep/v1/evaluate/flags/typo", json=context(unit.device_id))
    assert (unknown.status_code, unknown.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    problem(world.anonymous.post(path, json=context(unit.device_id)), 401, "not-authenticated")
    made = ok(
        ada.post("/api/v1/me/api-keys", json={"name": "x", "scopes": ["telemetry:read"]}), 201
    )
    program = world.client(None, **{"X-API-Key": made["key"]})
    problem(program.post(path, json=context(unit.device_id)), 403, "forbidden")


def test_who_asks_too_often_is_told_when_to_come_back(
    world: World, ada: TestClient, unit: Unit
) -> None:
    object.__setattr__(world.hub.limits, "flags", RateLimit("ask", tries=1, window_s=60))
    path = "/ofrep/v1/evaluate/flags/telemetry"
    ok(ada.post(path, json=context(unit.device_id)))
    answer = ada.post(path, json=context(unit.device_id))
    problem(answer, 429, "rate-limited")
    assert answer.headers["retry-after"] == "60"


class Bridge(requests.adapters.BaseAdapter):
    """Hands what the provider sends to the application."""

    def __init__(self, client: TestClient) -> None:
        super().__init__()
        self._client = client

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        assert request.url
        assert request.method
        answer = self._client.request(
            request.method, request.url, content=request.body, headers=dict(request.headers)
        )
        response = requests.Response()
        response.status_code = answer.status_code
        response.headers.update(answer.headers)
        response._content = answer.content
        response.request = request
        return response

    def close(self) -> None:
        pass


@pytest.fixture
def asked(world: World) -> Callable[[str], OpenFeatureClient]:
    def client(key: str) -> OpenFeatureClient:
        provider = OFREPProvider("https://testserver", headers_factory=lambda: {"X-API-Key": key})
        provider.session.mount("https://testserver", Bridge(world.anonymous))
        api.set_provider(provider)
        return api.get_client()

    return client


def test_an_openfeature_client_can_ask(
    world: World, ada: TestClient, unit: Unit, asked: Callable[[str], OpenFeatureClient]
) -> None:
    body = {"name": "shop", "scopes": ["products:read"]}
    key = ok(ada.post("/api/v1/me/api-keys", json=body), 201)["key"]
    client, of = asked(key), EvaluationContext(targeting_key=unit.device_id)
    quota = client.get_integer_details("boost_hours", 0, of)
    assert (quota.value, quota.reason, quota.variant) == (20, Reason.TARGETING_MATCH, "20")
    assert quota.flag_metadata["args.plan"] == "pro"
    assert client.get_boolean_value("frost_protection", default_value=False, evaluation_context=of)
    assert client.get_string_value("theme", "dark", of) == "light"
    off = client.get_boolean_details("holiday_mode", default_value=True, evaluation_context=of)
    assert (off.value, off.reason) == (False, Reason.DEFAULT)
    world.clock.now += 60 * DAY
    assert client.get_integer_value("schedules", 3, of) == 3, "the program's own default"
    for name, code in (("typo", ErrorCode.FLAG_NOT_FOUND), ("theme", ErrorCode.TYPE_MISMATCH)):
        wrong = client.get_integer_details(name, 7, of)
        assert (wrong.value, wrong.error_code) == (7, code)
    missing = client.get_integer_details("boost_hours", 7)
    assert missing.error_code == ErrorCode.TARGETING_KEY_MISSING
    elsewhere = EvaluationContext(targeting_key="z" * 16)
    assert client.get_integer_details("boost_hours", 7, elsewhere).error_code == (
        ErrorCode.INVALID_CONTEXT
    )
    stranger = asked("hpk_wrong")
    refused = stranger.get_boolean_details("telemetry", default_value=False, evaluation_context=of)
    assert (refused.error_code, refused.error_message) == (ErrorCode.GENERAL, "unauthorized")
