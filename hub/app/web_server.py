"""Serves the HTTP application over TLS, under the supervisor's rules.

1. Signals are the process's business (`hub.app.child`), not uvicorn's: it is told to stop.
2. A certificate that was renewed is shown from the next connection on; those that stand go on.
3. Streams that never end by themselves (live events) are cut after a few seconds when stopping.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

_GRACE_S = 3
_BACKLOG = 2_048
_CERTIFICATES_S = 2.0
"""How soon a certificate that was renewed is shown."""


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
            shown = _read(certificate, key)
            while not await asyncio.to_thread(stop.wait, _CERTIFICATES_S):
                present = _read(certificate, key)
                if (
                    present != shown
                    and config.ssl is not None
                    and _take(config.ssl, certificate, key)
                ):
                    shown = present
            server.should_exit = True

        watcher = asyncio.create_task(watch())
        try:
            await server.serve()
        finally:
            stop.set()  # also where it could not listen: the thread of `watch` must end
            await watcher

    asyncio.run(main())


def _read(*files: Path) -> list[bytes]:
    return [file.read_bytes() for file in files]


def _take(context: ssl.SSLContext, certificate: Path, key: Path) -> bool:
    """Show another certificate from the next connection on; tells whether certificate and key fit."""
    try:
        # Tried apart first: a context that was given a certificate without its key shows neither.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError):
        return False  # the two files are replaced one after the other
    return True
