"""Metrics of the server for Prometheus, in a registry of its own, so that several servers do not mix."""

from __future__ import annotations

import logging
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossgraph.search.results import Timings
from crossgraph.serve.problems import internal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 15)
_LOG = logging.getLogger("crossgraph.serve")


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "crossgraph_requests", "requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "crossgraph_request_seconds", "from request to answer", ["route"], registry=self._registry, buckets=_SECONDS
        )
        self._stages = Histogram(
            "crossgraph_search_seconds", "time of a search", ["stage"], registry=self._registry, buckets=_SECONDS
        )
        self.active = Gauge("crossgraph_requests_active", "requests being answered", registry=self._registry)
        self.pictures = Gauge("crossgraph_pictures", "pictures in the library", registry=self._registry)
        self.indexing = Gauge("crossgraph_indexing", "1 while an index job runs", registry=self._registry)
        self.indexed = Counter("crossgraph_indexed", "pictures indexed by jobs", registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def searched(self, timings: Timings) -> None:
        """Count a search's stages."""
        for stage in ("encode", "nearest", "rerank", "total"):
            self._stages.labels(stage).observe(getattr(timings, stage) / 1000)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts every request, and turns a defect of ours into a problem document and a trace in the log.

    Args:
        app: The inner application.
        metrics: The counters.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.active.inc()
        try:
            await self._app(scope, receive, sending)
        except Exception:
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            if status:
                raise  # the answer has begun: all that is left is to break it off
            await internal().response()(scope, receive, sending)
        finally:
            self._metrics.active.dec()
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(_method(scope["method"]), route, status, time.monotonic() - begun)


def _method(name: str) -> str:
    return name if name in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"
