"""What the tests of the pages share: people in front of them, and reading what they see."""

from html.parser import HTMLParser

import httpx
from sqlalchemy import update
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.ports.database.people_tables import WebSession
from hub.services.alerts import apply_findings
from hub.services.found import Found
from hub.services.sessions import COOKIE
from tests.hub.api.api_world import SECOND, START, Unit, World
from tests.hub.api.memory_store import Row

ORIGIN = "https://testserver"


def browser(world: World, client: TestClient | None = None) -> TestClient:
    """Return a browser, signed in as whoever an API client is; redirects are not followed."""
    token = client.headers["Authorization"].removeprefix("Bearer ") if client else ""
    headers = {"Origin": ORIGIN, "Accept": "text/html", "Accept-Language": "en"}
    if token:
        headers["Cookie"] = f"{COOKIE}={token}"
    if client and "X-Homeport-Reason" in client.headers:
        headers["X-Homeport-Reason"] = client.headers["X-Homeport-Reason"]
    found = world.client(**headers)
    found.follow_redirects = False
    return found


def travel(world: World, at: int) -> None:
    """Move the clock to an instant (ns); whoever is signed in stays so."""
    world.clock.now = at
    with write_session(world.hub.engine) as session:
        session.execute(update(WebSession).values(expires_at=at + 12 * 3_600 * SECOND))


def measured(world: World, unit: Unit, values: int = 50) -> None:
    """Let a product have measured for some minutes before now."""
    for index in range(values):
        at = START - (values - index) * 60 * SECOND
        world.store.rows.append(Row(slot=1, metric=0, time=at, value=40.0 + index / 10, seq=index))


def noticed(world: World, slot: int = 1, *, kind: int = 6, severity: int = 3) -> str:
    """Let the detector have found something on the first metric; returns the alert's id."""
    finding = Found(
        id=bytes([slot, kind]).ljust(16, b"\0"),
        slot=slot,
        metric=0,
        kind=kind,
        severity=severity,
        time=START - 60 * SECOND,
        since=START - 300 * SECOND,
        surprise=20.0,
        observed=71.5,
        low=None,
        high=70.0,
    )
    with write_session(world.hub.engine) as session:
        (change,) = apply_findings(session, [finding], world.clock.now)
        return change.alert.id


def text_of(answer: httpx.Response) -> str:
    """Return what a page says, without its tags."""
    reader = Reader()
    reader.feed(answer.text)
    return " ".join(" ".join(text for _, text in reader.said).split())


class Reader(HTMLParser):
    """Reads a page: its texts with whether they are ours to translate, and what must not be there.

    Attributes:
        said: pairs of whether a text is ours to translate, and the text.
        inline: inline scripts, styles and handlers.
    """

    _SILENT = frozenset({"script", "style", "time", "code"})
    _VOID = frozenset({"meta", "link", "input", "br", "path", "circle", "rect"})
    _SPOKEN = frozenset({"aria-label", "title", "placeholder", "alt"})

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[bool, str]] = []
        self.inline: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        ours = given.get("translate") != "no" and tag not in self._SILENT
        for name, value in given.items():
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}={value}")
            if name in self._SPOKEN and tag != "time" and value:
                self.said.append((ours and self._ours and name != "placeholder", value))
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag not in self._VOID:
            self._open.append((tag, ours))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.said.append((self._ours, data.strip()))

    @property
    def _ours(self) -> bool:
        return all(ours for _, ours in self._open)
