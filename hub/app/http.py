"""The HTTP application, put together from the routes and the collaborators it is given.

1. Everything the application works with comes in through one `Hub`; nothing is global.
2. Order from the outside in: the edge (ids, headers, last resort), the routes' guard, the route.
3. An application whose access table and routes do not match does not start.
"""

from fastapi import FastAPI

from hub.api import (
    access,
    alerts,
    authorities,
    billing,
    broker_hook,
    cases,
    catalogue,
    causes,
    certificates,
    clock,
    coverage,
    description,
    devices,
    disputes,
    edge,
    fleet_decisions,
    grants,
    health,
    holds,
    households,
    invoices,
    live,
    looks,
    ofrep,
    orders,
    partners,
    passkeys,
    people,
    privacy,
    problems,
    products,
    pushes,
    records,
    security_txt,
    sessions,
    settings,
    signing_keys,
    simulation,
    subscriptions,
    telemetry,
    transfers,
    usage,
    usage_writes,
    webhooks,
)
from hub.api.context import Hub
from hub.api.guard import GuardedRoute
from hub.services import ties
from hub.web import application as pages

_ROUTERS = (
    health.ROUTER,
    security_txt.ROUTER,
    description.ROUTER,
    devices.ROUTER,
    signing_keys.ROUTER,
    authorities.ROUTER,
    people.ROUTER,
    privacy.ROUTER,
    sessions.ROUTER,
    passkeys.ROUTER,
    households.ROUTER,
    partners.ROUTER,
    looks.ROUTER,
    products.ROUTER,
    holds.ROUTER,
    ofrep.ROUTER,
    transfers.ROUTER,
    usage.ROUTER,
    invoices.ROUTER,
    billing.ROUTER,
    simulation.ROUTER,
    usage_writes.ROUTER,
    orders.ROUTER,
    subscriptions.ROUTER,
    disputes.ROUTER,
    coverage.ROUTER,
    cases.ROUTER,
    certificates.ROUTER,
    grants.ROUTER,
    fleet_decisions.ROUTER,
    settings.ROUTER,
    telemetry.ROUTER,
    alerts.ROUTER,
    causes.ROUTER,
    live.ROUTER,
    pushes.ROUTER,
    catalogue.ROUTER,
    records.ROUTER,
    clock.ROUTER,
    webhooks.ROUTER,
    broker_hook.ROUTER,
)


def create_app(hub: Hub) -> FastAPI:
    """Put the application together.

    Args:
        hub: everything it works with.

    Raises:
        RuntimeError: a route has no row in the access table, or a row has no route.
    """
    app = FastAPI(
        title="Homeport",
        version=description.VERSION,
        openapi_url=None,  # the document is a guarded route like the others
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.hub = hub
    ties.listen(hub.engine, hub.live.recheck)
    problems.install(app)
    description.install(app)
    _check_access()
    for router in _ROUTERS:
        app.router.routes.extend(router.routes)  # `include_router` would build each route anew
    pages.install(app)
    app.add_middleware(
        edge.Edge,
        metrics=hub.metrics,
        random_bytes=hub.random_bytes,
        monotonic=hub.monotonic,
    )
    return app


def _check_access() -> None:
    # A route without a guard counts as nameless, and so differs from the table.
    operations = [
        str(route.operation_id) if isinstance(route, GuardedRoute) else ""
        for router in _ROUTERS
        for route in router.routes
    ]
    if sorted(operations) != sorted(access.RULES):
        differing = set(operations) ^ set(access.RULES)
        raise RuntimeError(f"Routes and access table differ: {sorted(differing)}.")
    edited = {rule.edits for rule in access.RULES.values() if rule.edits}
    if unread := edited - access.RULES.keys():
        raise RuntimeError(f"Edits are compared with operations that do not exist: {unread}.")
