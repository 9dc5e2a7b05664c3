"""Logs and traces: a JSON object per line, with the ids of the work at hand; spans where an exporter is set."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from structlog.typing import Processor

from genpulse import __version__
from genpulse.settings import Settings, TelemetrySettings

_HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(
    r"authorization|cookie|password|secret|signature|token|(?:api|access|admin|signing)_?key", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"(?P<keep>\bBearer\s+|[?&]signature=|://[^\s:/@]+:(?=[^\s/@]+@))[^\s&@\"']+|\b(?:gp_(?:live|test|admin)_|whsec_)[A-Za-z0-9+/=_-]+"
)
_FLUSH_MILLISECONDS = 3000
#: Chatty at `info`, and of no use to whoever runs GenPulse.
_QUIET = ("aiosqlite", "alembic", "asyncio", "httpcore", "httpx", "sqlalchemy.engine", "temporalio")


def configure(settings: Settings, service: str) -> None:
    """Set up logging, and tracing where an exporter is set, for this process; a second call changes the first."""
    _configure_logs(settings.telemetry)
    if is_tracing(settings):
        _configure_traces(settings.telemetry, service)


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


def _configure_logs(settings: TelemetrySettings) -> None:
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(settings.log_format)],
        )
    )
    _install(handler, settings.log_level.upper())


def _ending(log_format: str) -> list[Processor]:
    if log_format == "console":
        return [_redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    # Traces of exceptions become text first, so that they are redacted too.
    return [structlog.processors.format_exc_info, _redact, structlog.processors.JSONRenderer(ensure_ascii=False)]


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


def _redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets, by the names that they go under and by what they look like."""
    event.pop("color_message", None)  # uvicorn's message again, coloured
    return {name: _HIDDEN if _SECRET_NAME.search(name) else _cleaned(value) for name, value in event.items()}


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return _SECRET_VALUE.sub(lambda found: (found["keep"] or "") + _HIDDEN, value)
        case dict():
            return {name: _HIDDEN if _SECRET_NAME.search(str(name)) else _cleaned(one) for name, one in value.items()}
        case list() | tuple():
            return [_cleaned(one) for one in value]
        case _:
            return value


# Traces --------------------------------------------------------------------------------------------------------------


def _configure_traces(settings: TelemetrySettings, service: str) -> None:
    from temporalio.contrib.opentelemetry import create_tracer_provider

    # Temporal's provider: workflow code runs again on replay, and must not make its spans a second time.
    provider = create_tracer_provider(
        resource=Resource.create({"service.name": service, "service.version": __version__})
    )
    provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
    trace.set_tracer_provider(provider)


def _exporter(settings: TelemetrySettings) -> SpanExporter:
    if settings.exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.endpoint or None)
