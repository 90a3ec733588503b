"""What the hub asks of an identity provider: where to send a browser, and who came back.

1. A provider says who somebody is; whether they may come in is decided by services.
2. What it says is verified before it is returned; never here: accounts, sessions, cookies.
"""

from dataclasses import dataclass
from typing import Protocol

from hub.errors import HubError


class ProviderError(HubError):
    """The identity provider does not answer, or says what cannot be believed."""

    code = "identity-provider"
    title = "The identity provider could not be used"
    status = 502


@dataclass(frozen=True, slots=True)
class Expected:
    """What a sign-in was begun with and must come back with.

    Args:
        state: comes back in the address.
        nonce: comes back inside of the ID token.
        verifier: proves to the provider that who began ends it (PKCE, RFC 7636).
    """

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at a provider; `email` is empty unless the provider has verified it."""

    issuer: str
    subject: str
    email: str


class IdentityProvider(Protocol):
    """One provider."""

    @property
    def title(self) -> str:
        """What people call it."""

    def address(self, expected: Expected) -> str:
        """Return where to send a browser to sign in.

        Raises:
            ProviderError: the provider does not answer.
        """

    def identify(self, code: str, expected: Expected) -> Identity:
        """Trade the code that a browser came back with for who it is.

        Args:
            code: as in the address.
            expected: what the sign-in was begun with.

        Raises:
            ProviderError: the provider does not answer, or says what cannot be believed.
        """
