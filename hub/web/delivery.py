"""Serves the files that browsers fetch.

1. Under the present version's address a file is kept for good; under another one it is asked for
   again each time.
2. Anybody may have them: they say nothing about anybody.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import NotFoundError
from hub.web.guard import PageRoute
from hub.web.pages import pages_of

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)
_FOR_GOOD = "public, max-age=31536000, immutable"


@ROUTER.get("/static/{version}/{name:path}", operation_id="get_static")
def get_static(
    request: Request, version: Annotated[str, Path(max_length=64)], name: str
) -> Response:
    """Serve a file."""
    assets = pages_of(request).assets
    asset = assets.found.get(name)
    if asset is None:
        raise NotFoundError(f"There is no file {name[:200]}.")
    # Another version's page asks once more after an upgrade; it gets the file, not for good.
    headers = {"Vary": "Accept-Encoding"}
    headers["Cache-Control"] = _FOR_GOOD if version == assets.version else "no-cache"
    content = asset.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = asset.packed, "gzip"
    return Response(content, headers=headers, media_type=asset.media_type)
