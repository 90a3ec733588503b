"""The page of one product for its household and partners, and what they do about alerts.

1. What is wrong comes first, then what is measured, then what is paid for.
2. Somebody else's product does not exist here; what a role does not permit is left out.
3. After the transaction everybody who listens is told, as by the API.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from entitlements.decision import Decision
from hub.ports.database.engine import read_session, write_session
from hub.services import (
    alert_desk,
    case_desk,
    consent,
    product_detail,
    products,
    telemetry,
    timeline,
)
from hub.services.alert_desk import AlertView
from hub.services.alerts import AlertChange
from hub.services.caller import Caller
from hub.services.events import Event
from hub.services.product_detail import ProductDetail
from hub.services.relations import Act
from hub.services.telemetry import LatestValue, MetricView
from hub.services.timeline import NoticeView, Titles
from hub.web import verdict
from hub.web.context import Hub, hub_of
from hub.web.guard import PageRoute, form_of, local, visitor_of
from hub.web.pages import pages_of
from hub.web.sentences import LEVELS, STATUSES, Sentences
from hub.web.series import DEFAULT_RANGE, ID, RANGES, TABLE_ROWS, Chart, drawn
from hub.web.settling import OWN_CASES
from hub.web.standing import LAYERS, Standing, standing
from hub.web.verdict import Problem
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_ALERTS = 50
MUTE_NS = 7 * 86_400_000_000_000
MAX_SHOWN = 4
"""Alerts that are not folded away."""

WITHOUT_READING = ("finding.silence", "finding.stuck", "finding.variance_change")
"""Findings to which the present value adds nothing."""

AlertId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, slots=True)
class View:
    """All that a page about one product shows; statuses and decisions are of this instant."""

    found: ProductDetail
    problems: Sequence[Problem]
    titles: Titles
    metrics: Sequence[MetricView]
    latest: Sequence[LatestValue]
    chart: Chart | None
    hidden: bool
    range: str
    alerts: Sequence[AlertView]
    earlier: Sequence[AlertView]
    notices: Sequence[NoticeView]
    said: Sentences
    standing: Standing

    @property
    def product_id(self) -> str:
        """Of the product."""
        return self.found.summary.product_id

    @property
    def end(self) -> int:
        """Where the chart ends, ms; 0: it follows the present."""
        return 0

    @property
    def verdict(self) -> Problem:
        """The worst problem, or that all is fine."""
        return verdict.verdict(self.problems)

    def sentence(self, problem: Problem) -> str:
        """Say a problem of this product."""
        return self.said.problem(problem, self.found.summary.model_title, self.titles)

    def now(self, alert: AlertView | None) -> LatestValue | None:
        """Return what the metric of an unresolved alert reads since it was last found unusual."""
        return None if alert is None else reading_since(self.latest, alert, self.titles.counters)

    def reason(self, decision: Decision) -> str:
        """Say why a feature of this product is or is not available."""
        return self.said.decision(decision, self.found.summary.model_title, self.titles)

    def feature(self, name: str) -> str:
        """Return the title of a feature."""
        title = self.titles.features.get(name, name)
        # A catalogue that gives no title has the name there.
        return title if title != name else name.replace("_", " ").capitalize()


@ROUTER.get("/products/{product_id}", operation_id="page_product")
def page_product(
    request: Request,
    product_id: ID,
    metric: str = "",
    range: str = "",  # noqa: A002  name in the address
    claimed: str = "",
) -> Response:
    """Show a product to its household, or to a partner."""
    hub, visitor = hub_of(request), visitor_of(request)
    view = viewed(hub, visitor, product_id, metric, range)
    with read_session(hub.engine) as session:
        asked = case_desk.listed(session, visitor.known, hub.clock(), product_id=product_id)
    return pages_of(request).page(
        request,
        "product.html",
        view=view,
        claimed=bool(claimed),
        cases=asked,
        case_statuses=OWN_CASES,
        ranges=RANGES,
        levels=LEVELS,
        statuses=STATUSES,
        layers=LAYERS,
    )


@ROUTER.post("/alerts/{alert_id}/acknowledge", operation_id="do_acknowledge")
def do_acknowledge(request: Request, alert_id: AlertId) -> Response:
    """Say that somebody looks after an alert."""
    return _changed(request, alert_id, alert_desk.acknowledge)


@ROUTER.post("/alerts/{alert_id}/resolve", operation_id="do_resolve")
def do_resolve(request: Request, alert_id: AlertId) -> Response:
    """Close an alert."""
    return _changed(request, alert_id, alert_desk.resolve)


@ROUTER.post("/alerts/{alert_id}/feedback", operation_id="do_feedback")
def do_feedback(request: Request, alert_id: AlertId) -> Response:
    """Keep whether an alert was of use."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    with write_session(hub.engine) as session:
        alert_desk.give_feedback(
            session, visitor.known, alert_id, hub.clock(), useful=form.get("useful") == "yes"
        )
    return RedirectResponse(local(form.get("next", "")), 303)


@ROUTER.post("/alerts/{alert_id}/mute", operation_id="do_mute")
def do_mute(request: Request, alert_id: AlertId) -> Response:
    """Mute an alert for a week."""

    def act(session: Session, caller: Caller, alert_id: str, at: int) -> AlertChange:
        return alert_desk.mute(session, caller, alert_id, at + MUTE_NS, at)

    return _changed(request, alert_id, act)


def viewed(hub: Hub, visitor: Visitor, product_id: str, metric: str, span: str) -> View:
    """Gather what a page about a product shows.

    Args:
        hub: the collaborators.
        visitor: who looks.
        product_id: of the product.
        metric: name of the metric to draw; one that is not there: the most telling one.
        span: key of `RANGES`.

    Raises:
        NotFoundError: no such product, or not one of the visitor's.
    """
    at, caller = hub.clock(), visitor.known
    span = span if span in RANGES else DEFAULT_RANGE
    with read_session(hub.engine) as session:
        product = products.visible(session, caller, product_id)
        found = product_detail.detail(session, caller, product_id, at)
        listed = verdict.problems(found, at)
        metrics = telemetry.metrics_of(session, product.model_number)
        past = alert_desk.listed(session, caller, product_id=product_id, limit=MAX_ALERTS)
        ranked = [problem.alert for problem in listed if problem.alert is not None]
        chosen = _chosen(metrics, metric, ranked)
        chart = None
        now = standing(session, caller, found, at, visitor.language, visitor.formats)
        hidden = Act.HISTORY not in now.acts or not consent.history_open(
            session, caller, product_id, at
        )
        if chosen is not None and found.summary.slot is not None and not hidden:
            series = telemetry.series(session, caller, product_id, chosen.name, at)
            chart = drawn(hub.store, series, at - RANGES[span], at, TABLE_ROWS)
        titles = timeline.titles(session, found.summary.model)
        return View(
            found=found,
            problems=listed,
            titles=titles,
            metrics=metrics,
            latest=[] if hidden else telemetry.latest(session, hub.store, caller, product_id, at),
            chart=chart,
            hidden=hidden,
            range=span,
            alerts=ranked[:MAX_SHOWN],
            earlier=[*ranked[MAX_SHOWN:], *(one for one in past if one.status == "resolved")],
            notices=(
                timeline.notices(session, caller, product_id) if Act.ALERTS in now.acts else []
            ),
            said=Sentences(visitor.language, visitor.formats, titles.counters),
            standing=now,
        )


def reading_since(
    latest: Sequence[LatestValue], alert: AlertView, counters: Container[str]
) -> LatestValue | None:
    """Return the latest value of an alert's metric if it is newer than what the alert says.

    Args:
        latest: values of the product, as far as the visitor may see them.
        alert: any; about one that is resolved, or is of no metric, the present value says nothing.
        counters: names of metrics that count up, of which the same is true.
    """
    if alert.status == "resolved" or alert.metric in counters:
        return None
    if alert.code.startswith(WITHOUT_READING):
        return None
    for one in latest:
        if one.metric.name == alert.metric and one.time > alert.last_at:
            return one
    return None


def _chosen(
    metrics: Sequence[MetricView], wished: str, alerts: Sequence[AlertView]
) -> MetricView | None:
    """Return the metric that was asked for, else that of the worst alert, else the first."""
    names = {metric.name: metric for metric in metrics}
    for name in [wished, *(alert.metric for alert in alerts)]:
        if name in names:
            return names[name]
    return metrics[0] if metrics else None


def _changed(
    request: Request,
    alert_id: str,
    act: Callable[[Session, Caller, str, int], AlertChange],
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at = hub.clock()
    with write_session(hub.engine) as session:
        change = act(session, visitor.known, alert_id, at)
        view = alert_desk.view(session, visitor.known, alert_id)
    facts = {
        "change": change.change.value,
        "alert_id": alert_id,
        "device_id": change.device_id,
        "metric": view.metric,
        "severity": view.severity,
        "status": view.status,
        "sentence": view.sentence,
    }
    hub.live.publish(Event("alert", at, change.product_id, change.owner_id, facts))
    return RedirectResponse(local(form_of(request).get("next")), 303)
