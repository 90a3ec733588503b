"""OpenID Connect: the authorization code flow with PKCE, for one confidential client.

1. Everything is found by discovery; the document must be of the issuer that the settings name.
2. An ID token counts if a key of the provider signed it by an algorithm of `ALGORITHMS`, and issuer,
   audience, expiry and nonce fit (OpenID Connect Core 1.0, 3.1.3.7).
3. Keys are fetched again when a token names one that is not known, at most once a minute: a provider
   changes its keys as it likes, and nobody can make the hub ask all the time.
4. Tokens and codes are neither logged nor kept.
"""

import base64
import hashlib
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hub.config import OidcSettings
from hub.ports.identity.port import Expected, Identity, ProviderError

ALGORITHMS: Final = ["RS256", "ES256", "PS256", "Ed25519", "EdDSA"]
_S = 1_000_000_000
_LEEWAY_S = 60
_AGAIN_NS = 60 * _S
_FRESH_NS = 3_600 * _S
_MOST_BYTES = 262_144
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class OidcProvider:
    """One provider. Any thread may use it.

    Args:
        settings: of the provider; `issuer` is not empty.
        back: address that browsers come back to, registered at the provider.
        client: reaches it; verifies its certificate.
        clock: the world's present time, ns: a provider knows no other.
    """

    def __init__(
        self, settings: OidcSettings, back: str, client: httpx.Client, clock: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._back = back
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {}
        self._facts_at = 0
        self._keys: KeySet | None = None
        self._keys_at = 0

    @property
    def title(self) -> str:
        """What people call it."""
        return self._settings.title

    def address(self, expected: Expected) -> str:
        """Return where to send a browser to sign in."""
        digest = hashlib.sha256(expected.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._back,
            "scope": "openid email",
            "state": expected.state,
            "nonce": expected.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        endpoint = str(self._discovered()["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def identify(self, code: str, expected: Expected) -> Identity:
        """Trade a code for who somebody is."""
        answer = self._asked(
            "POST",
            str(self._discovered()["token_endpoint"]),
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._back,
                "code_verifier": expected.verifier,
            },
            auth=(self._settings.client_id, self._settings.client_secret.get_secret_value()),
        )
        claims = self._verified(str(answer.get("id_token", "")))
        self._judge(claims, expected.nonce, self._clock() // _S)
        verified = claims.get("email_verified") is True
        email = str(claims.get("email", "")) if verified else ""
        return Identity(self._settings.issuer, str(claims["sub"]), email)

    def _judge(self, claims: dict[str, Any], nonce: str, now_s: int) -> None:
        ours = self._settings.client_id
        audience = claims.get("aud")
        several = isinstance(audience, list) and len(audience) > 1
        wrong = {
            "issuer": claims.get("iss") != self._settings.issuer,
            "audience": ours not in (audience if isinstance(audience, list) else [audience]),
            "authorized party": claims.get("azp", None if several else ours) != ours,
            "expiry": not _is_number(claims.get("exp")) or now_s >= claims["exp"] + _LEEWAY_S,
            "time of issue": not _is_number(claims.get("iat")) or claims["iat"] > now_s + _LEEWAY_S,
            "nonce": claims.get("nonce") != nonce,
            "subject": not 1 <= len(str(claims.get("sub", ""))) <= 200,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise ProviderError(
                    f"The identity provider's answer has a wrong {name}. Sign in again."
                )

    def _verified(self, token: str) -> dict[str, Any]:
        """Return the claims of an ID token that the provider signed."""
        for fresh in (False, True):
            try:
                return dict(jwt.decode(token, self._known_keys(fresh=fresh), ALGORITHMS).claims)
            except (JoseError, ValueError):
                continue
        raise ProviderError("The identity provider's answer is not signed by it. Sign in again.")

    def _known_keys(self, *, fresh: bool) -> KeySet:
        with self._lock:
            keys, age = self._keys, self._clock() - self._keys_at
        if keys is not None and age < (_AGAIN_NS if fresh else _FRESH_NS):
            return keys
        found = self._asked("GET", str(self._discovered()["jwks_uri"]))
        try:
            # Keys of kinds that are not known here are somebody else's business.
            known = [one for one in found["keys"] if one.get("kty") in {"RSA", "EC", "OKP"}]
            keys = KeySet.import_key_set({"keys": known})
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProviderError("The identity provider's keys cannot be read.") from error
        with self._lock:
            self._keys, self._keys_at = keys, self._clock()
        return keys

    def _discovered(self) -> dict[str, Any]:
        with self._lock:
            facts, age = self._facts, self._clock() - self._facts_at
        if facts and age < _FRESH_NS:
            return facts
        issuer = self._settings.issuer
        facts = self._asked("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if facts.get("issuer") != issuer:
            raise ProviderError(
                f"The identity provider at {issuer} says that it is another one. Check oidc.issuer."
            )
        for name in _NEEDED:
            if urlsplit(str(facts.get(name, ""))).scheme != "https":
                raise ProviderError(f"The identity provider names no {name} with https.")
        with self._lock:
            self._facts, self._facts_at = facts, self._clock()
        return facts

    def _asked(self, method: str, address: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, address, **arguments)
            found = answer.json() if len(answer.content) <= _MOST_BYTES else None
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderError(
                f"The identity provider does not answer ({type(error).__name__}). Try again later."
            ) from error
        if not answer.is_success or not isinstance(found, dict):
            raise ProviderError(
                f"The identity provider refused ({answer.status_code}). Sign in again."
            )
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
