"""The process `control`, put together: API, control channels, reactor, states and gate.

1. The one writer of the database: whatever changes it runs here.
2. The first gate snapshot is published before the process is ready, as ingest waits for it.
3. Parts with loops of their own get a thread each; all end when `stop` is set.
"""

import gc
import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from sqlalchemy import Engine

from device_sdk.wire.topics import Down
from hub.api.context import Hub
from hub.app import web_server
from hub.app.alert_clock import AlertClock
from hub.app.billing_clock import BillingClock
from hub.app.capacity_desk import CapacityDesk
from hub.app.certificate_clock import CertificateClock
from hub.app.child import Child
from hub.app.clock_mover import ClockMover, Duty
from hub.app.control_link import ControlLink
from hub.app.dead_letter_desk import DeadLetterSweep, keep_dead_letters
from hub.app.device_desk import DeviceDesk, StateDesk
from hub.app.findings_desk import FindingsDesk
from hub.app.gauges import Gauges
from hub.app.http import create_app
from hub.app.lifetime_clock import LifetimeClock
from hub.app.metrics_sender import MetricsSender
from hub.app.payment_desk import PaymentDesk
from hub.app.reactor import Follower, Reactor
from hub.app.shut_out import keep_out
from hub.app.statement_clock import StatementClock
from hub.app.tracing import TracedFindings
from hub.app.usage_desk import UsageDesk
from hub.app.webhook_sender import OUTCOMES, WebhookSender
from hub.config import Settings
from hub.metrics import Metrics, merged
from hub.ports.broker.port import CONTROL, Broker
from hub.ports.collector.port import Collector
from hub.ports.database.engine import read_session, write_session
from hub.ports.journal.block import Kind
from hub.ports.journal.durability import free_bytes
from hub.services import (
    admission,
    billing_accounts,
    consent,
    letters,
    renewals,
    reversals,
    webhook_endpoints,
    webhook_events,
)
from hub.services.alert_kinds import kind_words
from hub.services.alerts import Change
from hub.services.consent import Policy
from hub.services.dead_letter_limits import DeadLetterLimits
from hub.services.events import Broadcaster
from hub.services.gate import GatePublisher
from hub.services.identity import incarnation
from hub.services.look_book import LookBook
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import SigningKeys, load_ledger_key
from hub.services.state import Place, StateIssuer
from hub.services.tokens import Tokens, secret_hash
from hub.services.usage_accounts import PublishedAccounts
from hub.services.usage_terms import MeterTermsPublisher
from hub.wiring import compose

_METRICS_EVERY_S = 1.0
_SETTLE_S = 2.0


class _Devices:
    """The way down to devices, as the API knows it."""

    def __init__(self, link: ControlLink, broker: Broker) -> None:
        self._link = link
        self._broker = broker

    def push(self, device_id: str, channel: str, payload: bytes) -> bool:
        return self._link.publish(device_id, Down(channel), payload)

    def kick(self, device_id: str) -> None:
        self._broker.disconnect(device_id)


def run(settings: Settings, child: Child) -> None:
    """Run everything of this process until `child.stop` is set."""
    engine, metrics = compose.engine(settings), Metrics("control")
    tokens, authority = compose.tokens(settings), compose.authority(settings)
    keys, place = SigningKeys.load_or_create(settings.keys_dir), _place(settings)
    broker, live = compose.broker(settings), Broadcaster()

    def send(device_id: str, channel: Down, payload: bytes) -> bool:
        return link.publish(device_id, channel, payload)

    letters.announce(engine, live.publish)
    issuer = StateIssuer(engine, keys, place, lambda: authority.trust_bundle_der)
    states = StateDesk(engine, issuer, send, compose.now)
    findings = FindingsDesk(send, live.publish, _counter(metrics))
    desk = DeviceDesk(engine, states, send, live.publish, findings)
    link = ControlLink(broker.identity(CONTROL), desk, metrics, compose.now)
    sweep = DeadLetterSweep(engine, _letter_limits(settings), metrics)
    accounts = PublishedAccounts(settings.accounts_dir)
    archive = compose.archive(settings) or compose.store(settings)
    used = UsageDesk(engine, archive, accounts, send, live.publish, compose.now, metrics)
    terms = MeterTermsPublisher(engine, archive, settings.meter_terms_dir, compose.now, used.settle)
    collecting = compose.collector(settings, "control")
    found = findings if collecting is None else TracedFindings(findings, collecting)
    followers = [
        *_followers(settings, found, sweep),
        Follower(
            "usage",
            settings.usage_dir,
            Kind.USAGE,
            used.apply,
            used.publish,
            foresee=used.foresee,
        ),
    ]
    reactor = Reactor(engine, followers, metrics, compose.now)
    gate = GatePublisher(engine, settings.gate_dir, compose.now)
    gate.step()
    # The fleet's tables are there to stay. A collection that went through them would hold up a
    # change, and every request, for a quarter of a second at a million products.
    gc.collect()
    gc.freeze()
    alerts = AlertClock(engine, findings, compose.now)
    collector = PaymentDesk(
        engine,
        compose.payment(settings),
        renewals.hooks(tokens),
        load_ledger_key(settings.keys_dir),
        compose.now,
    )
    billing = BillingClock(engine, tokens, compose.now)
    webhooks = _webhooks(settings, engine, tokens, live, metrics)
    duties = [
        Duty("billing", billing.catch_up, billing.next_due),
        Duty("payments", collector.step, collector.next_due),
        Duty("states", lambda: states.turn(compose.now()), states.next_due),
        Duty("alerts", alerts.step),
        Duty("webhooks", webhooks.step, webhooks.next_due),
    ]
    mover = ClockMover(
        engine, compose.clock_to_move(settings), duties, lambda: gate.settle(_SETTLE_S)
    )
    hub = replace(
        _hub(
            settings,
            engine,
            tokens,
            authority,
            keys,
            place,
            live,
            metrics,
            link,
            broker,
            gate,
            mover,
        ),
        payment=collector.port,
        payment_hooks=collector.hooks,
        stripe_webhook_secret=settings.billing.stripe_webhook_secret,
    )
    threads = [
        threading.Thread(target=loop, args=(child.stop,), name=name)
        for name, loop in {
            "gate": gate.run,
            "states": states.run,
            "reactor": reactor.run,
            "meter terms": terms.run,
            "alerts": alerts.run,
            "dead letters": sweep.run,
            "billing": billing.run,
            "statements": StatementClock(engine, archive, tokens, compose.now, metrics).run,
            "lifetimes": LifetimeClock(engine, hub.store, compose.now).run,
            "certificates": _certificates(settings, authority, engine).run,
            "gauges": Gauges(settings, engine, metrics, compose.now).run,
            "erasures": compose.erasure_desk(settings, engine).run,
            "payments": collector.run,
            "webhooks": webhooks.run,
            "looks": lambda stop: hub.looks.run(stop, compose.now, settings.support.looks_days),
            "metrics": _publisher(metrics, settings.run_dir / "metrics"),
            **_sweeps(settings, engine),
            **_exports(settings, collecting, metrics),
        }.items()
    ]
    child.watch()
    link.start()
    for thread in threads:
        thread.start()
    try:
        web_server.serve(
            create_app(hub),
            host=settings.api.host,
            port=settings.api.port,
            certificate=settings.pki_dir / "server.pem",
            key=settings.pki_dir / "server.key",
            ready=child.ready,
            stop=child.stop,
        )
    finally:
        child.stop.set()
        link.stop()
        for thread in threads:
            thread.join()


def _certificates(
    settings: Settings, authority: CertificateAuthority, engine: Engine
) -> CertificateClock:
    return CertificateClock(
        authority,
        engine,
        settings.public_hosts,
        compose.internal_parts(settings),
        compose.world_now,
    )


def _webhooks(
    settings: Settings, engine: Engine, tokens: Tokens, live: Broadcaster, metrics: Metrics
) -> WebhookSender:
    webhook_events.watch(engine, tokens, compose.now)
    tries = {name: metrics.webhook_deliveries.labels(name) for name in OUTCOMES}
    return WebhookSender(
        engine,
        compose.webhook_post(settings),
        tokens,
        clock=compose.now,
        world=compose.world_now,
        chance=random.Random(),  # noqa: S311  spreads retries, guards nothing
        publish=live.publish,
        count=lambda name: tries[name].inc(),
    )


def _place(settings: Settings) -> Place:
    return Place(settings.device_brokers, compose.api_url(settings))


def _hub(
    settings: Settings,
    engine: Engine,
    tokens: Tokens,
    authority: CertificateAuthority,
    keys: SigningKeys,
    place: Place,
    live: Broadcaster,
    metrics: Metrics,
    link: ControlLink,
    broker: Broker,
    gate: GatePublisher,
    mover: ClockMover,
) -> Hub:
    with read_session(engine) as session:
        own = incarnation(session, tokens)
    with write_session(engine) as session:
        consent.set_policy(session, Policy(settings.support.consent))
        billing_accounts.set_vendor(session, compose.vendor(settings))
    return Hub(
        engine=engine,
        store=compose.store(settings),
        archive=compose.archive(settings),
        accounts=PublishedAccounts(settings.accounts_dir),
        ca=authority,
        tokens=tokens,
        devices=_Devices(link, broker),
        settle=lambda: gate.settle(_SETTLE_S),
        decisions=lambda: gate.decisions,
        live=live,
        place=place,
        signing_keys=keys,
        incarnation=own,
        operator_token_hash=secret_hash(compose.operator_token(settings)),
        metrics=metrics,
        metrics_dir=settings.run_dir / "metrics",
        looks=LookBook(engine, settings.run_dir / "looks.jsonl"),
        names_in_looks=settings.support.names == "name",
        clock=compose.now,
        monotonic=time.monotonic,
        random_bytes=os.urandom,
        request_bytes=settings.limits.request_bytes,
        hook_secret_hash=_hook_secret_hash(settings),
        data_dir=settings.data_dir,
        problems=lambda: [
            *_broker_problem(link),
            *compose.problems(settings),
            *_outside_problems(engine),
        ],
        plain_webhooks=settings.webhooks.plain_http,
        horizon=compose.erasure_horizon(settings),
        dispute_days=settings.ownership.dispute_days,
        button_hints=settings.ownership.button_hints,
        security=settings.security,
        site=compose.site(settings),
        provider=compose.identity_provider(settings),
        link_by_email=settings.oidc.link_by_email,
        advance=mover.advance,
        capacity=CapacityDesk(settings),
    )


def _broker_problem(link: ControlLink) -> list[str]:
    if link.connected:
        return []
    return ["The broker does not answer; devices keep what they measure until it does."]


def _outside_problems(engine: Engine) -> list[str]:
    """Say what others wait for: receivers of webhooks, and banks."""
    with read_session(engine) as session:
        return [
            *webhook_endpoints.problems(session),
            *reversals.problems(session, compose.now()),
        ]


def _hook_secret_hash(settings: Settings) -> str:
    secret = settings.broker.hook_secret.get_secret_value()
    return secret_hash(secret) if secret else ""


def _letter_limits(settings: Settings) -> DeadLetterLimits:
    limits = settings.limits
    return DeadLetterLimits(
        limits.dead_letters, limits.dead_letters_of_device, limits.dead_letter_bytes
    )


def _followers(
    settings: Settings, desk: FindingsDesk | TracedFindings, sweep: DeadLetterSweep
) -> list[Follower[Any]]:
    """Return what the reactor reads: findings and dead letters of each worker."""
    followers: list[Follower[Any]] = []

    def nearly_full() -> bool:
        return free_bytes(settings.data_dir) < settings.ingest.reserve_bytes

    for worker in range(settings.lanes):
        followers.append(
            Follower(
                f"findings/{worker}",
                settings.findings_dir(worker),
                Kind.FINDINGS,
                desk.apply,
                desk.publish,
            )
        )
        name = f"deadletters/{worker}"
        followers.append(
            Follower(
                name,
                settings.deadletters_dir(worker),
                Kind.DEAD_LETTERS,
                keep_dead_letters(name),
                sweep.added,
                nearly_full,
            )
        )
    return followers


def _sweeps(settings: Settings, engine: Engine) -> dict[str, Callable[[threading.Event], None]]:
    """Return the loop that tells Mosquitto of revocations; NATS is watched by `authd`."""
    if settings.broker.kind != "mosquitto":
        return {}
    reconcile = compose.mosquitto(settings).reconcile

    def revoked() -> list[str]:
        with read_session(engine) as session:
            return admission.revoked(session)

    return {"revocations": lambda stop: keep_out(revoked, reconcile, stop)}


def _exports(
    settings: Settings, collecting: Collector | None, metrics: Metrics
) -> dict[str, Callable[[threading.Event], None]]:
    """Return the loop that sends all metrics to a collector, if there is one."""
    if collecting is None:
        return {}

    def read() -> list[Metric]:
        return list(merged(metrics, settings.run_dir / "metrics").collect())

    return {"otlp": MetricsSender(collecting, read, settings.otlp.metrics_every_s).run}


def _counter(metrics: Metrics) -> Callable[[str, str], None]:
    for word, change in itertools.product(kind_words(), Change):
        metrics.alerts.labels(word, change.value)

    def count(kind: str, change: str) -> None:
        metrics.alerts.labels(kind, change).inc()

    return count


def _publisher(metrics: Metrics, folder: Path) -> Callable[[threading.Event], None]:
    def run(stop: threading.Event) -> None:
        while not stop.wait(_METRICS_EVERY_S):
            metrics.publish(folder)

    return run
