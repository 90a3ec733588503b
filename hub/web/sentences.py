"""Sentences for codes, in the visitor's language.

1. The English templates of findings and decisions are their owners'; they are the messages of our
   catalogues. Here they are translated and filled in with local numbers and times.
2. Every code of a verdict and of the line of time has one template here.
3. A code that nobody knows is shown as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from device_sdk.wire.offline import EXPIRED_OFFLINE
from entitlements.codes import Code
from entitlements.coverage_sentences import TEMPLATES as COVERS
from entitlements.covers import CoverCode
from entitlements.decision import Decision
from entitlements.sentences import TEMPLATES as DECISIONS
from hub.services.alert_desk import AlertView, FindingView
from hub.services.alert_sentences import INCIDENTS
from hub.services.alert_sentences import TEMPLATES as FINDINGS
from hub.services.beliefs import BelievedFeature
from hub.services.causes import Cause
from hub.services.incidents import IncidentView
from hub.services.timeline import Entry, NoticeView, Titles
from hub.web.formats import DASH, Formats, setting
from hub.web.languages import N_, Language
from hub.web.verdict import Problem

VERDICTS: Mapping[str, str] = {
    "fine": N_("Everything is fine."),
    "revoked": N_("This product was blocked for good on {since}."),
    "unclaimed": N_("Nobody has claimed this product yet."),
    "never_connected": N_("It has not been in contact yet. Switch it on and connect it."),
    "silent": N_("It has not been in contact since {since}. Check its power and network."),
}
ACTIONS: Mapping[str, str] = {
    "revoked": N_("See its identity"),
    "unclaimed": N_("See its owner"),
    "never_connected": N_("How to connect it"),
    "silent": N_("What to check"),
    "alert": N_("See what happened"),
    "coverage": N_("See your plan"),
    "fine": N_("Look inside"),
}
LEVELS: Mapping[str, str] = {
    "fine": N_("Fine"),
    "notice": N_("Good to know"),
    "warning": N_("Needs attention"),
    "critical": N_("Urgent"),
}
STATUSES: Mapping[str, str] = {
    "scheduled": N_("Starts later"),
    "ended": N_("Ended"),
    "cancelled": N_("Cancelled, still running"),
    "trial": N_("Free trial"),
    "active": N_("Active"),
    "incomplete": N_("Waits for its first payment"),
    "past_due": N_("Payment is being collected"),
    "grace": N_("Payment due"),
    "paused": N_("Paused"),
    "lapsed": N_("Lapsed"),
    "withdrawn": N_("Withdrawn"),
}
HOLDS: Mapping[str, str] = {
    "payment": N_("payment"),
    "fraud": N_("fraud"),
    "theft": N_("theft"),
    "recall": N_("recall"),
    "clone": N_("clone"),
    "quota": N_("quota used up"),
}
EVENTS: Mapping[str, str] = {
    "made": N_("Made"),
    "made.order": N_("Made for order {order}"),
    "claimed": N_("Claimed by {owner}"),
    "released": N_("Given up by {owner}"),
    "subscribed": N_("Plan {plan} began"),
    "cancelled": N_("Plan {plan} was cancelled"),
    "ended": N_("Plan {plan} ended"),
    "unpaid": N_("Plan {plan} was no longer paid for"),
    "lapsed": N_("Plan {plan} lapsed"),
    "paused": N_("Plan {plan} was paused"),
    "resumed": N_("Plan {plan} went on after a pause"),
    "withdrawn": N_("The contract for plan {plan} was withdrawn from"),
    "held": N_("Put on hold ({kind}): {reason}"),
    "hold_ended": N_("The hold ({kind}) ended"),
    "granted": N_("{feature} was granted: {reason}"),
    "alert_seen": N_("Somebody looks after: {sentence}"),
    "alert_resolved": N_("Resolved: {sentence}"),
    "enrolled": N_("Enrolled as {device}"),
    "revoked": N_("Its identity was revoked"),
    "renewed": N_("Its certificate was renewed"),
    "online": N_("Last heard of, connected"),
    "came": N_("Connected"),
    "silent": N_("Went offline"),
    "firmware": N_("Firmware {before} was replaced by {after}"),
    "configuration_asked": N_("Configuration asked for: {arguments}"),
    "configuration_applied": N_("The product has the configuration in force"),
    "configuration_refused": N_("The product could not apply: {arguments}"),
    "put_back": N_("It came with an older state ({now}) than it had before ({before})"),
    "device_event": N_("The product reported: {name}"),
    "device_event.more": N_("The product reported: {name} ({arguments})"),
    "notice": N_("The product was told: {sentence}"),
    "command": N_("Command {name} given"),
    "command_done": N_("Command {name} was carried out"),
    "command_failed": N_("Command {name} was not carried out"),
}
KINDS: Mapping[str, str] = {
    "spike": N_("jumps"),
    "level_shift": N_("level shifts"),
    "drift": N_("drifts"),
    "stuck": N_("stuck sensors"),
    "variance_change": N_("changes of variation"),
    "out_of_limits": N_("values out of limits"),
    "counter_reset": N_("counter resets"),
    "silence": N_("silent products"),
    "cohort": N_("products unlike the others"),
}
PROPERTIES: Mapping[str, str] = {
    "model": N_(
        "{both} of {fault} products with {kind} are of model {value} ({share} of the rest)."
    ),
    "firmware": N_(
        "{both} of {fault} products with {kind} have firmware {value} ({share} of the rest)."
    ),
    "hardware_lot": N_(
        "{both} of {fault} products with {kind} are of lot {value} ({share} of the rest)."
    ),
    "region": N_(
        "{both} of {fault} products with {kind} are in region {value} ({share} of the rest)."
    ),
    "age": N_("{both} of {fault} products with {kind} are {value} ({share} of the rest)."),
}
AGES: Mapping[str, str] = {
    "under_1_week": N_("less than a week old"),
    "under_1_month": N_("a week to a month old"),
    "under_6_months": N_("one to six months old"),
    "under_1_year": N_("six to twelve months old"),
    "over_1_year": N_("more than a year old"),
}
_UNTIL, _FOR_EVER = N_("until {when}"), N_("without end")
_ALWAYS = N_("always, as a safety function")
_STOPS = N_("stops by itself on {when} if it hears nothing more")
_EXPIRED = N_("stopped by itself, as it heard nothing more")
_WITHHELD = N_("withheld until it hears otherwise")
_MESSAGE = N_("Message of the manufacturer: {code}")
_UNKNOWN = N_("unknown")
_SILENCE = "finding.silence"
USAGE: Mapping[str, str] = {
    "usage.share": N_("{title}: {share} % of the {allowance} of this period are used."),
    "usage.share_left": N_(
        "{title}: less than {share} % of the {allowance} of this period are used again."
    ),
}
_IN_FULL = ("finding.out_of_limits", "finding.counter_reset")
"""Findings on the count itself."""


@dataclass(frozen=True, slots=True)
class Sentences:
    """Speaks to one visitor.

    Args:
        language: theirs.
        formats: theirs.
        counters: names of metrics that count up.
    """

    language: Language
    formats: Formats
    counters: frozenset[str] = frozenset()

    def finding(
        self, code: str, arguments: Mapping[str, Any], metric: str, title: str, unit: str
    ) -> str:
        """Say a finding in plain words.

        Args:
            code: such as `finding.spike.above`.
            arguments: of the code.
            metric: name of the metric.
            title: what to call the metric.
            unit: UCUM code of its values.
        """
        template = FINDINGS.get(code)
        if template is None:
            return self.language.text(_MESSAGE, code=code)
        scale = 1
        if metric in self.counters and not code.startswith(_IN_FULL):
            scale, unit = 3_600, f"{unit}/h"  # what is found is how fast it counts, per second
        shown = {
            name: self._quantity(arguments.get(name), unit, scale)
            for name in ("observed", "expected_low", "expected_high")
        }
        if code == _SILENCE:
            shown |= {
                name: self.formats.length(int(arguments[name] * 1e9))
                for name in ("observed", "expected_high")
                if isinstance(arguments.get(name), int | float)
            }
        band = f"{shown['expected_low']} {DASH} {shown['expected_high']}"
        return self.language.text(template, title=title, band=band, **shown)

    def alert(self, alert: AlertView) -> str:
        """Say what an alert is about."""
        return self.finding(
            alert.code, alert.arguments, alert.metric, alert.metric_title, alert.unit
        )

    def found(self, finding: FindingView, title: str) -> str:
        """Say a single finding."""
        low, high = finding.expected_low, finding.expected_high
        code = f"finding.{finding.kind}"
        if high is not None and finding.observed > high:
            code += ".above"
        elif low is not None and finding.observed < low:
            code += ".below"
        if code not in FINDINGS:  # some kinds know no side
            code = f"finding.{finding.kind}"
        arguments = {
            "observed": finding.observed,
            "expected_low": low,
            "expected_high": high,
        }
        return self.finding(code, arguments, finding.metric, title, finding.unit)

    def notice(self, notice: NoticeView) -> str:
        """Say a notice."""
        if notice.code in USAGE:
            quantity = Decimal(str(notice.arguments["quota"]))
            return self.language.text(
                USAGE[notice.code],
                title=notice.arguments["title"],
                share=notice.arguments["share"],
                allowance=self.formats.exact(quantity, str(notice.arguments["unit"])),
            )
        return self.finding(
            notice.code,
            notice.arguments,
            str(notice.arguments.get("metric")),
            notice.metric,
            notice.unit,
        )

    def incident(self, incident: IncidentView) -> str:
        """Say what was found about many products."""
        template = INCIDENTS.get(incident.code)
        if template is None:
            return self.language.text(_MESSAGE, code=incident.code)
        return self.language.text(
            template,
            title=incident.metric_title,
            firmware=incident.firmware,
            members=self.formats.whole(incident.members),
            observed=self._quantity(incident.arguments.get("observed"), incident.unit, 1),
        )

    def cause(self, cause: Cause) -> str:
        """Say what products with open alerts have in common."""
        value = self.language.text(AGES[cause.value]) if cause.property == "age" else cause.value
        return self.language.text(
            PROPERTIES[cause.property],
            both=self.formats.whole(cause.table.both),
            fault=self.formats.whole(cause.table.fault),
            kind=self.language.text(KINDS[cause.kind]),
            value=value,
            share=f"{self.formats.number(100 * cause.table.share_of_rest)}\N{NARROW NO-BREAK SPACE}%",
        )

    def decision(self, decision: Decision, model: str, titles: Titles) -> str:
        """Say why a feature is or is not available.

        Args:
            decision: what was decided.
            model: title of the product's model.
            titles: of features and plans.
        """
        shown: dict[str, str] = {"model": model}
        for name, value in decision.args.items():
            if name == "until_at":
                when = None if value is None else self.formats.day(int(value))
                text = self.language.text
                shown[name] = text(_FOR_EVER) if when is None else text(_UNTIL, when=when)
            elif name.endswith("_at"):
                shown[name] = self.formats.day(int(value)) if value is not None else DASH
            elif name == "plan":
                shown[name] = titles.plans.get(str(value), str(value))
            elif name == "kind":
                shown[name] = self.language.text(HOLDS[str(value)])
            elif name != "model":
                shown[name] = titles.features.get(str(value), str(value))
        return self.language.text(DECISIONS[Code(decision.code)], **shown)

    def cover(self, code: str, arguments: Mapping[str, Any], plan: str = "") -> str:
        """Say what covers a fault or a product, or why nothing does.

        Args:
            code: of a cover.
            arguments: of the code. An end is shown as the day that it ends, not as the midnight.
            plan: title of the contract, if it is about one; without it its name.
        """
        shown: dict[str, str] = {}
        for name, value in arguments.items():
            if name == "plan":
                shown[name] = plan or str(value)
            elif name in {"until_at", "since_at", "latest_at"}:
                shown[name] = self.formats.day(int(value) - 1)
            elif name.endswith("_at"):
                shown[name] = self.formats.day(int(value))
            else:
                shown[name] = self.formats.whole(int(value))
        return self.language.text(COVERS[CoverCode(code)], **shown)

    def believed(self, belief: BelievedFeature) -> str:
        """Say until when a product that hears nothing more goes on with a feature."""
        text = self.language.text
        if belief.allowed and belief.safe:
            return text(_ALWAYS)
        if belief.allowed and belief.ends_at is not None:
            return text(_STOPS, when=self.formats.minute(belief.ends_at))
        if belief.allowed:
            return text(_FOR_EVER)
        return text(_EXPIRED if belief.code == EXPIRED_OFFLINE else _WITHHELD)

    def problem(self, problem: Problem, model: str, titles: Titles) -> str:
        """Say what is wrong, or that nothing is."""
        if problem.alert is not None:
            return self.alert(problem.alert)
        if problem.decision is not None:
            return self.decision(problem.decision, model, titles)
        since = "" if problem.since is None else self.formats.minute(problem.since)
        return self.language.text(VERDICTS[problem.code], since=since)

    def action(self, problem: Problem) -> str:
        """Name what can be done about a problem."""
        return self.language.text(ACTIONS[problem.code])

    def event(self, entry: Entry, titles: Titles) -> str:
        """Say what happened."""
        details = dict(entry.details)
        alert, notice = details.pop("alert", None), details.pop("notice", None)
        if entry.code == "alert":
            return self.alert(alert)
        if alert is not None:
            details["sentence"] = self.alert(alert)
        if notice is not None:
            details["sentence"] = self.notice(notice)
        if "plan" in details:
            details["plan"] = titles.plans.get(details["plan"], details["plan"])
        if "feature" in details:
            details["feature"] = titles.features.get(details["feature"], details["feature"])
        if entry.code in {"held", "hold_ended"}:
            details["kind"] = self.language.text(HOLDS[details["kind"]])
        code = "made.order" if details.get("order") else entry.code
        if details.get("arguments"):
            code = "device_event.more" if entry.code == "device_event" else entry.code
            details["arguments"] = ", ".join(
                f"{name} {setting(value)}" for name, value in sorted(details["arguments"].items())
            )
        return self.language.text(EVENTS[code], **details)

    def _quantity(self, value: Any, unit: str, scale: int) -> str:
        if not isinstance(value, int | float):
            return self.language.text(_UNKNOWN)
        return self.formats.quantity(float(value) * scale, unit)
