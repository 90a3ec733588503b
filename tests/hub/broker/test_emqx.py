"""Ending connections over EMQX's API, against a fake of it on loopback."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from hub.config import BrokerSettings, Settings
from hub.ports.broker.emqx import EmqxBroker

DEVICE = "abcdefgh12345678"


class FakeEmqx(HTTPServer):
    """Answers `DELETE` with a status, and keeps what it was asked."""

    status = 204

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: FakeEmqx

    def do_DELETE(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeEmqx]:
    made = FakeEmqx()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def broker(address: str) -> EmqxBroker:
    chosen = BrokerSettings(
        kind="emqx", emqx_api=address, emqx_key="key", emqx_secret=SecretStr("secret")
    )
    return EmqxBroker(Settings(broker=chosen))


def test_a_connection_is_ended_by_client_id(server: FakeEmqx) -> None:
    assert broker(f"http://127.0.0.1:{server.server_port}/").disconnect(DEVICE)
    assert server.asked == [(f"/api/v5/clients/{DEVICE}", "Basic a2V5OnNlY3JldA==")]


@pytest.mark.parametrize(("status", "told"), [(404, True), (401, False), (500, False)])
def test_what_the_answer_means(server: FakeEmqx, status: int, *, told: bool) -> None:
    server.status = status
    assert broker(f"http://127.0.0.1:{server.server_port}").disconnect(DEVICE) is told


def test_an_emqx_that_is_away_or_not_set_is_no_error() -> None:
    assert not broker("http://127.0.0.1:1").disconnect(DEVICE)
    assert not broker("").disconnect(DEVICE)
