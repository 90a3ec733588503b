"""Writes that happen once (Idempotency-Key), and only to what the caller saw (If-Match).

1. Rows of the access table say where: `Rule(..., once=Need.OPTIONAL)`, `Rule(..., edits="get_thing")`. The routes open
   sessions as ever; here they become one transaction, with the comparison before and the kept answer after it.
2. The first answer is given again byte for byte. It comes before `If-Match` is looked at: who repeats an edit that
   worked must not be told that somebody changed the thing.
3. An ETag is the hash of what the reading route answers, so it is a strong one: it changes with every byte, and is the
   caller's own view. `If-Match` compares strongly, `If-None-Match` weakly (RFC 9110, 13.1).
4. A request that fails changes nothing and may be sent again with its key.
"""

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from hub.api.access import RULES, Need, Rule
from hub.api.context import Hub
from hub.errors import (
    InvalidInputError,
    KeyMissingError,
    PreconditionFailedError,
    PreconditionRequiredError,
)
from hub.ports.database.engine import one_transaction
from hub.services import idempotency
from hub.services.caller import Caller
from hub.services.idempotency import Given, Wish

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-\[\]-~]{1,255})')
_TAG = re.compile(r'\s*(W/)?"([!#-~\x80-\xff]*)"\s*(?:,|$)')

Endpoint = Callable[..., Any]

_READ = frozenset(rule.edits for rule in RULES.values() if rule.edits)
_readers: dict[str, Endpoint] = {}
"""What reads that which is edited, by operation; filled when the routes are declared."""
_request: ContextVar["Conditions | None"] = ContextVar("homeport_conditions", default=None)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request asks of the write beside the write itself.

    Args:
        hub: the collaborators.
        wish: what is wanted once; None without a key.
        match: the header `If-Match` of an edit; None where it was not sent.
        known: the header `If-None-Match` of a read; None where it was not sent.
    """

    hub: Hub
    wish: Wish | None = None
    match: str | None = None
    known: str | None = None


def described(operation: str, rule: Rule) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the headers that an operation heeds, as OpenAPI parameters, and its statuses of refusal."""
    texts = {
        KEY_HEADER: rule.once
        and "A key made up for this write. Sent again with it, the write happens once and the "
        "first answer is given again (kept two days).",
        "If-Match": rule.edits
        and f"ETag from `{rule.edits}`: refuse (412) if it has changed since.",
        "If-None-Match": operation in _READ
        and "ETags that the caller has: 304 if one is the present.",
    }
    needed = {KEY_HEADER: rule.once, "If-Match": rule.match}
    parameters = [
        {
            "name": name,
            "in": "header",
            "required": needed.get(name) is Need.REQUIRED,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in texts.items()
        if text
    ]
    statuses = ({"400", "409"} if rule.once else set()) | ({"412"} if rule.edits else set())
    return parameters, statuses | ({"428"} if rule.match is Need.REQUIRED else set())


def heeded(operation: str, rule: Rule) -> bool:
    """Whether the conditions of requests for an operation are looked at."""
    return rule.once is not None or rule.edits is not None or operation in _READ


async def conditions(request: Request, hub: Hub, caller: Caller, rule: Rule) -> Conditions:
    """Read the conditions of a request.

    Raises:
        KeyMissingError: a key is required or the one sent is none.
        PreconditionRequiredError: `If-Match` is required.
    """
    match = request.headers.get("if-match") if rule.edits else None
    if rule.match is Need.REQUIRED and match is None:
        raise PreconditionRequiredError(
            "This edit needs the header If-Match with the ETag of what you read, so that nobody's change is lost. Read "
            "it, look at what changed, and send the edit with that ETag.",
            read=rule.edits,
        )
    key = None if rule.once is None else _key(request, required=rule.once is Need.REQUIRED)
    if key is None:
        return Conditions(hub, match=match, known=request.headers.get("if-none-match"))
    digest = hashlib.sha256()
    media = request.headers.get("content-type", "")
    for part in (
        request.method,
        request.url.path,
        request.url.query,
        media,
        *sorted(caller.scopes),
    ):
        digest.update(part.encode() + b"\n")
    digest.update(await request.body())
    return Conditions(hub, Wish(caller.actor, key, digest.hexdigest()), match)


@contextmanager
def applied(asked: Conditions) -> Iterator[None]:
    """Let the endpoint that runs in the block know what was asked."""
    mark = _request.set(asked)
    try:
        yield
    finally:
        _request.reset(mark)


def endpoint(written: Endpoint, operation: str, rule: Rule, status: int | None) -> Endpoint:
    """Return an endpoint that sees to the conditions of its row.

    Args:
        written: the endpoint as it stands in its module.
        operation: its operation id.
        rule: its row.
        status: of its answer; None: 200.
    """
    if operation in _READ:
        return _reader(written, operation)
    if rule.once is None and rule.edits is None:
        return written

    if inspect.iscoroutinefunction(written):
        raise RuntimeError(f"The operation {operation} must run in a thread, as transactions do.")

    @functools.wraps(written)
    def conditional(**arguments: Any) -> Response:
        asked = _asked(operation)
        at = asked.hub.clock()
        with one_transaction(asked.hub.engine) as session:
            if asked.wish is not None:
                before = idempotency.answered(session, asked.wish, at)
                if before is not None:
                    return _response(
                        Given(
                            before.status, {**before.headers, REPLAYED_HEADER: "true"}, before.body
                        )
                    )
            if asked.match is not None:
                _compare(asked.match, _tag_of(rule, arguments))
            given = _given(written(**arguments), status or 200)
            if rule.edits is not None:
                tag = _tag_of(rule, arguments)
                given = Given(given.status, {**given.headers, "etag": tag}, given.body)
            if asked.wish is not None:
                idempotency.keep(session, asked.wish, given, at)
        return _response(given)

    return conditional


def _reader(written: Endpoint, operation: str) -> Endpoint:
    _readers[operation] = written

    @functools.wraps(written)
    def tagged(**arguments: Any) -> Response:
        asked, given = _asked(operation), _given(written(**arguments), 200)
        tag = _tag(given.body)
        if asked.known is not None and (
            asked.known.strip() == "*" or tag in _tags(asked.known, weak=True)
        ):
            return Response(status_code=304, headers={"etag": tag})
        return _response(Given(given.status, {**given.headers, "etag": tag}, given.body))

    return tagged


def _asked(operation: str) -> Conditions:
    asked = _request.get()
    if asked is None:
        raise RuntimeError(f"The operation {operation} was called without its conditions.")
    return asked


def _key(request: Request, *, required: bool) -> str | None:
    sent = request.headers.getlist(KEY_HEADER)
    if not sent and not required:
        return None
    if len(sent) == 1 and (found := _KEY.fullmatch(sent[0].strip())):
        quoted, bare = found.groups()
        return str(bare) if bare is not None else re.sub(r"\\(.)", r"\1", quoted)
    raise KeyMissingError(
        f"This write needs one header {KEY_HEADER} with a key that you make up for it, 1 to 255 visible ASCII "
        'characters such as "8e03978e-40d5-43e8-bc93-6894a57f9324". Send the same key when you repeat the request.'
    )


def _compare(match: str, tag: str) -> None:
    if match.strip() == "*" or tag in _tags(match, weak=False):
        return
    raise PreconditionFailedError(
        "It is not as it was when you read it. Read it again, look at what changed, and send the edit with its new "
        "ETag.",
        etag=tag,
    )


def _tags(header: str, *, weak: bool) -> list[str]:
    """Return the tags of a list; weak ones only if they count."""
    found, at = [], 0
    while at < len(header):
        one = _TAG.match(header, at)
        if one is None:
            raise InvalidInputError(
                'ETags come in quotes, separated by commas, such as "5d8c72a5".'
            )
        at = one.end()
        if weak or one[1] is None:
            found.append(f'"{one[2]}"')
    return found


def _tag_of(rule: Rule, arguments: dict[str, Any]) -> str:
    """Return the present ETag of what an operation edits, as its caller would read it."""
    reader = _readers[str(rule.edits)]
    asked = {
        name: arguments[name] for name in inspect.signature(reader).parameters if name in arguments
    }
    return _tag(_given(reader(**asked), 200).body)


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _given(value: Any, status: int) -> Given:
    """Return an answer as the bytes that go out, which are kept and of which the ETag is made."""
    if isinstance(value, Response):
        kept = {name: text for name, text in value.headers.items() if name != "content-length"}
        return Given(value.status_code, kept, bytes(value.body))
    if isinstance(value, BaseModel):
        body = value.model_dump_json(by_alias=True).encode()
        return Given(status, {"content-type": "application/json"}, body)
    if value is None:
        return Given(status, {}, b"")
    raise TypeError(f"An answer of type {type(value).__name__} cannot be kept or tagged.")


def _response(given: Given) -> Response:
    return Response(given.body, given.status, given.headers)
