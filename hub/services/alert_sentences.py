"""English sentences for the codes of findings and alerts.

1. Codes and arguments are what is stored; a sentence is made when a person reads it.
2. Every code of `analytics.findings` has exactly one template; another code is shown as it is.
"""

from collections.abc import Mapping
from typing import Any

from hub.services.quantities import plain

TEMPLATES: Mapping[str, str] = {
    "finding.spike": "{title} jumped to {observed}.",
    "finding.spike.above": "{title} jumped to {observed}; {expected_high} or less was expected.",
    "finding.spike.below": "{title} fell to {observed}; {expected_low} or more was expected.",
    "finding.level_shift": "{title} has settled at {observed}.",
    "finding.level_shift.above": "{title} has settled at {observed}, above the usual {band}.",
    "finding.level_shift.below": "{title} has settled at {observed}, below the usual {band}.",
    "finding.drift": "{title} has drifted to {observed}.",
    "finding.drift.above": "{title} has crept up to {observed}, above the usual {band}.",
    "finding.drift.below": "{title} has crept down to {observed}, below the usual {band}.",
    "finding.stuck": "{title} has stood still at {observed} for unusually long.",
    "finding.variance_change": "{title} varies in another way than usual.",
    "finding.variance_change.above": "{title} varies more than usual.",
    "finding.variance_change.below": "{title} varies less than usual.",
    "finding.out_of_limits": "{title} is {observed}, outside of its limits.",
    "finding.out_of_limits.above": "{title} is {observed}, above its limit of {expected_high}.",
    "finding.out_of_limits.below": "{title} is {observed}, below its limit of {expected_low}.",
    "finding.counter_reset": "{title} fell back to {observed}, although it can only rise.",
    "finding.identity_conflict": "Another device uses this identity, or this one was restored from a backup.",
    "finding.older_copy": "It came back without knowing of rows that it had sent: "
    "it was restored from an older copy, or another device uses this identity.",
    "finding.two_copies": "Two devices with this identity are alive and take turns: it was cloned.",
    "finding.silence": "Nothing was heard of it for {observed}; {expected_high} at most is usual.",
    "alert.goes_on": "What was found before it changed hands goes on.",
    "finding.cohort": "{title} differs from that of products like it.",
    "finding.cohort.above": "{title} stays at {observed}; products like it are at {band}.",
    "finding.cohort.below": "{title} stays at {observed}; products like it are at {band}.",
}

INCIDENTS: Mapping[str, str] = {
    "finding.silence.all": "All products fell silent at once: {members} of them.",
    "finding.silence.cohort": "All with firmware {firmware} fell silent at once: {members} of them.",
    "finding.cohort_shift": "{title} has moved in all products with firmware {firmware}.",
    "finding.cohort_shift.above": "{title} has risen to {observed} in all products with firmware {firmware}.",
    "finding.cohort_shift.below": "{title} has fallen to {observed} in all products with firmware {firmware}.",
}


def sentence(code: str, arguments: Mapping[str, Any], title: str, unit: str) -> str:
    """Render the code of a finding as an English sentence.

    Args:
        code: such as `finding.spike.above`.
        arguments: its arguments; one that is missing is shown as unknown.
        title: what to call the metric.
        unit: UCUM code of its values.
    """
    template = TEMPLATES.get(code)
    if template is None:
        return f"{title}: {code}"
    low, high = (_shown(arguments.get(name), unit) for name in ("expected_low", "expected_high"))
    return template.format(
        title=title,
        observed=_shown(arguments.get("observed"), unit),
        expected_low=low,
        expected_high=high,
        band=f"{low} to {high}",
    )


def _shown(value: Any, unit: str) -> str:
    return "unknown" if value is None else plain(float(value), unit)
