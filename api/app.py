"""The API as an ASGI application; `uvicorn api.app:create_app --factory` serves it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI

from api import openapi, problems
from api.context import QUIET_PATHS, RequestContext
from api.cross_origin import CodecOrigin
from api.metrics import Metrics
from api.request_limits import RequestLimits
from api.routes import (
    assets,
    balances,
    callbacks,
    codec,
    dead_letters,
    generations,
    keys,
    models,
    reference,
    system,
    tenants,
    webhooks,
)
from api.security_headers import SecurityHeaders
from api.services import running
from genpulse import __version__, telemetry
from genpulse.settings import Settings

_DESCRIPTION = """\
One API for generative images, video and speech. Each generation runs as one durable workflow: submit it, watch its
events, fetch its outputs. Errors are `application/problem+json` with a stable `code`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; without settings they come from the environment. Nothing is contacted before it starts."""
    settings = settings or Settings()
    telemetry.configure(settings, service="genpulse-api")
    metrics = Metrics()
    app = FastAPI(
        title="GenPulse",
        version=__version__,
        summary="Generative images, video and speech as durable workflows",
        description=_DESCRIPTION,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=openapi.operation_id,
        docs_url=None,  # api/routes/reference.py has the page
        redoc_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, settings=settings, metrics=metrics),
        # The framework makes the spans by itself where a tracer provider is set.
        telemetry={"metrics": False, "logs": False, "operation_spans": False, "exclude": _is_untraced},
    )
    # The last one is the outermost.
    app.add_middleware(CodecOrigin, origin=settings.temporal.ui_url)
    app.add_middleware(RequestContext, metrics=metrics)
    app.add_middleware(RequestLimits)
    app.add_middleware(SecurityHeaders, is_https=settings.server.public_url.startswith("https://"))
    problems.install(app)
    for router in (
        generations.router,
        dead_letters.router,
        models.router,
        assets.router,
        assets.file_router,
        callbacks.router,
        webhooks.router,
        balances.router,
        keys.router,
        tenants.router,
        codec.router,
        codec.sign_in_router,
        system.router,
        system.overview_router,
        reference.router,
    ):
        app.include_router(router)
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]  # the way that FastAPI documents
    return app


def _is_untraced(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request gets no span: probes, which would drown the rest, and links, whose signature it would keep."""
    path: str = scope.get("path", "")
    return path in QUIET_PATHS or assets.is_file_path(scope) or path.startswith("/v1/callbacks/")


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    async with running(settings, metrics) as services:
        app.state.services = services
        # What was built to stay is not looked through again at every collection, which would stop all requests.
        gc.collect()
        gc.freeze()
        yield
