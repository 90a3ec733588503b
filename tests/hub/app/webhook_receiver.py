"""A receiver of webhooks over real HTTP, which loses, delays and refuses as it is told."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["data"]
        return found


@dataclass
class Receiver:
    """Answers on a port of its own; `answer` gives status, headers and seconds to wait for the n-th request."""

    answer: Callable[[int, Heard], tuple[int, dict[str, str], float]] = lambda _n, _heard: (
        204,
        {},
        0.0,
    )
    heard: list[Heard] = field(default_factory=list)

    def __enter__(self) -> Self:
        receiver = self
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    one = Heard(self.path, headers, body)
                    receiver.heard.append(one)
                    number = len(receiver.heard)
                status, more, wait_s = receiver.answer(number, one)
                time.sleep(wait_s)
                if status == 0:
                    return  # hangs up without an answer
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hooks?to=shop"
