"""The public project localstripe, a stateful fake of Stripe, as a process of its own."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import httpx

KEY = "sk_test_homeport"
SECRET = "whsec_homeport"
PATIENCE_S = 30.0

# Its own `start` listens on all addresses and keeps its objects in one file for the machine.
_PROGRAM = """
import socket
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
web.run_app(server.app, sock=sock, print=None)
"""


class LocalStripe:
    """It, and what its customers do in their browsers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, auth=(KEY, ""), trust_env=False)

    def post(self, path: str, **form: Any) -> dict[str, Any]:
        response = self.client.post(path, data=form)
        assert response.status_code == 200, response.text
        return dict(response.json()) if response.content else {}

    def get(self, path: str) -> dict[str, Any]:
        return dict(self.client.get(path).json())

    def customer(self) -> str:
        return str(self.post("/v1/customers", name="A household")["id"])

    def card(self, customer: str, number: str) -> str:
        """Give a card; what numbers do is in Stripe's documentation of test cards."""
        form = {"card[number]": number, "card[exp_month]": 12, "card[exp_year]": 2050}
        return self._attach(customer, type="card", **form, **{"card[cvc]": "123"})

    def account(self, customer: str, iban: str) -> str:
        return self._attach(customer, type="sepa_debit", **{"sepa_debit[iban]": iban})

    def _attach(self, customer: str, **form: Any) -> str:
        method = self.post("/v1/payment_methods", **form)["id"]
        self.post(f"/v1/payment_methods/{method}/attach", customer=customer)
        return str(method)

    def collected(self) -> int:
        return len(self.get("/v1/payment_intents?limit=100")["data"])


@contextmanager
def running() -> Iterator[LocalStripe]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        stripe = LocalStripe(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                stripe.get("/v1/customers")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield stripe
        stripe.client.close()
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def listening(stripe: LocalStripe) -> Iterator["Queue[tuple[bytes, str]]"]:
    """Receive the events that it sends: bodies with their signatures."""
    heard: Queue[tuple[bytes, str]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.put((body, self.headers["Stripe-Signature"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        hook = {"url": url, "secret": SECRET}
        stripe.client.post("/_config/webhooks/homeport", content=json.dumps(hook))
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
