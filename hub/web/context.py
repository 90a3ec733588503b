"""What the pages work with, as far as they know it.

1. The application is put together once and hands one object to API and pages alike; this names
   the part of it that the pages use.
2. Nothing here is made; nothing here is global.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from sqlalchemy import Engine
from starlette.requests import Request

from hub.metrics import Metrics
from hub.ports.identity.port import IdentityProvider
from hub.ports.payment.port import PaymentPort
from hub.ports.store.port import TelemetryStore
from hub.services.capacity import Capacity
from hub.services.causes import CauseBoard
from hub.services.erasure_parts import Horizon
from hub.services.events import Broadcaster
from hub.services.look_book import LookBook
from hub.services.passkeys import Site
from hub.services.signing_keys import SigningKeys
from hub.services.state import Place
from hub.services.tokens import Tokens
from hub.services.usage_accounts import Accounts


class Brake(Protocol):
    """Slows down guessing."""

    def take(self, key: str, at: int) -> None:
        """Count one try of a key at an instant (ns); raises `RateLimitedError` past the limit."""


class Brakes(Protocol):
    """The brakes that pages share with the API."""

    @property
    def sign_in_address(self) -> Brake:
        """By network address."""

    @property
    def export(self) -> Brake:
        """Of exports, by person."""

    @property
    def invitation_code(self) -> Brake:
        """Of codes of invitations, by person."""


class Hub(Protocol):
    """The collaborators of the pages."""

    @property
    def engine(self) -> Engine:
        """The relational database."""

    @property
    def store(self) -> TelemetryStore:
        """The telemetry store."""

    @property
    def archive(self) -> TelemetryStore | None:
        """Keeps every row; `None`: the store does."""

    @property
    def accounts(self) -> Accounts:
        """What the meter has counted."""

    @property
    def tokens(self) -> Tokens:
        """Makes secrets."""

    @property
    def live(self) -> Broadcaster:
        """What is happening."""

    @property
    def causes(self) -> CauseBoard:
        """What faulty products have in common."""

    @property
    def metrics(self) -> Metrics:
        """Of this process."""

    @property
    def clock(self) -> Callable[[], int]:
        """The present time, ns since 1970 UTC."""

    @property
    def signing_keys(self) -> SigningKeys:
        """Sign receipts and certificates."""

    @property
    def place(self) -> Place:
        """Where this hub is found."""

    @property
    def looks(self) -> LookBook:
        """Keeps who looked."""

    @property
    def names_in_looks(self) -> bool:
        """Whether owners read names, not pseudonyms."""

    @property
    def horizon(self) -> Horizon:
        """How long what cannot be erased at once stays."""

    @property
    def dispute_days(self) -> int:
        """Days that an owner has to answer a dispute."""

    @property
    def button_hints(self) -> Mapping[str, str]:
        """How the button of a product is pressed, by language tag."""

    @property
    def site(self) -> Site | None:
        """The hub as browsers know it."""

    @property
    def provider(self) -> IdentityProvider | None:
        """By which people may sign in."""

    @property
    def payment(self) -> PaymentPort:
        """The payment provider."""

    @property
    def plain_webhooks(self) -> bool:
        """Whether webhooks may go to http addresses too."""

    @property
    def link_by_email(self) -> bool:
        """Whether its accounts are linked by their address."""

    @property
    def limits(self) -> Brakes:
        """How often one key may try."""

    @property
    def capacity(self) -> Capacity:
        """Computes what a fleet needs."""


def hub_of(request: Request) -> Hub:
    """Return the collaborators the application was put together with."""
    hub: Hub = request.app.state.hub
    return hub
