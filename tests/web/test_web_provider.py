"""Signing in by an identity provider: a real one over TLS, in this process."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from hub.config import OidcSettings
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Person
from hub.ports.database.sign_in_tables import ExternalIdentity
from hub.ports.identity.oidc import OidcProvider
from hub.services.sessions import COOKIE
from hub.web.account import FLOW_COOKIE
from tests.hub.api.api_world import SECOND, World
from tests.hub.identity.provider_server import CLIENT, SECRET, Provider, provider_running
from tests.web.pages_world import browser

BACK = "https://testserver/sign-in/provider/back"


@pytest.fixture
def there(world: World, tmp_path: Path) -> Iterator[Provider]:
    with provider_running(tmp_path, world.clock) as provider:
        settings = OidcSettings(
            issuer=provider.issuer, client_id=CLIENT, client_secret=SECRET, title="Acme login"
        )
        trust = ssl.create_default_context(cafile=str(provider.ca_file))
        with httpx.Client(verify=trust, trust_env=False) as client:
            use(world, OidcProvider(settings, BACK, client, world.clock))
            yield provider


def use(world: World, provider: Any, *, link: bool = True) -> None:
    object.__setattr__(world.hub, "provider", provider)
    object.__setattr__(world.hub, "link_by_email", link)


def begin(client: TestClient, onward: str = "/account") -> str:
    sent = client.get(f"/sign-in/provider?next={onward}")
    assert sent.status_code == 303
    client.headers["Cookie"] = f"{FLOW_COOKIE}={sent.cookies[FLOW_COOKIE]}"
    flags = sent.headers["set-cookie"].lower()
    assert all(flag in flags for flag in ("secure", "httponly", "samesite=lax", "path=/"))
    return str(sent.headers["location"])


def sign_in(client: TestClient, there: Provider, onward: str = "/account") -> Any:
    back = there.authorize(begin(client, onward))
    return client.get(back.removeprefix("https://testserver"))


def test_an_account_is_linked_by_its_verified_address_and_then_by_itself(
    world: World, ada: TestClient, there: Provider
) -> None:
    client = browser(world)
    assert "Acme login" in client.get("/sign-in").text
    done = sign_in(client, there)
    assert (done.status_code, done.headers["refresh"]) == (200, "0; url=/account")
    client.headers["Cookie"] = f"{COOKIE}={done.cookies[COOKIE]}"
    assert "Single sign-on" in client.get("/account").text
    # Another address there later changes nothing: the account is known.
    there.claims["email"] = "somebody@example.org"
    assert sign_in(browser(world), there).status_code == 200
    with read_session(world.hub.engine) as session:
        (linked,) = session.query(ExternalIdentity)
    assert (linked.subject, linked.person_id) == ("ada-there", world.people["ada"])


@pytest.mark.parametrize(
    "spoil",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["homeport", "another"]},
        {"azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": True},
        {"iat": 99_999_999_999},
        {"sub": ""},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": "nobody@example.org"},
    ],
)
def test_what_does_not_fit_lets_nobody_in(
    world: World, ada: TestClient, there: Provider, spoil: dict[str, Any]
) -> None:
    there.spoil = spoil
    done = sign_in(browser(world), there)
    assert done.status_code in {401, 502}
    assert COOKIE not in done.cookies
    assert "That did not work" in done.text


def test_keys_change_and_a_strangers_signature_counts_for_nothing(
    world: World, ada: TestClient, there: Provider
) -> None:
    assert sign_in(browser(world), there).status_code == 200
    before = there.asked.count("/keys")
    there.signing = type(there.key).generate_key("P-256", {"kid": "one"})
    assert sign_in(browser(world), there).status_code == 502
    there.rotate("two")
    assert sign_in(browser(world), there).status_code == 502  # not asked again within a minute
    assert there.asked.count("/keys") == before
    world.clock.now += 61 * SECOND
    assert sign_in(browser(world), there).status_code == 200
    assert there.asked.count("/keys") == before + 1


def test_a_sign_in_works_once_in_the_browser_that_began_it_and_within_minutes(
    world: World, ada: TestClient, there: Provider
) -> None:
    client = browser(world)
    address = begin(client)
    path = there.authorize(address).removeprefix("https://testserver")
    assert browser(world).get(path).status_code == 401  # another browser: somebody else's sign-in
    assert client.get(path.replace("state=", "state=0")).status_code == 401
    again = there.authorize(address).removeprefix("https://testserver")
    assert client.get(path).status_code == 200
    assert client.get(again).status_code == 401  # the flow has ended
    late = browser(world)
    path = there.authorize(begin(late)).removeprefix("https://testserver")
    world.clock.now += 601 * SECOND
    assert late.get(path).status_code == 401


def test_who_is_disabled_or_may_not_be_linked_stays_out(
    world: World, ada: TestClient, there: Provider
) -> None:
    use(world, world.hub.provider, link=False)
    assert sign_in(browser(world), there).status_code == 401
    use(world, world.hub.provider)
    assert sign_in(browser(world), there).status_code == 200
    with write_session(world.hub.engine) as session:
        session.get_one(Person, world.people["ada"]).disabled_at = world.clock.now
    assert sign_in(browser(world), there).status_code == 401


def test_a_provider_that_says_it_is_another_or_is_away(
    world: World, ada: TestClient, there: Provider
) -> None:
    there.issuer_said = "https://evil.example"
    assert browser(world).get("/sign-in/provider").status_code == 502
    there.issuer_said = None
    assert sign_in(browser(world), there, "//evil.example").headers["refresh"] == "0; url=/"
