"""The base of everything that goes in and out as JSON, and the types that several resources share.

1. A request refuses fields it does not know: a typo is an error, never ignored.
2. Texts have a largest length everywhere; control characters are refused in names.
3. An answer always has all of its fields, so that callers need not guess; null means none.
"""

from typing import Annotated, Any, ClassVar

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

ID_PATTERN = "^[a-z0-9]{16}$"
METRIC_PATTERN = "^[a-z][a-z0-9_]{1,47}$"
CODE_PATTERN = "^[a-z][a-z0-9_-]{0,63}$"

DeviceId = Annotated[
    str,
    Path(pattern=ID_PATTERN, description="Id of the device.", examples=["kx3q8m0d5c7r2v1z"]),
]
Id = Annotated[str, Field(pattern=ID_PATTERN, examples=["kx3q8m0d5c7r2v1z"])]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A line of text."""
Email = Annotated[
    str,
    Field(
        min_length=3,
        max_length=200,
        pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$",
        examples=["ada@example.org"],
    ),
]
Code = Annotated[str, Field(pattern=CODE_PATTERN)]
Scalar = bool | int | float | str | None
"""What a configuration value or an argument can be: fits JSON, CBOR and the wire."""
Arguments = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Scalar],
    Field(max_length=32),
]


class Request(BaseModel):
    """Base of bodies that come in."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Answer(BaseModel):
    """Base of bodies that go out."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        from_attributes=True, json_schema_serialization_defaults_required=True
    )


def examples(*listed: Any) -> ConfigDict:
    """Return the part of a model's configuration that shows examples."""
    return ConfigDict(json_schema_extra={"examples": list(listed)})
