"""A small identity provider over TLS: discovery, authorization code with PKCE, rotating keys."""

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.device_sdk.test_enrolment_https import Authority

CLIENT, SECRET = "homeport", "client-secret-of-the-tests"


class Provider:
    """Signs in whoever `claims` says. `spoil` may change what an ID token says."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.claims: dict[str, Any] = {"sub": "ada-there", "email": "ada@example.org"}
        self.claims["email_verified"] = True
        self.spoil: dict[str, Any] = {}
        self.issuer_said: str | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.key = ECKey.generate_key("P-256", {"kid": "one"})
        self.signing = self.key
        authority = Authority()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
        pem = folder / "provider.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + authority.issue(key.public_key(), name).public_bytes(Encoding.PEM)
        )
        self.ca_file = folder / "provider-ca.pem"
        self.ca_file.write_text(authority.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self.server.server_port}"

    def rotate(self, kid: str) -> None:
        """Sign with another key; the old one is gone."""
        self.key = self.signing = ECKey.generate_key("P-256", {"kid": kid})

    def authorize(self, address: str) -> str:
        """Do what a browser and its person do there; returns where the browser is sent back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def _token(self, form: dict[str, str], basic: str) -> tuple[int, dict[str, Any]]:
        wanted = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        begun = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or basic != f"Basic {wanted}" or challenge != begun["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now_s = self.clock() // 1_000_000_000
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now_s,
            "exp": now_s + 300,
            "nonce": begun["nonce"],
            **self.claims,
            **self.spoil,
        }
        header = {"alg": "ES256", "kid": self.signing.kid}
        return 200, {"id_token": jwt.encode(header, claims, self.signing), "access_token": "x"}

    def _answer(self, path: str, form: dict[str, str], basic: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer_said or self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            return 200, {"keys": [self.key.as_dict(private=False), {"kty": "new-kind", "kid": "x"}]}
        return self._token(form, basic) if path == "/token" else (404, {})

    def _handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the inner class has a self
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.answer({name: values[0] for name, values in parse_qs(text).items()})

            def answer(self, form: dict[str, str]) -> None:
                basic = self.headers.get("Authorization", "")
                status, found = provider._answer(self.path, form, basic)
                data = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        return Handler


@contextmanager
def provider_running(folder: Path, clock: Callable[[], int]) -> Iterator[Provider]:
    """Run a provider for the length of a block."""
    provider = Provider(folder, clock)
    thread = threading.Thread(target=provider.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()
