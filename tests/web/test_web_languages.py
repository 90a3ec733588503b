"""Pages in other languages; nothing is left untranslated."""

import gettext
import re
from collections.abc import Iterator

import pytest
from babel import Locale
from starlette.testclient import TestClient

from hub.services.caller import Role
from hub.web import languages
from hub.web.languages import Language
from hub.web.pages import Pages
from tests.hub.api.api_world import Unit, World, ok
from tests.web.extraction import LOCALES, catalogue, key, messages, parts
from tests.web.pages_world import Reader, browser, measured, noticed, text_of

OPEN, CLOSE = (
    "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}",
    "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}",
)
INNERMOST = re.compile(f"{OPEN}[^{OPEN}{CLOSE}]*{CLOSE}")


class Pseudo(gettext.NullTranslations):
    """Brackets every message, so that what was not translated stands out."""

    def gettext(self, message: str) -> str:
        return f"{OPEN}{message}{CLOSE}"

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        return self.gettext(singular if n == 1 else plural)


@pytest.fixture
def pseudo(world: World) -> World:
    tongue = Language("en", "English", Locale.parse("en_GB"), Pseudo())
    world.app.state.pages = Pages.load({"en": tongue})
    return world


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    measured(world, unit)
    noticed(world)
    return unit


def untranslated(text: str) -> Iterator[str]:
    reader = Reader()
    reader.feed(text)
    for ours, said in reader.said:
        left, before = said, ""
        while left != before:
            before, left = left, INNERMOST.sub("", left)
        if ours and re.search(r"[^\W\d_]{2}", left.replace("Homeport", "").replace("2.4.0", "")):
            yield said


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/claim",
        "/password",
        "/products/{}?claimed=1",
        "/products/{}/hand-over",
        "/hand-overs?disputed=1",
        "/household",
        "/household/{1}/partners",
        "/partner",
        "/products/{}/looks?failed=1",
        "/products/{}/usage",
        "/products/{}/compare",
        "/bills?saved=1",
        "/products/{}/plan",
        "/products/{}/plan/step?act=subscribe&plan=comfort",
        "/my-data",
        "/my-data/erase",
        f"/products/{'a' * 16}",
        "/support",
        "/support?q=HP",
        "/support?q=nowhere",
        "/support/products/{}",
        "/support/products/{}?hold_failed=1&undo_failed=1&glass_failed=1",
        "/support/cases",
        "/support/disputes",
        "/cases/{2}",
    ],
)
def test_no_page_has_untranslated_words(
    pseudo: World, ada: TestClient, support: TestClient, unit: Unit, path: str
) -> None:
    client = browser(pseudo, support if path.startswith("/support") else ada)
    if path == "/partner":
        body = {"partner_id": "", "acts": ["see"], "reason": "x", "ends_at": "2026-06-01T00:00:00Z"}
        made = ok(pseudo.operator.post("/api/v1/partners", json={"name": "Huber"}), 201)
        ok(ada.post("/api/v1/partner-grants", json=body | made), 201)
        client = browser(pseudo, pseudo.person("huber", Role.PARTNER, made["partner_id"]))
    help_ = {"device_id": unit.product_id, "subject": "\u2014", "message": "\u2014"}
    case = ok(ada.post("/api/v1/cases", json=help_), 201)["id"]
    answer = client.get(path.format(unit.product_id, pseudo.owners["ada"], case))
    assert OPEN in answer.text
    assert list(untranslated(answer.text)) == []


def test_no_refusal_has_untranslated_words(pseudo: World, ada: TestClient) -> None:
    client = browser(pseudo, ada)
    for path, form in [
        ("/claim", {"serial": "x", "code": ""}),
        ("/claim", {"serial": "x", "code": "AAAA-BBBB-CCCC"}),
        ("/hand-overs/take", {"code": "hpt_x"}),
        ("/invitations/join", {"code": "AAAA-BBBB-CCCC"}),
        ("/password", {"old": "x", "new": "x", "again": "x"}),
        ("/password", {"old": "x", "new": "x", "again": "y"}),
    ]:
        assert list(untranslated(client.post(path, data=form).text)) == []
    stranger = browser(pseudo)
    answer = stranger.post("/sign-in", data={"email": "x@example.org", "password": "x"})
    assert list(untranslated(answer.text)) == []


@pytest.mark.parametrize("tag", sorted(path.name for path in LOCALES.iterdir() if path.is_dir()))
def test_catalogues_are_complete(tag: str) -> None:
    wanted = {key(message) for message in messages()}
    found = {key(message.id): message for message in catalogue(tag) if message.id}
    assert found.keys() == wanted, "run python -m tests.web.extraction"
    for name, message in found.items():
        fields = [fields_of(text) for text in parts(message.id)]
        for text in parts(message.string):
            assert text, name
            assert fields_of(text) in fields, name


def fields_of(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}|%\(\w+\)s", text))


def test_german(world: World, ada: TestClient, unit: Unit) -> None:
    client = browser(world, ada)
    client.headers["Cookie"] += "; __Host-homeport-language=de"
    answer = client.get(f"/products/{unit.product_id}")
    assert '<html lang="de"' in answer.text
    text = text_of(answer)
    assert "Flow temperature: 71,5\u00a0°C, über der Grenze von 70\u00a0°C." in answer.text
    assert "Teil des Tarifs comfort (ohne Ende)." in text
    assert "31.01.2026" in text


def test_the_language_is_kept(world: World, ada: TestClient) -> None:
    client = browser(world, ada)
    answer = client.post("/preferences", data={"language": "de", "next": "/claim"})
    assert answer.headers["location"] == "/claim"
    assert answer.cookies["__Host-homeport-language"] == "de"
    elsewhere = browser(world, ada)  # without the cookie; the browser itself wishes English
    assert '<html lang="de"' in elsewhere.get("/claim").text
    assert browser(world).post("/preferences", data={"language": "de"}).status_code == 303
    ignored = client.post("/preferences", data={"language": "xx", "theme": "pink"})
    assert "set-cookie" not in ignored.headers


@pytest.mark.parametrize(
    ("wishes", "accept", "tag"),
    [
        ((None,), None, "en"),
        ((None,), "fr, de;q=0.5", "de"),
        ((None,), "en;q=0.2, de-AT;q=0.9", "de"),
        (("de", "en"), "en", "de"),
        (("xx", "de-DE"), "en", "de"),
        ((None,), "de;q=nonsense, en", "en"),
    ],
)
def test_choosing_a_language(wishes: tuple[str | None, ...], accept: str | None, tag: str) -> None:
    assert languages.chosen(languages.load(), wishes, accept).tag == tag
