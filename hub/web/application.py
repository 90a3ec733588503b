"""Adds the pages to the application.

1. An application whose table of pages and pages do not match does not start.
"""

from fastapi import FastAPI

from hub.web import (
    access,
    account,
    bills,
    capacity,
    cases,
    certificate,
    claims,
    delivery,
    entrance,
    former,
    hands,
    home,
    household,
    live,
    means,
    missing,
    my_data,
    partners,
    plans,
    privacy,
    product,
    series,
    settling,
    simulation,
    support,
    support_money,
    usage,
    webhooks,
)
from hub.web.guard import PageRoute
from hub.web.pages import Pages

_ROUTERS = (
    delivery.ROUTER,
    entrance.ROUTER,
    account.ROUTER,
    home.ROUTER,
    claims.ROUTER,
    product.ROUTER,
    usage.ROUTER,
    simulation.ROUTER,
    means.ROUTER,  # before the bills, whose paths end in any id
    bills.ROUTER,
    plans.ROUTER,
    my_data.ROUTER,
    hands.ROUTER,
    privacy.ROUTER,
    certificate.ROUTER,
    former.ROUTER,
    household.ROUTER,
    partners.ROUTER,
    series.ROUTER,
    live.ROUTER,
    support.ROUTER,
    support_money.ROUTER,
    webhooks.ROUTER,
    settling.ROUTER,
    cases.ROUTER,
    capacity.ROUTER,
)


def install(app: FastAPI) -> None:
    """Add the pages; `app.state.hub` holds what they work with.

    Raises:
        RuntimeError: a page has no row in the access table, or a row has no page.
    """
    routes = [route for router in _ROUTERS for route in router.routes]
    # A route without a guard has no operation id here, and so differs from the table.
    operations = [
        str(route.operation_id) if isinstance(route, PageRoute) else "" for route in routes
    ]
    if sorted(operations) != sorted(access.RULES):
        differing = set(operations) ^ set(access.RULES)
        raise RuntimeError(f"Pages and access table differ: {sorted(differing)}.")
    app.state.pages = Pages.load()
    for router in _ROUTERS:
        app.router.routes.extend(router.routes)
    missing.install(app)
