"""All that the hub keeps of a person: to take along as one archive, and to have erased.

1. People do both for themselves; operators do it for people who ask them to.
2. Erasing says beforehand what it would do (GET), and takes the password (or the e-mail address of
   the person, from an operator) once more (POST).
3. What cannot be erased at once is listed with the instant by which it is.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from hub.api import callers
from hub.api.bodies import ID_PATTERN, Answer, Email, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.people import Password, person_of
from hub.ports.database.engine import read_session, write_session
from hub.services import erasure, export
from hub.services.erasure_parts import Part

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

PersonId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the person.")]
ErasureId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the erasure.")]
_ZIP = {"content": {"application/zip": {}}, "description": "A zip archive with a README inside."}


class EraseMe(Request):
    """The password, once more."""

    password: Password

    model_config = examples({"password": "correct horse battery"})


class ErasePerson(Request):
    """The e-mail address of the person, once more."""

    email: Email

    model_config = examples({"email": "ada@example.org"})


class Released(Answer):
    """A product that becomes unclaimed."""

    product_id: str
    serial: str

    model_config = examples({"product_id": "kx3q8m0d5c7r2v1z", "serial": "HP-000017"})


class PassedOn(Answer):
    """A household that goes on without the person."""

    owner_id: str
    name: str
    to: str | None = Field(description="Who becomes its owner; null: it has another one.")

    model_config = examples({"owner_id": "h7d2n4v9s0b6j1t5", "name": "Ada", "to": None})


class Later(Answer):
    """Something that cannot be erased at once."""

    part: Part
    until: Instant | None = Field(description="By when it is; null: the hub cannot say.")

    model_config = examples({"part": "backups", "until": "2026-02-07T08:00:00Z"})


class ErasureOutcome(Answer):
    """What an erasure does, or would do."""

    erasure_id: str | None = Field(description="Null: nothing was done yet.")
    person_id: str
    released: list[Released]
    passed_on: list[PassedOn]
    ended: list[str] = Field(description="Households that end with the person.")
    removed: dict[str, int] = Field(description="Records that go or lose their words, by file.")
    kept: dict[str, str] = Field(description="Records that stay without a name, by file, and why.")
    later: list[Later]

    model_config = examples(
        {
            "erasure_id": "e7v8q2m0c7x3r9w1",
            "person_id": "p3k9x0c7w2m5q8r1",
            "released": [{"product_id": "kx3q8m0d5c7r2v1z", "serial": "HP-000017"}],
            "passed_on": [],
            "ended": ["h7d2n4v9s0b6j1t5"],
            "removed": {"account": 1, "letters": 3},
            "kept": {"subscriptions": "what was agreed about paying"},
            "later": [{"part": "backups", "until": "2026-02-07T08:00:00Z"}],
        }
    )


class Erasure(Answer):
    """An erasure, and when each part of it that took longer was done; null: still to come."""

    id: str
    person_id: str
    at: Instant
    asked_by: str
    parts: dict[Part, Instant | None]
    finished_at: Instant | None

    model_config = examples(
        {
            "id": "e7v8q2m0c7x3r9w1",
            "person_id": "p3k9x0c7w2m5q8r1",
            "at": "2026-01-31T08:00:00Z",
            "asked_by": "person:p3k9x0c7w2m5q8r1",
            "parts": {"telemetry": "2026-01-31T08:11:00Z", "backups": None},
            "finished_at": None,
        }
    )


@ROUTER.get(
    "/me/export",
    operation_id="export_me",
    summary="Take along everything that is kept of you",
    response_class=Response,
    responses={200: _ZIP},
)
def export_me(hub: HubDep, caller: CallerDep) -> Response:
    """Return an archive: records as JSON, telemetry and its aggregates as CSV and Parquet, a README."""
    hub.limits.export.take(person_of(caller), hub.clock())
    return _archive(hub, caller, caller.person_id)


@ROUTER.get(
    "/people/{person_id}/export",
    operation_id="export_person",
    summary="Export everything that is kept of somebody",
    response_class=Response,
    responses={200: _ZIP},
)
def export_person(hub: HubDep, caller: CallerDep, person_id: PersonId) -> Response:
    """Return the archive of somebody who asked for it; audited."""
    return _archive(hub, caller, person_id)


@ROUTER.get("/me/erasure", operation_id="preview_my_erasure", summary="What erasing you would do")
def preview_my_erasure(hub: HubDep, caller: CallerDep) -> ErasureOutcome:
    """Say what would go, what would stay, and what becomes of your products; changes nothing."""
    return _preview(hub, caller, person_of(caller))


@ROUTER.post("/me/erasure", operation_id="erase_me", summary="Have yourself erased")
def erase_me(hub: HubDep, caller: CallerDep, response: Response, body: EraseMe) -> ErasureOutcome:
    """Erase the caller everywhere. There is no way back."""
    at = hub.clock()
    hub.looks.flush()
    done = erasure.erase_own(hub.engine, caller, body.password, at, hub.tokens, hub.horizon)
    callers.drop_cookie(response)
    return ErasureOutcome.model_validate(done)


@ROUTER.get(
    "/people/{person_id}/erasure",
    operation_id="preview_erasure",
    summary="What erasing somebody would do",
)
def preview_erasure(hub: HubDep, caller: CallerDep, person_id: PersonId) -> ErasureOutcome:
    """Say what would go, what would stay, and what becomes of products; changes nothing."""
    return _preview(hub, caller, person_id)


@ROUTER.post("/people/{person_id}/erasure", operation_id="erase_person", summary="Erase somebody")
def erase_person(
    hub: HubDep, caller: CallerDep, person_id: PersonId, body: ErasePerson
) -> ErasureOutcome:
    """Erase somebody everywhere who asked for it; audited. There is no way back."""
    hub.looks.flush()
    with write_session(hub.engine) as session:
        done = erasure.erase_other(
            session, caller, person_id, body.email, hub.clock(), hub.tokens, hub.horizon
        )
    return ErasureOutcome.model_validate(done)


@ROUTER.get("/erasures/{erasure_id}", operation_id="get_erasure", summary="How far an erasure is")
def get_erasure(hub: HubDep, caller: CallerDep, erasure_id: ErasureId) -> Erasure:
    """Say which parts of an erasure are done, and when the last one was."""
    with read_session(hub.engine) as session:
        return Erasure.model_validate(erasure.one(session, caller, erasure_id))


def _preview(hub: HubDep, caller: CallerDep, person_id: str) -> ErasureOutcome:
    with read_session(hub.engine) as session:
        found = erasure.preview(session, caller, person_id, hub.clock(), hub.horizon)
    return ErasureOutcome.model_validate(found)


def _archive(hub: HubDep, caller: CallerDep, person_id: str) -> Response:
    hub.looks.flush()
    made = export.export(
        hub.engine,
        hub.archive or hub.store,
        hub.accounts,
        caller,
        person_id,
        hub.clock(),
        hub.tokens,
    )
    headers = {
        "Content-Disposition": f'attachment; filename="{made.file_name}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(made.pieces, media_type="application/zip", headers=headers)
