"""What the API works with: its collaborators, handed over when the application is put together.

1. One frozen `Hub` per application; there is no global state.
2. The clock and the source of randomness are collaborators like the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr
from sqlalchemy import Engine

from entitlements.decision_arrays import Decisions
from hub.api.limits import RateLimit
from hub.config import SecuritySettings
from hub.errors import ConflictError
from hub.metrics import Metrics
from hub.ports.identity.port import IdentityProvider
from hub.ports.payment.port import NOBODY_COLLECTS, PaymentPort
from hub.ports.store.port import TelemetryStore
from hub.services.caller import Caller
from hub.services.capacity import Capacity, ShippedCapacity
from hub.services.causes import CauseBoard
from hub.services.erasure_parts import Horizon
from hub.services.events import Broadcaster
from hub.services.idempotency import Running
from hub.services.look_book import LookBook
from hub.services.passkeys import Site
from hub.services.payments import NOTHING_FOLLOWS, Hooks
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import SigningKeys
from hub.services.state import Place
from hub.services.tokens import Tokens
from hub.services.usage_accounts import Accounts, nothing_counted


class DeviceLink(Protocol):
    """The way down to connected devices."""

    def push(self, device_id: str, channel: str, payload: bytes) -> bool:
        """Send a payload to a device; `False` where it could not be handed to the broker."""

    def kick(self, device_id: str) -> None:
        """End the live connection of a device, if it has one."""


def _limits(what: str, tries: int, window_s: int) -> Callable[[], RateLimit]:
    return lambda: RateLimit(what, tries=tries, window_s=window_s)


@dataclass(frozen=True, slots=True)
class Limits:
    """How often one key may try.

    Addresses get room for a factory or an office behind one of them.
    """

    enrol_address: RateLimit = field(default_factory=_limits("enrol", 1_200, 60))
    enrol_serial: RateLimit = field(default_factory=_limits("enrol", 10, 600))
    sign_in_address: RateLimit = field(default_factory=_limits("sign in", 120, 60))
    invitation_code: RateLimit = field(default_factory=_limits("answer invitations", 20, 600))
    export: RateLimit = field(default_factory=_limits("export", 10, 3_600))
    flags: RateLimit = field(default_factory=_limits("evaluate flags", 6_000, 60))


def no_demo(_caller: Caller, _by_ns: int) -> int:
    """Refuse to move the clock.

    Raises:
        ConflictError: always.
    """
    raise ConflictError("The clock of this hub cannot be moved: it is no demo hub.")


@dataclass(frozen=True, slots=True)
class Hub:
    """The collaborators of one application.

    Args:
        engine: the relational database.
        store: the telemetry store.
        ca: issues certificates.
        tokens: makes ids and secrets.
        devices: the way down to connected devices.
        decisions: the decisions on all features of all enrolled products, as last compiled.
        settle: waits until the gate has taken in all that was committed; `False` where that took
            too long.
        live: what is happening, for streams of events.
        place: where devices find this hub.
        signing_keys: sign states; devices are told the public halves.
        incarnation: of the hub, 8 bytes.
        operator_token_hash: SHA-256 of the operator token, hex (`tokens.secret_hash`).
        metrics: of this process.
        metrics_dir: where the other processes publish theirs; `None` for none.
        names_in_looks: owners read who looked by name, not by pseudonym.
        data_dir: folder of the hub's files, where workers take replays from; `None` for none.
        problems: what keeps the hub from doing all it should, one sentence each.
        looks: keeps who looked at whose product.
        clock: the present time, ns since 1970 UTC.
        monotonic: seconds of a clock that never steps back.
        random_bytes: returns so many random bytes.
        request_bytes: largest body of a request (`limits.request_bytes`).
        limits: how often one key may try.
        hook_secret_hash: SHA-256 of what a broker shows that asks for admission, hex; empty: none
            may ask.
        causes: what faulty products have in common.
        archive: the hub's own archive, which keeps every row; `None`: the store does.
        accounts: reads what the meter has counted.
        horizon: how long what cannot be erased at once stays.
        dispute_days: how long an owner has to answer a dispute.
        button_hints: how the button of a product is pressed, by language tag.
        security: whom to tell of a weakness.
        site: the hub as browsers know it; `None`: it has no DNS name, so there are no passkeys.
        provider: by which people may sign in; `None` for none.
        link_by_email: its accounts are linked by the e-mail address that it has verified.
        plain_webhooks: webhooks may go to http addresses too.
        advance: moves the clock ahead on behalf of a caller by so many ns, and returns how often it
            halted; refuses unless this is a demo hub.
        payment: the payment provider.
        payment_hooks: what follows from its answers.
        stripe_webhook_secret: signs the events of Stripe; empty: none is believed.
        running: the writes with an idempotency key that are being answered at the moment.
        capacity: computes what a fleet needs.
    """

    engine: Engine
    store: TelemetryStore
    ca: CertificateAuthority
    tokens: Tokens
    devices: DeviceLink
    settle: Callable[[], bool]
    decisions: Callable[[], Decisions]
    live: Broadcaster
    place: Place
    signing_keys: SigningKeys
    incarnation: bytes
    operator_token_hash: str
    metrics: Metrics
    metrics_dir: Path | None
    looks: LookBook
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    request_bytes: int = 1_048_576
    limits: Limits = field(default_factory=Limits)
    hook_secret_hash: str = ""
    data_dir: Path | None = None
    names_in_looks: bool = False
    problems: Callable[[], list[str]] = list
    causes: CauseBoard = field(default_factory=CauseBoard)
    archive: TelemetryStore | None = None
    accounts: Accounts = nothing_counted
    horizon: Horizon = field(default_factory=Horizon)
    dispute_days: int = 14
    button_hints: Mapping[str, str] = field(default_factory=dict)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    site: Site | None = None
    provider: IdentityProvider | None = None
    link_by_email: bool = True
    plain_webhooks: bool = False
    advance: Callable[[Caller, int], int] = no_demo
    payment: PaymentPort = NOBODY_COLLECTS
    payment_hooks: Hooks = NOTHING_FOLLOWS
    stripe_webhook_secret: SecretStr = field(default_factory=lambda: SecretStr(""))
    running: Running = field(default_factory=Running)
    capacity: Capacity = field(default_factory=ShippedCapacity)
