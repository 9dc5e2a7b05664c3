"""The connection to Temporal: one client per process, made when first needed so that a start does not depend on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.service import TLSConfig

from genpulse.failpoints import Failpoint
from genpulse.settings import TemporalSettings


class BriefFailures(DefaultFailureConverter):
    """Failures without the Python errors that led to them, which stand in the worker's log.

    Of a pending activity Temporal keeps a few kilobytes. A connection that was lost within a library within a pool is
    longer, and a person would read "Failure exceeds size limit." instead of what is missing.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        if failure.HasField("application_failure_info"):
            failure.ClearField("cause")


#: The same for whoever starts, runs or reads a workflow.
DATA_CONVERTER = replace(pydantic_data_converter, failure_converter_class=BriefFailures)


class TemporalConnection:
    """Connects at the first call and keeps the client."""

    def __init__(self, settings: TemporalSettings, *, tracing: bool = False) -> None:
        self._settings = settings
        self._tracing = tracing
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> Client:
        """The client. Raises RuntimeError while Temporal does not answer."""
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await connect(self._settings, tracing=self._tracing)
        return self._client


@Failpoint("temporal.connect")
async def connect(settings: TemporalSettings, *, tracing: bool = False) -> Client:
    """A connected client with our data converter. Raises RuntimeError when nothing answers.

    With `tracing`, spans go from whoever starts a workflow through it to its activities; it costs time at every task.
    """
    return await Client.connect(
        settings.address,
        namespace=settings.namespace,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        tls=_tls(settings),
        data_converter=DATA_CONVERTER,
        plugins=[OpenTelemetryPlugin(add_temporal_spans=True)] if tracing else [],
    )


def _tls(settings: TemporalSettings) -> TLSConfig | bool:
    files = (settings.tls_server_ca, settings.tls_client_cert, settings.tls_client_key)
    if not any(files):
        return settings.tls
    ca, cert, key = (path.read_bytes() if path else None for path in files)
    return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)
