"""What spans are sent to."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipeline.settings import MonitoringSettings


class Collector:
    """Takes spans over HTTP as an OpenTelemetry collector does.

    Attributes:
        requests: what exporters have sent.
        settings: make a program send its spans here.
    """

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.settings = MonitoringSettings(tracing_endpoint=f"http://127.0.0.1:{self.server.server_port}/")

    def spans(self) -> list[Span]:
        """Returns what has come."""
        resources = [resource for request in self.requests for resource in request.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]

    def close(self) -> None:
        """Takes no more."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
