"""Serves the HTTP application over TLS, under the supervisor's rules.

1. Signals are the process's business (`hub.app.child`), not uvicorn's: it is told to stop.
2. Streams that never end by themselves (live events) are cut after a few seconds when stopping.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

_GRACE_S = 3
_BACKLOG = 2_048


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    application: Any,
    *,
    host: str,
    port: int,
    certificate: Path,
    key: Path,
    ready: Callable[[], None],
    stop: threading.Event,
) -> None:
    """Serve until `stop` is set.

    Args:
        application: ASGI.
        host: address to listen on.
        port: likewise.
        certificate: PEM of the server.
        key: its private key, PEM.
        ready: called once when connections are accepted.
        stop: ends it.
    """
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="off",
    )
    server = _Server(config, ready)

    async def main() -> None:
        async def watch() -> None:
            await asyncio.to_thread(stop.wait)
            server.should_exit = True

        watcher = asyncio.create_task(watch())
        try:
            await server.serve()
        finally:
            stop.set()  # also where it could not listen: the thread of `watch` must end
            await watcher

    asyncio.run(main())
