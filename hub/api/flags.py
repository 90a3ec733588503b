"""Decisions as flags of the OpenFeature Remote Evaluation Protocol (OFREP).

1. A switch is `true` or `false`. A quota is a number: 0 where the feature is refused, `UNLIMITED`
   without a quota. A refused setting has no value, so that programs take their own default.
2. `STATIC` comes with the model, `TARGETING_MATCH` by a plan or grant; of what is refused,
   `DISABLED` says that somebody blocked it and `DEFAULT` that nothing covers it.
3. The reason in our own words is in the metadata: code, sentence, until when, owner epoch.
   Metadata are scalars: what is null is left out, and arguments have the prefix `args.`.

Source: OFREP OpenAPI, https://github.com/open-feature/protocol.
"""

from entitlements.codes import Code
from entitlements.decision import Decision
from entitlements.facts import Facts, FeatureKind
from entitlements.ladder import definition
from entitlements.sentences import sentence
from hub.api.flag_bodies import Flag, Metadata
from hub.api.instants import text_of

UNLIMITED = 2**53 - 1
"""Quota of a metered feature without one: the largest number that every reader of JSON takes exactly."""

_BLOCKED = frozenset({Code.HOLD, Code.REVOKED})
_OF_THE_MODEL = frozenset({Code.SAFE_FUNCTION, Code.INCLUDED})


def flag(facts: Facts, decided: Decision) -> Flag:
    """Return a decision as a flag."""
    feature = definition(facts, decided.feature)
    kind = FeatureKind.ON_OFF if feature is None else feature.kind
    value, variant = _value(kind, decided)
    shown: dict[str, bool | int | str] = {} if value is None else {"value": value}
    return Flag.model_validate(
        {
            "key": decided.feature,
            **shown,
            "reason": _reason(decided),
            "variant": variant,
            "metadata": _metadata(decided),
        }
    )


def _value(kind: FeatureKind, decided: Decision) -> tuple[bool | int | str | None, str]:
    if kind is FeatureKind.ON_OFF:
        return decided.allowed, "on" if decided.allowed else "off"
    if not decided.allowed:
        return (0 if kind is FeatureKind.METERED else None), "off"
    if decided.value is None:
        return (UNLIMITED, "unlimited") if kind is FeatureKind.METERED else (None, "on")
    return decided.value, str(decided.value)


def _reason(decided: Decision) -> str:
    if decided.allowed:
        return "STATIC" if decided.code in _OF_THE_MODEL else "TARGETING_MATCH"
    return "DISABLED" if decided.code in _BLOCKED else "DEFAULT"


def _metadata(decided: Decision) -> Metadata:
    facts: dict[str, bool | int | str | None] = {
        "allowed": decided.allowed,
        "code": decided.code.value,
        "sentence": sentence(decided.code, decided.args),
        "rule": decided.rule,
        "until": None if decided.until is None else text_of(decided.until),
        "ownerEpoch": decided.owner_epoch,
        "safe": decided.safe,
        "plan": decided.plan,
        "planVersion": decided.plan_version,
    }
    for name, value in decided.args.items():
        instant = name.endswith("_at") and type(value) is int
        facts[f"args.{name}"] = text_of(int(value)) if instant and value is not None else value
    return {name: value for name, value in facts.items() if value is not None}
