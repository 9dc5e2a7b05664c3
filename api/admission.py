"""Who may come in: whose key a request carries, and whether the tenant has not sent too many already."""

from __future__ import annotations

import structlog
from fastapi import Request

from api.services import Services
from genpulse.errors import DependencyDown, RateLimited
from genpulse.limits.requests import WINDOW_SECONDS
from genpulse.security import Caller

_POLICY = "requests"

log = structlog.get_logger(__name__)


async def caller_of(request: Request) -> Caller:
    """Whose key the request carries. Raises Unauthenticated, Forbidden, DependencyDown."""
    services: Services = request.app.state.services
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return await services.keys.identify(secret.strip() if scheme.lower() == "bearer" and secret else None)


async def count(request: Request, caller: Caller) -> None:
    """Count a request of a tenant that has a limit; the answer tells what is left. Raises RateLimited.

    Where the count cannot be reached requests pass: the limit keeps tenants from one another, and an outage of it must
    not keep all of them out.
    """
    per_minute = caller.limits.requests_per_minute
    if per_minute is None:
        return
    services: Services = request.app.state.services
    told = {"RateLimit-Policy": f'"{_POLICY}";q={per_minute};w={WINDOW_SECONDS}'}
    request.state.answer_headers = told
    try:
        taken = await services.requests.take(caller.tenant_id, per_minute)
    except DependencyDown as error:
        services.metrics.uncounted_requests.inc()
        log.warning("requests.uncounted", tenant_id=caller.tenant_id, reason=error.message)
        return
    told["RateLimit"] = f'"{_POLICY}";r={taken.remaining};t={taken.more_in}'
    if not taken.granted:
        services.metrics.refused_requests.inc()
        raise RateLimited(
            f"Your account may send {per_minute:,} requests a minute; come back in {taken.more_in} s.",
            retry_after=taken.more_in,
            limit="requests_per_minute",
        )
