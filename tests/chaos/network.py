"""A bad network: an asyncio TCP proxy between devices and broker.

1. Bytes are never changed or reordered within a connection (TCP does not either, and TLS would notice); they are
   delayed, swallowed, or lost with their connection.
2. Faults are drawn from a seeded source; `Weather` says how bad it is, and may change at any time.
3. The event loop runs in a thread of its own; every method may be called from any thread.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_LINGER_0 = struct.pack("ii", 1, 0)  # close sends RST and drops what is in flight


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is.

    Attributes:
        delay_s: each chunk of bytes waits up to so long.
        stall: probability that a chunk waits for a retransmission (ten times `stall_s` at most).
        stall_s: shortest wait for a retransmission.
        reset: probability that a chunk is lost with its connection.
        closed: no new connection comes about.
    """

    delay_s: float = 0.0
    stall: float = 0.0
    stall_s: float = 0.2
    reset: float = 0.0
    closed: bool = False


class _Connection:
    def __init__(self, device: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.ends = (device, broker)
        self.swallowed = False

    def reset(self) -> None:
        for end in self.ends:
            sock = end.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            end.transport.abort()


class BadNetwork:
    """Listens for devices and passes them on to the broker.

    Args:
        target: port of the broker on this machine.
        seed: of the faults.
        port: to listen on.
    """

    def __init__(self, target: int, seed: int, port: int) -> None:
        self.port = port
        self._target = target
        self._random = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
        self._weather = Weather()
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", port))

    def set(self, weather: Weather) -> None:
        """Change the weather."""
        self._weather = weather

    def reset_all(self) -> int:
        """Cut every connection hard; returns how many there were."""

        async def cut() -> int:
            gone = list(self._open)
            for connection in gone:
                connection.reset()
            return len(gone)

        return self._do(cut())

    def half_open(self) -> int:
        """Swallow all that comes on the present connections for ever, without a word to either end."""

        async def swallow() -> int:
            for connection in self._open:
                connection.swallowed = True
            return len(self._open)

        return self._do(swallow())

    def close(self) -> None:
        """End all connections and the loop."""

        async def end() -> None:
            self._server.close()
            for connection in list(self._open):
                connection.reset()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, deed: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(deed, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._weather.closed:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, far_writer)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._pass_on(connection, reader, far_writer),
                self._pass_on(connection, far_reader, writer),
            )
        finally:
            connection.reset()
            self._open.discard(connection)

    async def _pass_on(
        self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        """Carry bytes one way until the connection ends; the other way ends with it."""
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                weather, chance = self._weather, self._random.random
                wait = weather.delay_s * chance()
                if chance() < weather.stall:
                    wait += weather.stall_s * min(10.0, 1 / (chance() + 1e-9))
                if wait:
                    await asyncio.sleep(wait)
                if chance() < weather.reset:
                    break
                if not connection.swallowed:
                    sink.write(data)
                    await sink.drain()
        connection.reset()
