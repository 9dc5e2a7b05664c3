"""Logs and traces: a JSON object per line, with the ids of the work at hand; spans where an exporter is set."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, TextIO

import structlog
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.util.types import Attributes
from structlog.typing import ExcInfo, Processor

from genpulse import __version__
from genpulse.redaction import Redactor, secrets_in
from genpulse.settings import Settings, TelemetrySettings

_FLUSH_MILLISECONDS = 3000
#: Chatty at `info`, and of no use to whoever runs GenPulse.
_QUIET = ("aiosqlite", "alembic", "asyncio", "httpcore", "httpx", "sqlalchemy.engine", "temporalio")


def configure(settings: Settings, service: str) -> None:
    """Set up logging, and tracing where an exporter is set, for this process; a second call changes the first."""
    redactor = Redactor(secrets_in(settings))
    _configure_logs(settings.telemetry, redactor)
    if is_tracing(settings):
        _configure_traces(settings.telemetry, service, redactor)


def is_tracing(settings: Settings) -> bool:
    """Whether spans go anywhere."""
    return settings.telemetry.exporter != "none"


def traceparent() -> str | None:
    """The current span in W3C form, for work that goes on elsewhere; None where nothing is traced."""
    carrier: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        propagate.inject(carrier)
    return carrier.get("traceparent")


# Logs ----------------------------------------------------------------------------------------------------------------


def flush() -> None:
    """Send the spans that are still held; for a process that a signal will end before it could."""
    from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider

    provider = trace.get_tracer_provider()
    if isinstance(provider, ReplaySafeTracerProvider):
        provider.force_flush(_FLUSH_MILLISECONDS)


def _configure_logs(settings: TelemetrySettings, redactor: Redactor) -> None:
    # Ours and the libraries' records take the same way: through the standard library to one handler.
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _OurHandler(_CurrentStderr())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_ending(settings.log_format, redactor),
            ],
        )
    )
    _install(handler, settings.log_level.upper())


def _ending(log_format: str, redactor: Redactor) -> list[Processor]:
    if log_format == "console":

        def plain(out: TextIO, exception: ExcInfo) -> None:
            text = io.StringIO()
            structlog.dev.plain_traceback(text, exception)
            out.write(redactor.text(text.getvalue()))

        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        return [_hiding(redactor), renderer]
    # Traces of exceptions become text first, so that they are redacted too.
    return [
        structlog.processors.format_exc_info,
        _hiding(redactor),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _OurHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.getLogger("uvicorn.access").disabled = True  # the API logs its requests itself, with their ids
    logging.captureWarnings(capture=True)


class _OurHandler(logging.StreamHandler["_CurrentStderr"]):
    """Ours, to be told from handlers that others have added."""


class _CurrentStderr:
    """What `sys.stderr` is at the moment of writing."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _add_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event


def _hiding(redactor: Redactor) -> Processor:
    def hide(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.pop("color_message", None)  # uvicorn's message again, coloured
        return {name: redactor.named(name, value) for name, value in event.items()}

    return hide


# Traces --------------------------------------------------------------------------------------------------------------


def _configure_traces(settings: TelemetrySettings, service: str, redactor: Redactor) -> None:
    from temporalio.contrib.opentelemetry import create_tracer_provider

    # Temporal's provider: workflow code runs again on replay, and must not make its spans a second time.
    provider = create_tracer_provider(
        resource=Resource.create({"service.name": service, "service.version": __version__})
    )
    provider.add_span_processor(BatchSpanProcessor(_CleanExporter(_exporter(settings), redactor)))
    trace.set_tracer_provider(provider)


class _CleanExporter(SpanExporter):
    """Exports spans without secrets: exceptions are recorded in them with whatever they say."""

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self._exporter = exporter
        self._redactor = redactor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._cleaned(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _cleaned(self, span: ReadableSpan) -> ReadableSpan:
        description = span.status.description
        return ReadableSpan(
            name=self._redactor.text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes),
            events=[Event(one.name, self._attributes(one.attributes), one.timestamp) for one in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(span.status.status_code, self._redactor.text(description) if description else None),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _attributes(self, given: Attributes) -> Attributes:
        return {name: self._redactor.named(name, value) for name, value in (given or {}).items()}


def _exporter(settings: TelemetrySettings) -> SpanExporter:
    if settings.exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.endpoint or None)
