"""Whether the hub lives, whether it can work, and how it is doing.

1. `/healthz` says that this process answers and touches nothing else, so a supervisor that restarts
   on it never restarts for a slow disk.
2. `/readyz` asks the database and the store, and names what does not answer without saying why:
   it is public, the log has the reason. A hub that works, but not all of it, is `degraded`.
3. `/metrics` needs an operator (the operator token, for Prometheus in `authorization`): behind a
   proxy on the same box every caller would be loopback.
"""

import logging
from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import text
from starlette.responses import Response

from hub.api.bodies import Answer, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.errors import StorageError
from hub.metrics import CONTENT_TYPE, merged_text
from hub.ports.database.engine import read_session
from hub.services.caller import Scope

ROUTER = APIRouter(route_class=GuardedRoute, tags=["operation"])

_LOG = logging.getLogger(__name__)


class Health(Answer):
    """The process answers."""

    status: Literal["ok"] = Field(default="ok")

    model_config = examples({"status": "ok"})


class Readiness(Answer):
    """How the hub is doing."""

    status: Literal["ok", "degraded"] = Field(default="ok")
    problems: list[str] = Field(default=[], description="What does not work, a sentence each.")

    model_config = examples({"status": "ok", "problems": []})


@ROUTER.get("/healthz", operation_id="get_health", summary="Say that the process answers")
async def get_health() -> Health:
    """Answer as long as the process runs."""
    return Health()


@ROUTER.get("/readyz", operation_id="get_readiness", summary="Say whether the hub can work")
def get_readiness(hub: HubDep) -> Readiness:
    """Ask the database and the telemetry store; 503 names the ones that do not answer."""

    def database() -> None:
        with read_session(hub.engine) as session:
            session.execute(text("SELECT 1"))

    def store() -> None:
        hub.store.count([])

    failed: list[str] = []
    for name, check in (("database", database), ("store", store)):
        try:
            check()
        except Exception:  # noqa: BLE001  whatever it is, the hub is not ready
            _LOG.exception("the hub is not ready: %s", name)
            failed.append(name)
    if failed:
        raise StorageError(
            f"The hub cannot work: {' and '.join(failed)} did not answer. Its log has the reason.",
            failed=failed,
        )
    problems = hub.problems()
    return Readiness(status="degraded" if problems else "ok", problems=problems)


@ROUTER.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Metrics of all processes for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(hub: HubDep, caller: CallerDep) -> Response:
    """Return the metrics of all of the hub's processes in the Prometheus text format."""
    caller.require(Scope.METRICS_READ)
    return Response(merged_text(hub.metrics, hub.metrics_dir), media_type=CONTENT_TYPE)
