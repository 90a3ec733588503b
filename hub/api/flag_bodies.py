"""What goes in and out of the OpenFeature Remote Evaluation Protocol."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hub.api.bodies import examples

Metadata = dict[str, bool | int | str]
Reason = Literal["STATIC", "TARGETING_MATCH", "DISABLED", "DEFAULT"]
ErrorCode = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND"]

_FLAG = {
    "key": "boost_hours",
    "value": 20,
    "reason": "TARGETING_MATCH",
    "variant": "20",
    "metadata": {
        "allowed": True,
        "code": "plan",
        "sentence": "Part of plan comfort (until 2026-03-01 00:00 UTC).",
        "rule": "plan",
        "until": "2026-03-01T00:00:00Z",
        "ownerEpoch": 1,
        "safe": False,
        "plan": "comfort",
        "planVersion": 1,
        "args.plan": "comfort",
    },
}


class EvaluationContext(BaseModel):
    """Whom a flag is asked for. Further members are taken and not looked at."""

    targetingKey: str = Field(  # noqa: N815  as the protocol names it
        description="Device id or product id."
    )

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"targetingKey": "kx3q8m0d5c7r2v1z"}]}
    )


class EvaluationRequest(BaseModel):
    """What to evaluate flags for."""

    context: EvaluationContext

    model_config = examples({"context": {"targetingKey": "kx3q8m0d5c7r2v1z"}})


class Flag(BaseModel):
    """One evaluated flag. Without `value` the caller takes its own default."""

    key: str
    value: bool | int | str | None = None
    reason: Reason
    variant: str
    metadata: Metadata

    model_config = examples(_FLAG)


class Flags(BaseModel):
    """All flags of a product."""

    flags: list[Flag]
    metadata: Metadata = Field(description="Of the whole set.")

    model_config = examples(
        {"flags": [_FLAG], "metadata": {"product": "b7x2m9q4k1v8c3z6", "model": "heat-pump"}}
    )


class FlagFailure(BaseModel):
    """Why flags cannot be evaluated."""

    key: str | None = Field(default=None, description="Absent in answers about all flags.")
    errorCode: ErrorCode  # noqa: N815  as the protocol names it
    errorDetails: str  # noqa: N815  same

    model_config = examples(
        {
            "key": "boost_hours",
            "errorCode": "TARGETING_KEY_MISSING",
            "errorDetails": "Name the product: context.targetingKey is its device id.",
        }
    )


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a reference to the schema of a body."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
