"""InfluxDB 2's query path at HTTP level: a fake server that answers as the API's documentation says.

Not run against the server. The answers are annotated-free CSV in the dialect that is asked for.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hub.errors import StorageError
from hub.ports.store.influx2 import InfluxAddress, InfluxStore
from hub.ports.store.line_writer import LineWriter
from hub.ports.store.port import Cursor, Visibility, Window

MS = 1_000_000
BASE = 1_771_200_000_000 * MS
SAMPLES = (
    ",result,table,_time,_value,e,m,r,s\r\n"
    ",_result,0,2026-02-16T00:00:00.001Z,1.5,1,0,0,7\r\n"
    ",_result,0,2026-02-16T00:00:00.002Z,-2.5e-07,1,0,0,7\r\n"
    ",_result,1,2026-02-16T00:00:00Z,3,2,0,1,7\r\n"
    "\r\n"
)
COUNT = ",result,table,_value\r\n,_result,0,12\r\n\r\n"


class FakeInflux(HTTPServer):
    """Answers every request with `body`, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = 200, ""
        self.asked: list[tuple[str, str, bytes]] = []

    @property
    def flux(self) -> str:
        return str(json.loads(self.asked[-1][2])["query"])


class Handler(BaseHTTPRequestHandler):
    server: FakeInflux

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers.get("Authorization", ""), body))
        answer = self.server.body.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "text/csv; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeInflux]:
    made = FakeInflux()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def store(server: FakeInflux) -> InfluxStore:
    url = f"http://127.0.0.1:{server.server_port}"
    return InfluxStore(InfluxAddress(url, "org", 'bu"cket', "the-token"), lambda: BASE)


def test_a_range_asks_for_its_series_and_pages(server: FakeInflux, store: InfluxStore) -> None:
    server.body = SAMPLES
    page = store.range(7, 0, BASE + 1, BASE + 5 * MS, visible=Visibility(), limit=1)
    path, token, _ = server.asked[-1]
    assert path.startswith("/api/v2/query?org=org")
    assert token == "Token the-token"
    assert 'from(bucket: "bu\\"cket")' in server.flux
    first, last = BASE + MS, BASE + 5 * MS
    assert f"range(start: time(v: {first}), stop: time(v: {last}))" in server.flux
    assert 'r._field == "v" and r.m == "0" and (r.s == "7")' in server.flux
    assert (page.time.tolist(), page.value.tolist()) == ([BASE + MS], [1.5])
    assert page.following == Cursor(BASE + MS, 0, 0, 1)
    rest = store.range(7, 0, BASE, BASE + DAY, visible=Visibility(), limit=5, after=page.following)
    assert rest.value.tolist() == [-2.5e-07] or rest.value.tolist() == [3.0, -2.5e-07]


DAY = 86_400_000 * MS


def test_what_a_query_may_not_see_is_left_out(server: FakeInflux, store: InfluxStore) -> None:
    server.body = SAMPLES
    seen = Visibility(reasons=frozenset({1}))
    every = store.buckets(7, 0, BASE, BASE + DAY, DAY, visible=seen)
    assert (every.count.tolist(), every.max.tolist()) == ([3], [3.0])
    assert store.buckets(7, 0, BASE, BASE + DAY, DAY, visible=Visibility()).count.tolist() == [2]
    later = Visibility((Window(first_epoch=2),), frozenset({1}))
    assert store.latest(7, visible=later).value.tolist() == [3.0]
    newest = store.latest(7, visible=seen)
    assert (newest.metric.tolist(), newest.time.tolist()) == ([0], [BASE + 2 * MS])
    assert "|> last()" in server.flux


def test_rows_are_counted_by_their_own_field(server: FakeInflux, store: InfluxStore) -> None:
    server.body = COUNT
    assert store.count() == 12
    assert 'r._field == "n"' in server.flux
    assert store.count([]) == 0
    assert store.count(range(1, 600)) == 24  # two queries: a selector names 500


def test_empty_answers_and_errors(server: FakeInflux, store: InfluxStore) -> None:
    assert store.latest(1, visible=Visibility()).metric.size == 0
    assert store.count() == 0
    server.body = "error,reference\r\nout of memory,897\r\n"
    with pytest.raises(StorageError):
        store.count()
    server.status = 401
    with pytest.raises(StorageError, match="status 401") as caught:
        store.count()
    assert "the-token" not in str(caught.value)


def test_lines_go_out_as_they_are_in_pieces(server: FakeInflux) -> None:
    server.status = 204
    writer = LineWriter(
        f"http://127.0.0.1:{server.server_port}", bucket="b", org="o", token="the-token"
    )
    text = b"homeport,s=1,m=0,e=1,r=0 v=1 1\n" * 400_000
    writer.write(text)
    writer.close()
    assert len(server.asked) == 2
    assert b"".join(body for _, _, body in server.asked) == text
    assert all(body.endswith(b"\n") for _, _, body in server.asked)
    assert "precision=ms" in server.asked[0][0]
    server.status = 503
    with pytest.raises(StorageError, match="sent again"):
        LineWriter(f"http://127.0.0.1:{server.server_port}", bucket="b", org="o", token="t").write(
            b"x v=1 1\n"
        )
