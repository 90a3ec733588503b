"""Puts the parts of the hub together from its settings: the only place that names adapters.

1. One function for one part; a role calls those it needs.
2. The clock and the source of randomness enter here.
3. Imports stand inside the functions where a part is heavy: the broker's process must not carry
   the database, nor the supervisor numba.
"""

from __future__ import annotations

import importlib
import resource
import secrets
import ssl
import time
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from hub.config import ConfigurationError
from hub.errors import InvalidInputError
from hub.ports.broker.nats_server import (
    NatsAccess,
    NatsConfiguration,
    NatsServer,
    load_or_create_issuer,
)
from hub.ports.broker.nkeys import account_name
from hub.ports.broker.port import CONTROL, INGEST, REVOKER
from hub.ports.journal.durability import write_whole
from hub.ports.keyfile import read_private, replace_private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from sqlalchemy import Engine

    from hub.app.authd import Admission
    from hub.app.backup.schedule import Schedule
    from hub.app.backup.take import Source
    from hub.app.erasure_desk import ErasureDesk
    from hub.app.ingest import IngestConfig
    from hub.app.lane_worker import LaneWorker
    from hub.app.usage_meter import UsageMeter
    from hub.config import Settings
    from hub.metrics import Metrics
    from hub.pipeline.store import Progress
    from hub.ports.broker.callout import Shown, Standing
    from hub.ports.broker.mosquitto import MosquittoConfiguration
    from hub.ports.broker.mosquitto_client import MosquittoBroker
    from hub.ports.broker.nats_cluster import NatsCluster
    from hub.ports.broker.port import Broker, EmbeddedBroker
    from hub.ports.clock import MovableClock
    from hub.ports.collector.port import Collector
    from hub.ports.identity.port import IdentityProvider
    from hub.ports.journal.writer import JournalWriter
    from hub.ports.payment.port import PaymentPort
    from hub.ports.store.compaction import Compactor
    from hub.ports.store.embedded import EmbeddedStore
    from hub.ports.store.mirror import Mirror
    from hub.ports.store.port import TelemetryStore
    from hub.ports.store.tombstones import Tombstones
    from hub.ports.store.victoria import VictoriaStore
    from hub.ports.webhook.port import Post
    from hub.services.billing_accounts import Vendor
    from hub.services.erasure_parts import Horizon
    from hub.services.passkeys import Site
    from hub.services.pki import CertificateAuthority
    from hub.services.tokens import Tokens


_STUCK_S = 10.0
"""A worker looks at its link many times a second, also when nothing comes."""


_moved: MovableClock | None = None
"""The clock of this process's hub, if it is one that can be moved."""


def follow_clock(settings: Settings) -> None:
    """Go by the hub's clock from now on, in this process, if it has one of its own."""
    global _moved  # noqa: PLW0603  time enters a process in one place
    from hub.ports.clock import MovableClock  # noqa: PLC0415  see rule 3

    _moved = MovableClock.found(settings.clock_file)


def now() -> int:
    """Return the present time of the hub, ns since 1970 UTC."""
    return time.time_ns() if _moved is None else _moved()


def ahead() -> int:
    """Return how far the hub's time is ahead of the world's, ns."""
    return 0 if _moved is None else _moved.ahead_ns


def world_now() -> int:
    """Return the time of the world, by which certificates go, ns since 1970 UTC."""
    return time.time_ns()


def clock_to_move(settings: Settings) -> MovableClock | None:
    """Return the hub's clock if it may be moved."""
    return _moved if settings.demo else None


def site(settings: Settings) -> Site | None:
    """Return the hub as browsers know it: by its first DNS name, with the port and behind a proxy."""
    from hub.services.passkeys import Site  # noqa: PLC0415  heavy, see rule 3

    for name in settings.public_hosts:
        if not name.replace(".", "").isdigit() and ":" not in name:
            plain = f"https://{name}"
            return Site(name, (f"{plain}:{settings.api.port}", plain))
    return None


def identity_provider(settings: Settings) -> IdentityProvider | None:
    """Return by which people may sign in, if the settings name one."""
    if not settings.oidc.issuer:
        return None
    import ssl  # noqa: PLC0415  only here

    import httpx  # noqa: PLC0415  heavy, see rule 3

    from hub.ports.identity.oidc import OidcProvider  # noqa: PLC0415  heavy, see rule 3

    file = settings.oidc.ca_file
    trust = ssl.create_default_context(cafile=str(file) if file else None)
    client = httpx.Client(verify=trust, timeout=10.0, follow_redirects=False)
    name = settings.public_hosts[0]
    port = "" if settings.api.port == 443 else f":{settings.api.port}"
    return OidcProvider(
        settings.oidc, f"https://{name}{port}/sign-in/provider/back", client, world_now
    )


def engine(settings: Settings) -> Engine:
    """Open the relational database."""
    from hub.ports.database.engine import open_engine  # noqa: PLC0415  heavy, see rule 3

    return open_engine(settings.database_url.get_secret_value())


def authority(settings: Settings) -> CertificateAuthority:
    """Open the hub's certificate authority; made at first start."""
    from hub.services.pki import CertificateAuthority  # noqa: PLC0415  heavy, see rule 3

    return CertificateAuthority.load_or_create(settings.pki_dir, world_now(), settings.pki, ahead)


def internal_parts(settings: Settings) -> list[str]:
    """Return the names of the hub's parts that have a certificate for the broker."""
    return [CONTROL, REVOKER, *(f"{INGEST}-{n}" for n in range(settings.lanes))]


def api_url(settings: Settings) -> str:
    """Return the base address of the API as others reach it; its port must be chosen."""
    host = settings.api.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104  a comparison
        host = settings.public_hosts[0]
    return f"https://{host}:{settings.api.port}"


def renew_operator_token(settings: Settings) -> None:
    """Make the token that opens the API to local tools for one run of the hub."""
    token = secrets.token_urlsafe(32)
    replace_private(settings.run_dir / "operator.token", token.encode())


def operator_token(settings: Settings) -> str:
    """Return the token of this run of the hub."""
    return read_private(settings.run_dir / "operator.token").decode()


def write_incarnation(settings: Settings, value: bytes) -> None:
    """Write what this hub is beside its addresses: a worker then starts without the database."""
    write_whole(_incarnation_file(settings), value)


def _incarnation_file(settings: Settings) -> Path:
    return settings.run_dir / "incarnation"


def embedded_broker(settings: Settings) -> EmbeddedBroker:
    """Return the broker that the hub starts for itself; its ports must be chosen."""
    issuer = load_or_create_issuer(settings.keys_dir)
    return NatsServer(
        NatsConfiguration(
            folder=settings.broker_dir,
            mqtt_host=settings.mqtt.host,
            mqtt_port=settings.mqtt.port,
            client_port=settings.broker.client_port,
            ca_file=settings.pki_dir / "ca.pem",
            certificate_file=settings.pki_dir / "server.pem",
            key_file=settings.pki_dir / "server.key",
            issuer=account_name(issuer.public_key()),
            access=NatsAccess.load_or_create(settings.broker_dir),
            settings=settings.broker,
        )
    )


def nats_cluster(settings: Settings, folder: Path) -> NatsCluster:
    """Return what the nodes' configuration is made of, with new certificates for them."""
    from hub.ports.broker.nats_cluster import (  # noqa: PLC0415  see rule 3
        NatsCluster,
        load_or_create_route_password,
    )

    own = authority(settings)

    def issue(names: list[str]) -> tuple[bytes, bytes]:
        pair = own.issue_server(names, world_now(), peer=True)
        return pair.shown_pem, pair.private_key_pem

    return NatsCluster(
        folder=folder,
        ca_pem=(settings.pki_dir / "ca.pem").read_bytes(),
        issue=issue,
        issuer=account_name(load_or_create_issuer(settings.keys_dir).public_key()),
        access=NatsAccess.load_or_create(settings.broker_dir),
        route_password=load_or_create_route_password(settings.broker_dir),
        settings=settings.broker,
    )


def broker(settings: Settings) -> Broker:
    """Return the running broker as the parts of the hub see it."""
    match settings.broker.kind:
        case "mosquitto":
            return mosquitto(settings)
        case "emqx":
            from hub.ports.broker.emqx import EmqxBroker  # noqa: PLC0415  heavy, see rule 3

            return EmqxBroker(settings)
        case "nats" | "nats-cluster":
            from hub.ports.broker.nats_client import NatsBroker  # noqa: PLC0415  heavy, see rule 3

            return NatsBroker(settings)


def mosquitto(settings: Settings) -> MosquittoBroker:
    """Return the Mosquitto that the settings name."""
    from hub.ports.broker.mosquitto_client import MosquittoBroker  # noqa: PLC0415  heavy

    return MosquittoBroker(settings)


def mosquitto_configuration(settings: Settings, folder: Path, user: str) -> MosquittoConfiguration:
    """Return what Mosquitto's configuration is made of, with a new certificate for it."""
    from hub.ports.broker.mosquitto import MosquittoConfiguration  # noqa: PLC0415  see rule 3

    pair = authority(settings).issue_server(settings.public_hosts, world_now())
    return MosquittoConfiguration(
        folder=folder,
        host=settings.mqtt.host,
        port=settings.mqtt.port,
        user=user,
        workers=settings.lanes,
        ca_pem=(settings.pki_dir / "ca.pem").read_bytes(),
        certificate_pem=pair.shown_pem,
        key_pem=pair.private_key_pem,
        settings=settings.broker,
    )


def tokens(settings: Settings) -> Tokens:
    """Return the source of ids and secrets."""
    from hub.services.signing_keys import load_pepper  # noqa: PLC0415  heavy, see rule 3
    from hub.services.tokens import Tokens  # noqa: PLC0415  heavy, see rule 3

    return Tokens(load_pepper(settings.keys_dir))


def payment(settings: Settings) -> PaymentPort:
    """Return the payment provider that the settings name."""
    from hub.services.signing_keys import load_ledger_key  # noqa: PLC0415  heavy, see rule 3

    billing = settings.billing
    if billing.kind == "stripe":
        from hub.ports.payment.stripe import StripePayments  # noqa: PLC0415  heavy, see rule 3

        return StripePayments(
            billing.stripe_key.get_secret_value(),
            url=billing.stripe_url,
            methods=billing.stripe_methods,
        )
    from hub.ports.payment.local import LocalPayments  # noqa: PLC0415  heavy, see rule 3

    key = load_ledger_key(settings.keys_dir)
    return LocalPayments(settings.payments_file, key, rehearses=settings.demo)


def vendor(settings: Settings) -> Vendor:
    """Return who sells, as the settings say."""
    from hub.services.billing_accounts import Vendor  # noqa: PLC0415  heavy, see rule 3

    billing = settings.billing
    return Vendor(
        name=billing.name,
        address=billing.address,
        tax_id=billing.tax_id,
        currency=billing.currency,
        region=billing.region,
        zone=billing.zone,
        method=billing.local_method if billing.kind == "local" else "",
    )


def journals(settings: Settings) -> dict[str, Path]:
    """Return the telemetry journals by the names under which the store knows them."""
    return {str(n): settings.journal_dir(n) for n in range(settings.lanes)}


def store(settings: Settings) -> TelemetryStore:
    """Open the telemetry store for reading."""
    if settings.store.kind == "victoriametrics":
        return _victoria(settings)
    if settings.store.kind == "influxdb":
        from hub.ports.store.influx2 import InfluxAddress, InfluxStore  # noqa: PLC0415  heavy

        chosen = settings.store
        token = chosen.token.get_secret_value()
        return InfluxStore(InfluxAddress(chosen.url, chosen.org, chosen.bucket, token), now)
    from hub.ports.store.embedded import EmbeddedStore  # noqa: PLC0415  heavy, see rule 3

    return EmbeddedStore(settings.store_dir, journals(settings))


def _victoria(settings: Settings) -> VictoriaStore:
    from hub.ports.store.victoria import VictoriaAddress, VictoriaStore  # noqa: PLC0415  heavy

    chosen = settings.store
    return VictoriaStore(VictoriaAddress(chosen.url, chosen.token.get_secret_value()), now)


def archive(settings: Settings) -> EmbeddedStore:
    """Open the hub's own archive for reading: it keeps every row, wherever else telemetry goes."""
    from hub.ports.store.embedded import EmbeddedStore  # noqa: PLC0415  heavy, see rule 3

    return EmbeddedStore(settings.store_dir, journals(settings))


def usage_log(settings: Settings) -> JournalWriter:
    """Open the log of what the meter tells; one process at a time can."""
    from hub.ports.journal.writer import JournalWriter  # noqa: PLC0415  heavy, see rule 3

    return JournalWriter.open(settings.usage_dir, now_ns=now())


def meter(settings: Settings, log: JournalWriter, metrics: Metrics) -> UsageMeter:
    """Return what counts usage; one process at a time may."""
    from hub.app.usage_meter import MeterPlaces, UsageMeter  # noqa: PLC0415  heavy, see rule 3

    places = MeterPlaces(settings.meter_terms_dir, settings.accounts_dir, journals(settings))
    outage_ns = settings.usage.outage_min_s * 10**9
    return UsageMeter(places, log, archive(settings), now, outage_ns, metrics)


def mirror(settings: Settings) -> Mirror:
    """Return what feeds the time-series database; one process at a time may."""
    from hub.ports.store.line_writer import LineWriter  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.store.mirror import Mirror  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.store.sinks import InfluxSink, VictoriaSink  # noqa: PLC0415  heavy, see rule 3

    chosen = settings.store
    writer = LineWriter(
        chosen.url,
        bucket=chosen.bucket or "homeport",
        org=chosen.org or "-",
        token=chosen.token.get_secret_value(),
    )
    sink = (
        VictoriaSink(writer, _victoria(settings))
        if chosen.kind == "victoriametrics"
        else InfluxSink(writer)
    )
    return Mirror(settings.mirror_file, journals(settings), sink)


def synced(settings: Settings) -> dict[str, int]:
    """Return for each journal the offset below which it is on disk, as its worker says."""
    return {str(worker): progress(settings, worker).synced for worker in range(settings.lanes)}


def refuse_collector_without_packages(settings: Settings) -> None:
    """Say at the start what would keep each process from starting.

    Raises:
        ConfigurationError: a collector is named, but what it needs is not installed.
    """
    if not settings.otlp.endpoint:
        return
    try:
        importlib.import_module("hub.ports.collector.otlp")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The setting otlp.endpoint names a collector, but {error.name} is not installed. "
            "Run: pip install 'homeport[otel]'. Or empty the setting."
        ) from error


def collector(settings: Settings, process: str) -> Collector | None:
    """Return the way of a process to the collector of OpenTelemetry; None if there is none."""
    chosen = settings.otlp
    if not chosen.endpoint:
        return None
    from hub.ports.collector.otlp import Endpoint, OtlpCollector  # noqa: PLC0415  optional

    pairs = (part.partition("=") for part in chosen.headers.get_secret_value().split(",") if part)
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    identity = {
        "service.name": "homeport",
        "service.version": program_version(),
        "service.instance.id": _incarnation_file(settings).read_bytes().hex(),
        "homeport.process": process,
    }
    return OtlpCollector(Endpoint(chosen.endpoint, headers, chosen.ca_file), identity)


def lane_worker(settings: Settings, number: int, collecting: Collector | None = None) -> LaneWorker:
    """Return one of several workers."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  heavy, see rule 3

    from hub.app.lane_worker import LaneWorker  # noqa: PLC0415  heavy, see rule 3
    from hub.services.lane_leases import LaneLeases  # noqa: PLC0415  heavy, see rule 3

    workers = settings.ingest.workers
    return LaneWorker(
        f"worker-{number}",
        frozenset(range(number, settings.lanes, workers)),
        LaneLeases(engine(settings)),
        settings.ingest.lease_ms / 1_000,
        partial(ingest, settings, collecting=collecting),
        unavailable=(DBAPIError,),
    )


def ingest(settings: Settings, worker: int, collecting: Collector | None = None) -> IngestConfig:
    """Return what a worker works with for one lane; the hub must have been prepared."""
    from hub.app.ingest import IngestConfig  # noqa: PLC0415  heavy, see rule 3
    from hub.pipeline.receive import LinkAddress  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.broker.identities import internal_identity  # noqa: PLC0415  see rule 3

    who = internal_identity(settings, f"{INGEST}-{worker}")  # without the broker's own client
    return IngestConfig(
        worker=worker,
        address=LinkAddress(
            host=who.host,
            port=who.port,
            client_id=who.name,
            trust=who.ca_file,
            certificate=who.certificate_file,
            key=who.key_file,
            others=who.others,
        ),
        incarnation=_incarnation_file(settings).read_bytes(),
        gate=settings.gate_dir,
        journal=settings.journal_dir(worker),
        findings=settings.findings_dir(worker),
        dead_letters=settings.deadletters_dir(worker),
        checkpoints=settings.detector_dir(worker),
        progress=progress_file(settings, worker),
        metrics=settings.run_dir / "metrics",
        window=settings.ingest.window_rows,
        cadence_ms=settings.ingest.cadence_ms,
        max_messages_per_s=settings.ingest.max_messages_per_s,
        most_lag_s=settings.ingest.max_lag_ms / 1_000,
        messages=settings.ingest.batch_messages,
        linger_s=settings.ingest.batch_ms / 1_000,
        segment_bytes=settings.ingest.segment_bytes,
        reserve_bytes=settings.ingest.reserve_bytes,
        clock=now,
        lanes=settings.lanes,
        collector=collecting,
        traces_per_s=settings.otlp.traces_per_s,
    )


def progress_file(settings: Settings, lane: int) -> Path:
    """Where a worker without a lease says how far it has come; others add their token."""
    return settings.run_dir / f"ingest-{lane}.progress"


def progress(settings: Settings, lane: int) -> Progress:
    """Return how far the worker has come that has a lane now."""
    from hub.pipeline.store import newest_progress, read_progress  # noqa: PLC0415  heavy

    return read_progress(newest_progress(progress_file(settings, lane)))


def webhook_post(settings: Settings) -> Post:
    """Return what sends webhooks."""
    from hub.ports.webhook.https import HttpsPost  # noqa: PLC0415  see rule 3

    chosen = settings.webhooks
    trust = ssl.create_default_context(cafile=chosen.ca_file) if chosen.ca_file else None
    return HttpsPost(chosen.timeout_s, private_allowed=chosen.private_addresses, trust=trust)


def compactor(settings: Settings) -> Compactor:
    """Open the telemetry store for writing; one process at a time can."""
    from hub.app.store_rules import StoreRules  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.store.compaction import Compactor  # noqa: PLC0415  heavy, see rule 3

    rules = StoreRules(engine(settings), settings.retention.days, settings.retention.patience_days)
    return Compactor(settings.store_dir, journals(settings), rules=rules)


def prune_below(settings: Settings) -> dict[str, int]:
    """Return for each journal the offset below which nobody but the archive needs it."""
    offsets = {
        str(worker): progress(settings, worker).checkpoint for worker in range(settings.lanes)
    }
    if settings.store.kind == "embedded":
        return offsets
    from hub.ports.store.mirror import held_by  # noqa: PLC0415  heavy, see rule 3

    held = held_by(settings.mirror_file, journals(settings))
    return {name: min(offset, held[name]) for name, offset in offsets.items()}


def problems(settings: Settings) -> list[str]:
    """Say what keeps the hub from doing all it should, one sentence each."""
    from hub.app import processes  # noqa: PLC0415  see rule 3

    found = processes.problems(settings.run_dir)
    up = {one.role for one in processes.read(settings.run_dir) if one.up}
    for lane in range(settings.lanes):
        seen = progress(settings, lane)
        silent_s = (now() - seen.beat_ns) / 1e9
        who = f"Worker {lane}" if not settings.leased else f"Lane {lane} of telemetry"
        if seen.paused:
            found.append(
                f"{who} takes no telemetry because the disk is full; devices keep theirs. "
                "It goes on by itself when there is room."
            )
        elif up & _workers(settings, lane) and silent_s > _STUCK_S:
            found.append(
                f"{who} has not turned for {silent_s:.0f} s: it is stopped or stuck; "
                "devices keep what they measure."
            )
        elif seen.overloaded:
            found.append(
                f"{who} is offered more than it can take: it tells products to wait, fairly; "
                "they keep what they measure."
            )
    if settings.backup.folder is not None:
        from hub.app.backup.schedule import Standing  # noqa: PLC0415  heavy, see rule 3

        standing = Standing.read(settings.run_dir) or Standing()
        late = standing.problem(now(), settings.backup.every_hours)
        found += [late] if late else []
    return found


def _workers(settings: Settings, lane: int) -> set[str]:
    """Return the roles that may have a lane."""
    return (
        {f"ingest-{n}" for n in range(settings.ingest.workers)}
        if settings.leased
        else {f"ingest-{lane}"}
    )


def backup_source(settings: Settings) -> Source:
    """Return what a backup is taken of."""
    from hub.app.backup.take import Source  # noqa: PLC0415  heavy, see rule 3

    return Source(settings, engine(settings), program_version(), secrets.token_bytes)


def backup_schedule(settings: Settings) -> Schedule:
    """Return what takes backups; `backup.folder` must be set."""
    from hub.app.backup.schedule import Schedule  # noqa: PLC0415  heavy, see rule 3
    from hub.metrics import Metrics  # noqa: PLC0415  see rule 3

    chosen = settings.backup
    if chosen.folder is None:
        raise ConfigurationError("The setting backup.folder is empty.")
    allow_many_files()
    return Schedule(
        backup_source(settings),
        chosen.folder,
        chosen.every_hours,
        chosen.keep,
        passphrase=lambda: passphrase(chosen.passphrase_file),
        clock=now,
        metrics=Metrics("backup"),
    )


def erasure_desk(settings: Settings, database: Engine) -> ErasureDesk:
    """Return what follows erasures up."""
    from hub.app.erasure_desk import ErasureDesk, Places  # noqa: PLC0415  heavy, see rule 3
    from hub.app.erasure_list import NAME  # noqa: PLC0415  heavy, see rule 3

    lanes = range(settings.lanes)
    logs = [settings.usage_dir, *(settings.findings_dir(lane) for lane in lanes)]
    logs += [settings.deadletters_dir(lane) for lane in lanes]
    lists = [settings.data_dir / NAME]
    if settings.backup.folder is not None:
        lists.append(settings.backup.folder / NAME)
    places = Places(settings.store_dir, logs, lists)
    return ErasureDesk(database, places, erasure_horizon(settings), now, mirror_eraser(settings))


def mirror_eraser(settings: Settings) -> Callable[[Tombstones], None] | None:
    """Return what erases rows in the time-series database; None without one."""
    from hub.ports.store.mirror_erasing import erase_influx, erase_victoria  # noqa: PLC0415  heavy

    chosen = settings.store
    token = chosen.token.get_secret_value()
    match chosen.kind:
        case "embedded":
            return None
        case "victoriametrics":
            return partial(erase_victoria, chosen.url, token)
        case "influxdb":
            return partial(erase_influx, chosen.url, token, chosen.org, chosen.bucket)


def erasure_horizon(settings: Settings) -> Horizon:
    """Return how long what cannot be erased at once stays."""
    from hub.services.erasure_parts import Horizon  # noqa: PLC0415  heavy, see rule 3

    backup = settings.backup
    kept_ns = int(backup.keep * backup.every_hours * 3_600e9)
    return Horizon(kept_ns if backup.folder else None, mirror=settings.store.kind != "embedded")


def passphrase(file: Path | None) -> bytes | None:
    """Read a passphrase: the first line of a file that is its owner's only; None without a file.

    Raises:
        InvalidInputError: the line is empty.
        StorageError: the file cannot be read, or others may read it.
    """
    if file is None:
        return None
    line = read_private(file).split(b"\n", 1)[0].strip()
    if not line:
        raise InvalidInputError(f"The first line of {file} is empty; it should be the passphrase.")
    return line


def allow_many_files() -> None:
    """Let this process hold as many files open as it may: the store can have thousands."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def program_version() -> str:
    """Return the version of this program."""
    try:
        return version("homeport")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "unknown"


def admission(settings: Settings) -> Admission:
    """Return what the auth callout works with."""
    from hub.app.authd import Admission  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.broker.nats_client import NatsServers  # noqa: PLC0415  heavy, see rule 3
    from hub.ports.database.engine import read_session  # noqa: PLC0415  heavy, see rule 3
    from hub.services import admission as records  # noqa: PLC0415  heavy, see rule 3

    database = engine(settings)

    def standing(device_id: str, fingerprint: str) -> Standing:
        with read_session(database) as session:
            return records.standing(session, device_id, fingerprint)

    def unwelcome(connected: Collection[Shown]) -> set[Shown]:
        with read_session(database) as session:
            return records.unwelcome(session, connected)

    return Admission(
        servers=NatsServers.of(settings),
        access=NatsAccess.load_or_create(settings.broker_dir),
        issuer=load_or_create_issuer(settings.keys_dir),
        standing=standing,
        unwelcome=unwelcome,
        now=now,
    )
