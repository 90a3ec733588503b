"""A small collector: takes OTLP over HTTP with protobuf, as a real one does, and keeps what it took."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

PATIENCE_S = 60.0


class Receiver:
    """What came; `status` is what it answers with."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.resource: dict[str, str] = {}
        self.status = 200
        self.requests = 0
        self.more = threading.Condition()
        self.url = ""

    def take(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        with self.more:
            self.requests += 1
            self.headers = headers
            if self.status == 200 and path == "/v1/traces":
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.resource = attributes(group.resource.attributes)
                    self.spans += [span for scope in group.scope_spans for span in scope.spans]
            elif self.status == 200 and path == "/v1/metrics":
                for found in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.resource = attributes(found.resource.attributes)
                    self.metrics = {m.name: m for s in found.scope_metrics for m in s.metrics}
            self.more.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.more:
            assert self.more.wait_for(condition, timeout=PATIENCE_S)


def attributes(pairs: list[KeyValue]) -> dict[str, Any]:
    """Return attributes as a plain map."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in pairs
    }


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a collector for the length of a block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            names = {name.lower(): value for name, value in self.headers.items()}
            receiver.take(self.path, body, names)
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
