"""Counters for Prometheus, one set per app."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .batcher import Batcher, Report
from .guard import App, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts and times since the start."""

    def __init__(self) -> None:
        """Start at zero, in a registry of its own so that two apps do not add up."""
        self.registry = CollectorRegistry()
        self.requests = Counter("foveal_requests", "Requests.", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "foveal_request_seconds", "Until the last byte.", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self.batch_size = Histogram(
            "foveal_batch_size", "Inputs of a batch.", ["work"], buckets=_SIZES, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "foveal_batch_seconds", "That a batch took.", ["work"], buckets=_SECONDS, registry=self.registry
        )
        self.batches = Counter("foveal_batches", "Batches.", ["work", "outcome"], registry=self.registry)
        ProcessCollector(registry=self.registry)

    def watch(self, batcher: Batcher, pictures: Callable[[], float]) -> None:
        """Read the queue and the index whenever they are asked for.

        Args:
            batcher: Its queue.
            pictures: Gives their number.
        """
        queued = Gauge("foveal_queued", "Inputs that wait.", registry=self.registry)
        queued.set_function(lambda: batcher.state().queued)
        Gauge("foveal_pictures", "Pictures in the index.", registry=self.registry).set_function(pictures)

    def batch(self, report: Report) -> None:
        """Count a batch."""
        self.batch_size.labels(report.work).observe(report.size)
        self.batch_seconds.labels(report.work).observe(report.seconds)
        self.batches.labels(report.work, report.outcome).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus's format."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware that counts and times every request, refused ones too."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        """Stand before an app.

        Args:
            app: What is measured.
            metrics: Where it is counted.
        """
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and count it. One whose client went away without an answer has status 499."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 499

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            status = 500  # answered by what stands before us
            raise
        finally:
            # The router says which path it was; whatever clients make up is counted as one.
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - start)
