import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.testclient import TestClient

from device_sdk.wire import topics
from tests.hub.api.api_world import KEY, START, World, csr, enrolment_body, ok, problem

SECOND = 1_000_000_000


def renewal(device_id: str, time_s: int, key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, str]:
    request, time = csr(), str(time_s)
    message = (
        f"homeport/renew/1\n{device_id}\n{time}\n{hashlib.sha256(request.encode()).hexdigest()}"
    )
    signature = key.sign(message.encode(), ec.ECDSA(hashes.SHA256()))
    return {"device_id": device_id, "csr": request, "time": time, "signature": signature.hex()}


def test_enrolment_answers_as_the_wire_says(world: World) -> None:
    unit = world.unit(enrolled=False)
    answer = ok(world.anonymous.post("/api/v1/enroll", json=enrolment_body(unit)), 201)
    assert set(answer) == {
        "device_id",
        "certificate",
        "trust_bundle",
        "broker",
        "brokers",
        "topic_root",
        "shard",
        "signing_keys",
        "incarnation",
    }
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    (name,) = certificate.subject
    assert name.value == answer["device_id"]
    assert answer["shard"] == topics.shard_of(answer["device_id"])
    assert answer["broker"] == {"host": "broker.example.org", "port": 8883}
    assert answer["topic_root"] == "hp/1"
    assert answer["incarnation"] == bytes(range(8)).hex()
    (key,) = answer["signing_keys"]
    assert key["kid"] == hashlib.sha256(bytes.fromhex(key["key"])).digest()[:8].hex()


def test_a_serial_enrols_once(world: World) -> None:
    unit = world.unit()
    body = enrolment_body(unit)
    body["csr"] = csr(ec.generate_private_key(ec.SECP256R1()))
    again = world.anonymous.post("/api/v1/enroll", json=body)
    assert problem(again, 409, "conflict")["serial"] == unit.serial


def test_a_wrong_secret_and_an_unknown_serial_look_the_same(world: World) -> None:
    unit = world.unit(enrolled=False)
    wrong = world.anonymous.post("/api/v1/enroll", json={**enrolment_body(unit), "secret": "x"})
    unknown = world.anonymous.post("/api/v1/enroll", json={**enrolment_body(unit), "serial": "x"})
    first, second = problem(wrong, 403, "forbidden"), problem(unknown, 403, "forbidden")
    assert first["detail"] == second["detail"]
    ok(world.anonymous.post("/api/v1/enroll", json=enrolment_body(unit)), 201)


@pytest.mark.parametrize(
    ("field", "value"),
    [("csr", "not a request"), ("csr", ""), ("serial", ""), ("secret", None), ("colour", "red")],
)
def test_bad_enrolments_are_refused(world: World, field: str, value: str | None) -> None:
    unit = world.unit(enrolled=False)
    body = {**enrolment_body(unit), field: value}
    problem(world.anonymous.post("/api/v1/enroll", json=body), 422, "invalid-input")
    ok(world.anonymous.post("/api/v1/enroll", json=enrolment_body(unit)), 201)


def test_tries_for_one_serial_are_limited(world: World) -> None:
    unit = world.unit(enrolled=False)
    body = {**enrolment_body(unit), "secret": "wrong"}
    for _ in range(10):
        problem(world.anonymous.post("/api/v1/enroll", json=body), 403, "forbidden")
    refused = world.anonymous.post("/api/v1/enroll", json=body)
    assert problem(refused, 429, "rate-limited")["retry_after_s"] == 600
    assert refused.headers["retry-after"] == "600"
    other = world.unit(enrolled=False)
    ok(world.anonymous.post("/api/v1/enroll", json=enrolment_body(other)), 201)
    elsewhere = TestClient(world.app, base_url="https://testserver", client=("192.0.2.7", 1))
    ok(elsewhere.post("/api/v1/enroll", json=enrolment_body(unit)), 201)


def test_renewals_are_limited(world: World) -> None:
    unit = world.unit()
    body = renewal(unit.device_id, START // SECOND)
    for _ in range(10):
        ok(world.anonymous.post("/api/v1/renew", json=body), 201)
    refused = world.anonymous.post("/api/v1/renew", json=body)
    problem(refused, 429, "rate-limited")
    world.clock.now += int(refused.headers["retry-after"]) * SECOND
    again = renewal(unit.device_id, world.clock.now // SECOND)
    ok(world.anonymous.post("/api/v1/renew", json=again), 201)


def test_the_enrolled_key_renews(world: World) -> None:
    unit = world.unit()
    body = renewal(unit.device_id, START // SECOND)
    answer = ok(world.anonymous.post("/api/v1/renew", json=body), 201)
    assert answer["device_id"] == unit.device_id


def test_another_key_does_not(world: World) -> None:
    unit = world.unit()
    other = ec.generate_private_key(ec.SECP256R1())
    body = renewal(unit.device_id, START // SECOND, other)
    problem(world.anonymous.post("/api/v1/renew", json=body), 403, "forbidden")


def test_a_device_with_a_wrong_clock_is_told_the_time(world: World) -> None:
    unit = world.unit()
    body = renewal(unit.device_id, 0)
    found = problem(world.anonymous.post("/api/v1/renew", json=body), 422, "invalid-input")
    assert found["hub_time_s"] == START // SECOND


def test_a_revoked_device_is_thrown_out_and_renews_no_more(world: World) -> None:
    unit = world.unit()
    path = f"/api/v1/products/{unit.device_id}/revoke"
    answer = ok(world.operator.post(path, json={"reason": "stolen"}))
    assert answer == {"device_id": unit.device_id}
    assert world.devices.kicked == [unit.device_id]
    body = renewal(unit.device_id, START // SECOND)
    problem(world.anonymous.post("/api/v1/renew", json=body), 403, "forbidden")
