"""Where people are signed in, and how that ends everywhere at once; what keys may make."""

from starlette.testclient import TestClient

from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Invitation, PartnerGrant, Person
from hub.services import invitations, partners, sessions
from hub.services.caller import HUB, Role, Scope
from hub.services.households import Place
from hub.services.relations import Act, Relation
from tests.hub.api.api_world import DAY, World, ok, problem


def again(world: World, client: TestClient) -> TestClient:
    """Sign the same person in once more."""
    with write_session(world.hub.engine) as session:
        person = session.get_one(Person, world.caller(client).person_id)
        opened = sessions.open_session(
            session, person, world.clock.now, world.hub.tokens, agent="Second\nBrowser"
        )
    return world.client(opened.token)


def test_own_sessions_are_listed_and_ended(world: World, ada: TestClient, bob: TestClient) -> None:
    other, third = again(world, ada), again(world, ada)
    listed = ok(ada.get("/api/v1/sessions"))["sessions"]
    assert [one["present"] for one in listed].count(True) == 1
    assert {one["agent"] for one in listed} == {"testclient", "SecondBrowser"}
    assert {one["method"] for one in listed} == {"password"}
    mine = next(
        one["id"] for one in ok(other.get("/api/v1/sessions"))["sessions"] if one["present"]
    )
    problem(bob.delete(f"/api/v1/sessions/{mine}"), 404, "not-found")
    assert ada.delete(f"/api/v1/sessions/{mine}").status_code == 204
    problem(other.get("/api/v1/me"), 401, "not-authenticated")
    assert ok(ada.delete("/api/v1/sessions"))["ended"] == 1
    problem(third.get("/api/v1/me"), 401, "not-authenticated")
    ok(ada.get("/api/v1/me"))
    ok(bob.get("/api/v1/me"))


def test_an_operator_ends_all_of_somebody_keys_too(
    world: World, ada: TestClient, support: TestClient
) -> None:
    key = ok(ada.post("/api/v1/me/api-keys", json={"name": "x", "scopes": ["products:read"]}), 201)[
        "key"
    ]
    path = f"/api/v1/people/{world.people['ada']}/sessions"
    problem(support.delete(path), 403, "forbidden")
    problem(ada.get(path), 403, "forbidden")
    assert len(ok(world.operator.get(path))["sessions"]) == 1
    assert ok(world.operator.delete(path))["ended"] == 1
    for token in (ada, world.client(key)):
        problem(token.get("/api/v1/me"), 401, "not-authenticated")
    missing = f"/api/v1/people/{'x' * 16}/sessions"
    problem(world.operator.delete(missing), 404, "not-found")


def test_a_key_manages_no_sessions_and_makes_nothing_that_outlives_it(
    world: World, ada: TestClient
) -> None:
    ends = "2026-02-01T00:00:00Z"
    body = {"name": "x", "scopes": ["products:read", "alerts:read"], "expires_at": ends}
    made = ok(ada.post("/api/v1/me/api-keys", json=body), 201)
    key = world.client(made["key"])
    for path in ("/api/v1/sessions", "/api/v1/me/api-keys"):
        problem(key.get(path), 403, "forbidden")
    problem(key.delete("/api/v1/sessions"), 403, "forbidden")
    wanted = {"old": "x", "new": "a long enough password"}
    problem(key.put("/api/v1/me/password", json=wanted), 403, "forbidden")
    for changed in ({"expires_at": None}, {"expires_at": "2026-02-01T00:00:01Z"}):
        problem(key.post("/api/v1/me/api-keys", json=body | changed), 403, "forbidden")
    wider = body | {"scopes": ["telemetry:read"]}
    problem(key.post("/api/v1/me/api-keys", json=wider), 403, "forbidden")
    ok(key.post("/api/v1/me/api-keys", json=body | {"scopes": ["alerts:read"]}), 201)
    listed = ok(ada.get("/api/v1/me/api-keys"))["api_keys"]
    assert [one["expires_at"] for one in listed] == [ends, ends]
    assert made["key"] not in str(listed)


def test_a_staff_key_hears_only_of_what_it_may_read(world: World, support: TestClient) -> None:
    from hub.services.events import Event

    caller = world.caller(support)
    body = {"name": "x", "scopes": ["products:read"]}
    key = world.client(ok(support.post("/api/v1/me/api-keys", json=body), 201)["key"])
    narrow = world.caller(key)
    assert Scope.ALERTS_READ not in narrow.scopes
    with (
        world.hub.live.listening(caller, lambda: None) as hers,
        world.hub.live.listening(narrow, lambda: None) as keys,
    ):
        for kind in ("alert", "finding", "presence"):
            world.hub.live.publish(Event(kind, 0, "p" * 16, "o" * 16))
        assert [event.kind for event in hers.drain(0)] == ["alert", "finding", "presence"]
        assert [event.kind for event in keys.drain(0)] == ["presence"]


def test_what_a_co_owner_gave_out_ends_with_their_role_and_with_their_account(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    from hub.services import households

    home, at, tokens = world.owners["ada"], world.clock.now, world.hub.tokens
    with write_session(world.hub.engine) as session:
        dealer = partners.create(session, HUB, "Dealer", at, tokens)
        for name in ("bob", "ada"):
            if name == "bob":
                place = Place(Relation.OWNER)
                households.begin(session, "hub", home, world.people["bob"], place, at, tokens)
    for client in (ada, bob):
        with write_session(world.hub.engine) as session:
            caller = world.caller(client)
            partners.grant(
                session,
                caller,
                dealer,
                partners.Reach(),
                [Act.SEE],
                "service",
                at + DAY,
                at,
                tokens,
                owner_id=home,
            )
            invitations.invite(session, caller, home, Place(Relation.VIEWER), at, tokens)
    done = world.operator.post(f"/api/v1/people/{world.people['bob']}/disable")
    assert done.status_code == 204
    gave = f"person:{world.people['bob']}"
    with read_session(world.hub.engine) as session:
        grants = {row.given_by: row.revoked_at for row in session.query(PartnerGrant)}
        invited = {row.created_by: row.answer for row in session.query(Invitation)}
    assert grants[gave] == at
    assert invited[gave] == "withdrawn"
    assert all(ended is None for by, ended in grants.items() if by != gave)
    assert all(answer is None for by, answer in invited.items() if by != gave)


def test_a_partner_without_ties_has_sessions_too(world: World) -> None:
    made = ok(world.operator.post("/api/v1/partners", json={"name": "Dealer"}), 201)
    dealer = world.person("dealer", Role.PARTNER, made["partner_id"])
    assert len(ok(dealer.get("/api/v1/sessions"))["sessions"]) == 1
