"""What the API counts, in Prometheus' form."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)


class Metrics:
    """Counters of one application, not of the process: several applications may live in one test."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "genpulse_http_request_duration_seconds",
            "Time from a request's first byte to the last of its answer; event streams included",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._accepted = Counter(
            "genpulse_generations_accepted_total",
            "Generations written down; a repeated Idempotency-Key does not count again",
            ("operation", "model"),
            registry=self._registry,
        )
        self.refused_requests = Counter(
            "genpulse_http_requests_refused_total",
            "Requests beyond what their tenant may send in a minute",
            registry=self._registry,
        )
        self.uncounted_requests = Counter(
            "genpulse_http_requests_uncounted_total",
            "Requests of limited tenants that passed because Redis did not answer",
            registry=self._registry,
        )
        self.event_streams = Gauge(
            "genpulse_event_streams", "Open streams of server-sent events", registry=self._registry
        )

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request is over; `route` is its pattern, so that ids do not become labels."""
        self._requests.labels(method, route or "none", status or "none").observe(seconds)

    def count_accepted(self, operation: str, model: str) -> None:
        self._accepted.labels(operation, model).inc()

    def page(self) -> bytes:
        """Everything, for a scrape."""
        return generate_latest(self._registry)
