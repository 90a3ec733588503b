"""Every operation and page, asked for by everybody, on their own, other people's and no things."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from entitlements.billing.money import Money
from entitlements.facts import HoldKind
from hub.api import access, description
from hub.ports.database.engine import write_session
from hub.services import consent, holds, households, invitations, invoices, means, partners
from hub.services.alerts import apply_findings
from hub.services.caller import HUB, Role
from hub.services.found import Found
from hub.services.households import Place
from hub.services.invoices import Line
from hub.services.pki import CertificateAuthority
from hub.services.relations import ACTS, Act, Relation
from hub.services.sessions import COOKIE
from hub.web import access as web_access
from hub.web import application
from hub.web.guard import PageRoute
from tests.hub.api.api_world import DAY, SECOND, World, new_world, ok
from tests.hub.api.relation_table import API, ENDLESS, PAGES, Kind, Row

GRANTED = frozenset({Act.SEE, Act.ALERTS, Act.ACKNOWLEDGE, Act.COMMAND})
RELATIONS = {
    "owner": ACTS[Relation.OWNER],
    "member": ACTS[Relation.MEMBER],
    "viewer": ACTS[Relation.VIEWER],
    "installer": ACTS[Relation.INSTALLER],
    "partner": GRANTED,
    "support": frozenset(Act),
    "operator": frozenset(Act),
}
"""What the personas may do with what is "own"; who is not here stands in no relation to it."""
ROLES: Mapping[str, Role | None] = {
    "anonymous": None,
    "owner": Role.CUSTOMER,
    "member": Role.CUSTOMER,
    "viewer": Role.CUSTOMER,
    "installer": Role.CUSTOMER,
    "expired": Role.CUSTOMER,  # an installer whose time is over
    "former": Role.CUSTOMER,  # who sold the product
    "partner": Role.PARTNER,  # with a grant of the owner
    "dealer": Role.PARTNER,  # without any
    "support": Role.SUPPORT,
    "operator": Role.OPERATOR,
}
STAFF = frozenset({"support", "operator"})
PLACES = ("own", "other", "none")
NOWHERE = {
    "addon": "more-boost",
    "code": "NO-SUCH-CODE",
    "alert_id": "0" * 32,
    "letter_id": "0-1-1",
    "feature": "telemetry",
    "name": "heat-pump",
    "model": "heat-pump",
    "version": "0",
    "key": "telemetry",
    "answer": "refuse",
    "erasure_id": "a" * 16,
    "endpoint_id": "a" * 16,
    "delivery_id": "a" * 16,
    "offer_id": "a" * 16,
    "dispute_id": "a" * 16,
    "receipt_id": "a" * 16,
    "invoice_id": "a" * 16,
    "contract_id": "a" * 16,
    "link": "a" * 64,
}
Ids = dict[str, str]


@dataclass
class Scene:
    """Who is who, whose things have which ids, and the database as it was before anybody asked."""

    world: World
    clients: dict[str, TestClient]
    ids: dict[str, Ids]
    database: Path
    before: sqlite3.Connection

    def restore(self) -> None:
        with closing(sqlite3.connect(self.database)) as database:
            self.before.backup(database)


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    authority: CertificateAuthority,
) -> Iterator[Scene]:
    if request.config.getoption("--database") != "sqlite":
        pytest.skip("the scene is put back as a file; what is asked does not depend on it")
    folder = tmp_path_factory.mktemp("relations")
    database = folder / "hub.db"
    with new_world(folder, f"sqlite:///{database}", authority) as world:
        clients, ids = populated(world)
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as before:
            with closing(sqlite3.connect(database)) as source:
                source.backup(before)
            yield Scene(world, clients, ids, database, before)


def populated(world: World) -> tuple[dict[str, TestClient], dict[str, Ids]]:
    """Fill a world with a household of many people, and another one of a stranger."""
    clients = {"anonymous": world.anonymous, "operator": world.operator}
    for name in ("owner", "member", "viewer", "installer", "expired", "former", "stranger"):
        clients[name] = world.person(name, Role.CUSTOMER)
    clients["support"] = world.person("support", Role.SUPPORT)
    for name in ("partner", "dealer", "elsewhere"):
        made = ok(world.operator.post("/api/v1/partners", json={"name": name}), 201)
        world.owners[name] = made["partner_id"]
        clients[name] = world.person(name, Role.PARTNER, made["partner_id"])
    world.person("guest", Role.CUSTOMER)

    own, other = world.unit(clients["former"]), world.unit(clients["stranger"])
    world.clock.now += SECOND
    assert clients["former"].delete(f"/api/v1/claims/{own.device_id}").status_code == 204
    ok(clients["owner"].post("/api/v1/claims", json={"claim_code": own.claim_code}), 201)
    world.clock.now += SECOND
    ids = {
        "own": {"device_id": own.device_id, "product_id": own.product_id},
        "other": {"device_id": other.device_id, "product_id": other.product_id},
        "none": {"partner_id": world.owners["dealer"]},
    }
    with write_session(world.hub.engine) as session:
        things(world, session, clients["owner"], "owner", "partner", 1, ids["own"])
        things(world, session, clients["stranger"], "stranger", "elsewhere", 2, ids["other"])
        at, home = world.clock.now, world.owners["owner"]
        for name, place in {
            "member": Place(Relation.MEMBER),
            "viewer": Place(Relation.VIEWER),
            "installer": Place(Relation.INSTALLER, at + 30 * DAY),
            "expired": Place(Relation.INSTALLER, at + DAY // 8),
        }.items():
            person = world.people[name]
            households.begin(session, "hub", home, person, place, at, world.hub.tokens)
    for name, whose in (("owner", "own"), ("stranger", "other")):
        body = {"device_id": ids[whose]["device_id"], "subject": "E41", "message": "It is cold."}
        ids[whose]["case_id"] = ok(clients[name].post("/api/v1/cases", json=body), 201)["id"]
    world.clock.now += DAY // 4
    return clients, ids


def things(
    world: World,
    session: Session,
    client: TestClient,
    name: str,
    partner: str,
    slot: int,
    ids: Ids,
) -> None:
    """Make one of each thing that has an id in a household."""
    tokens, at, owner_id = world.hub.tokens, world.clock.now, world.owners[name]
    caller, product_id, guest = world.caller(client), ids["product_id"], world.people["guest"]
    finding = Found(bytes([slot] * 16), slot, 0, 6, 3, at, at - SECOND, 20.0, 71.5, None, 70.0)
    (change,) = apply_findings(session, [finding], at)
    held = holds.place(session, HUB, product_id, HoldKind.PAYMENT, "x", at, tokens)
    holds.lift(session, HUB, held.id, at)
    households.begin(session, "hub", owner_id, guest, Place(Relation.MEMBER), at, tokens)
    place = Place(Relation.VIEWER)
    invited = invitations.invite(session, caller, owner_id, place, at, tokens)
    granted = partners.grant(
        session,
        caller,
        world.owners[partner],
        partners.Reach([product_id]),
        GRANTED,
        "service",
        at + 30 * DAY,
        at,
        tokens,
    )
    means.given(session, owner_id, "", "local:ok", at, "hub")
    line = Line(None, None, "plan", "plan", {}, Money(999, "EUR"), 0)
    invoice = invoices.issue(session, tokens, owner_id, [line], at, cause=f"test:{owner_id}")
    ids |= {
        "invoice_id": invoice.id,
        "owner_id": owner_id,
        "person_id": guest,
        "alert_id": change.alert.id,
        "hold_id": held.id,
        "invitation_id": invited.id,
        "grant_id": granted.id,
        "consent_id": consent.give(session, caller, owner_id, at + DAY, at, tokens).id,
        "partner_id": world.owners[partner],
    }


def test_every_operation_and_page_has_a_row() -> None:
    assert set(API) | ENDLESS >= set(access.RULES), set(access.RULES) - set(API) - ENDLESS
    assert set(API) <= set(access.RULES), set(API) - set(access.RULES)
    assert set(PAGES) | ENDLESS >= set(web_access.RULES), set(web_access.RULES) - set(PAGES)
    assert set(PAGES) <= set(web_access.RULES), set(PAGES) - set(web_access.RULES)


def expected(
    name: str, row: Row, roles: frozenset[Role] | None, persona: str, place: str
) -> frozenset[int]:
    """Say by the rule of the table what somebody is answered."""
    said = row.but.get(f"{persona} {place}", row.but.get(persona) if place == "own" else None)
    role = ROLES[persona]
    if row.kind is not Kind.OPEN and role is None:
        return frozenset({303 if name.startswith("page_") else 401})
    if role is not None and roles is not None and role not in roles:
        return frozenset({403})
    if said is not None:
        return frozenset({said})
    if row.kind in {Kind.OPEN, Kind.ROLE}:
        return row.ok
    reached = place == "own" or (place == "other" and persona in STAFF)
    if not reached or persona not in RELATIONS:
        return frozenset({row.unseen})
    return row.ok if row.act in RELATIONS[persona] else frozenset({403})


def asked(
    scene: Scene, client: TestClient, method: str, path: str, row: Row, ids: Ids
) -> httpx.Response:
    answer: httpx.Response

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            for name in (*ids, *NOWHERE, *scene.ids["own"]):
                known = ids.get(name, NOWHERE.get(name, "z" * 16))
                value = value.replace(f"{{{name}}}", known)
            return value
        if isinstance(value, dict):
            return {name: fill(one) for name, one in value.items()}
        return [fill(one) for one in value] if isinstance(value, list) else value

    address = fill(path + row.query)
    for unknown in ("key_id", "session_id", "passkey_id", "order_id"):
        address = address.replace(f"{{{unknown}}}", "a" * 16)
    assert "{" not in address, f"{address}: the scene has no such id"
    if row.form is not None:
        answer = client.request(method, address, data=fill(dict(row.form)))
    else:
        headers = {"Idempotency-Key": uuid4().hex} if row.once else {}
        answer = client.request(method, address, json=fill(row.body), headers=headers)
    return answer


def browser(world: World, client: TestClient) -> TestClient:
    token = client.headers.get("Authorization", "").removeprefix("Bearer ")
    headers = {"Origin": "https://testserver", "X-Homeport-Request": "1"}
    if "X-Homeport-Reason" in client.headers:
        headers["X-Homeport-Reason"] = client.headers["X-Homeport-Reason"]
    found = world.client(**headers, **({"Cookie": f"{COOKIE}={token}"} if token else {}))
    found.follow_redirects = False
    return found


def check(
    scene: Scene,
    name: str,
    row: Row,
    roles: frozenset[Role] | None,
    method: str,
    path: str,
    clients: Mapping[str, TestClient],
) -> None:
    wrong: list[str] = []
    places = PLACES if row.kind in {Kind.PRODUCT, Kind.HOUSEHOLD} else ("own",)
    for persona, client in clients.items():
        for place in places:
            answer = asked(scene, client, method, path, row, scene.ids[place])
            wanted = expected(name, row, roles, persona, place)
            if answer.status_code not in wanted:
                wrong.append(
                    f"{persona} {place}: {answer.status_code}, not {sorted(wanted)}: {answer.text[:150]}"
                )
            if answer.status_code < 400 and method != "GET":
                scene.restore()
    scene.world.anonymous.cookies.clear()
    assert not wrong, "\n".join([f"{method} {path}", *wrong])


@pytest.mark.parametrize("operation", sorted(set(API) & set(access.RULES)))
def test_the_table_of_operations(scene: Scene, operation: str) -> None:
    found = {
        one["operationId"]: (method.upper(), path)
        for path, method, one in description.operations(scene.world.app.openapi())
    }
    roles = access.RULES[operation].roles
    allowed = None if access.Role.ANONYMOUS in roles else frozenset(Role(one) for one in roles)
    clients = {persona: scene.clients[persona] for persona in ROLES}
    check(scene, operation, API[operation], allowed, *found[operation], clients)


@pytest.mark.parametrize("page", sorted(set(PAGES) & set(web_access.RULES)))
def test_the_table_of_pages(scene: Scene, page: str) -> None:
    (route,) = (
        route
        for router in application._ROUTERS
        for route in router.routes
        if isinstance(route, PageRoute) and route.operation_id == page
    )
    (method,) = (route.methods or {"GET"}) - {"HEAD"}
    path = route.path.replace(":path", "")
    # The operator of the tests has a token that is no person's; pages know people only.
    clients = {
        persona: browser(scene.world, scene.clients[persona])
        for persona in ROLES
        if persona != "operator"
    }
    check(scene, page, PAGES[page], web_access.RULES[page], method, path, clients)
