"""Is it alive, is it ready, what has it done: for those who run it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.deps import Operator, ServicesDep
from api.metrics import CONTENT_TYPE
from api.openapi import KEY_PROBLEMS, problems
from api.probes import NEEDED, look_at, look_at_all
from api.routing import KeyRoute, OpenRoute
from api.services import Services
from genpulse import __version__
from genpulse.circuits import Circuit
from genpulse.errors import DependencyDown
from genpulse.limits import AccountLimits
from genpulse.providers.registry import endpoint_of, limits_of
from genpulse.queues import describe_queues
from genpulse.repositories import generations, steps
from genpulse.schemas.queues import (
    ENGINE_QUEUE,
    FAKE_QUEUE,
    UPKEEP_QUEUE,
    WEBHOOK_QUEUE,
    WORKFLOW_QUEUE,
    provider_queue,
)
from genpulse.schemas.system import CircuitState, Dependency, LimitsState, ProviderState, System

router = APIRouter(tags=["system"], route_class=OpenRoute, responses=problems(422))
overview_router = APIRouter(tags=["system"], route_class=KeyRoute, responses=KEY_PROBLEMS)


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Everything that a submission needs is there."""

    status: Literal["ready"]
    dependencies: dict[str, Dependency]


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive, whatever its dependencies do. For liveness probes."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(503))
async def readyz(services: ServicesDep) -> Readiness:
    """A submission would be accepted and would run. The 503 says in `details` which dependency is down."""
    found = await look_at(services, NEEDED)
    down = [f"{name} ({one.reason})" for name, one in found.items() if one.status == "down"]
    if down:
        raise DependencyDown(
            f"Not ready: {', '.join(down)}.",
            dependencies={name: one.model_dump() for name, one in found.items()},
        )
    return Readiness(status="ready", dependencies=found)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: ServicesDep) -> Response:
    """Counters in Prometheus' text form."""
    return Response(services.metrics.page(), media_type=CONTENT_TYPE)


@overview_router.get("/v1/system")
async def system(services: ServicesDep, _caller: Operator) -> System:
    """What waits, who works, how the providers do, and which dependency is slow. For keys of the scope `admin`."""
    clouds = sorted(services.settings.providers)
    queues = [WORKFLOW_QUEUE, ENGINE_QUEUE, FAKE_QUEUE, WEBHOOK_QUEUE, UPKEEP_QUEUE, *map(provider_queue, clouds)]
    circuits = await services.circuits.all()
    async with services.database.reading() as session:
        counts = await generations.count_open(session)
        in_flight = await steps.jobs_in_flight(session)
    return System(
        version=__version__,
        generations=counts,
        queues=await describe_queues(services.temporal, queues),
        providers=[
            await _provider(services, name, circuits.get(name, Circuit()), in_flight.get(name, 0)) for name in clouds
        ],
        dependencies=await look_at_all(services),
    )


async def _provider(services: Services, name: str, circuit: Circuit, in_flight: int) -> ProviderState:
    settings = services.settings.providers[name]
    limits = limits_of(settings)
    return ProviderState(
        name=name,
        endpoint=endpoint_of(name, settings),
        circuit=CircuitState(
            state=circuit.state,
            failures=circuit.failures,
            opened_until=circuit.opened_until,
            last_error=circuit.last_error,
        ),
        limits=LimitsState(rate=limits.rate, burst=limits.burst, concurrency=limits.concurrency),
        in_flight=in_flight,
        paused_seconds=await _paused(services, name, limits),
    )


async def _paused(services: Services, name: str, limits: AccountLimits) -> float | None:
    if not services.settings.redis.url:
        return None
    try:
        state = await services.limiter.state(name, limits)
    except DependencyDown:
        return None
    return round(state.paused.total_seconds(), 1)
