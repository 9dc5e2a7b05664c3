"""The simulator's own controls, under `/_control`: set faults and settings, ask what happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from genpulse.simulator.core import Settings, Simulator
from genpulse.simulator.faults import EVERY_CLOUD, FAULTS
from genpulse.simulator.jobs import Job


def mount(world: Simulator, clouds: Collection[str]) -> Mount:
    control = Control(world, clouds)
    return Mount(
        "/_control",
        routes=[
            Route("/faults/{cloud}", _refusing(control.put_faults), methods=["PUT"]),
            Route("/faults", _refusing(control.faults)),
            Route("/faults", _refusing(control.clear_faults), methods=["DELETE"]),
            Route("/settings", _refusing(control.put_settings), methods=["PUT"]),
            Route("/reset", _refusing(control.reset), methods=["POST"]),
            Route("/requests", _refusing(control.requests)),
            Route("/jobs", _refusing(control.jobs)),
        ],
    )


class Control:
    """What can be asked and set."""

    def __init__(self, world: Simulator, clouds: Collection[str]) -> None:
        self._world = world
        self._clouds = clouds

    async def put_faults(self, request: Request) -> Response:
        """The body is the list of all faults of this cloud, or of every cloud (`*`)."""
        cloud = request.path_params["cloud"]
        if cloud not in {EVERY_CLOUD, *self._clouds}:
            return JSONResponse({"detail": f"There is no cloud {cloud!r}; there are {', '.join(self._clouds)}."}, 404)
        self._world.faults.put(cloud, FAULTS.validate_json(await request.body()))
        return Response(status_code=204)

    async def faults(self, _: Request) -> Response:
        """Those in force by cloud, and how often each has struck."""
        armed = self._world.faults.all()
        shown = {
            cloud: [one.fault.model_dump(mode="json") | {"struck": one.struck} for one in armed[cloud]]
            for cloud in armed
        }
        return JSONResponse(shown)

    async def clear_faults(self, _: Request) -> Response:
        self._world.faults.clear()
        return Response(status_code=204)

    async def put_settings(self, request: Request) -> Response:
        """What the body does not name stays as it is."""
        self._world.change(Settings.model_validate_json(await request.body()))
        return JSONResponse(self._world.settings.model_dump())

    async def reset(self, _: Request) -> Response:
        self._world.reset()
        return Response(status_code=204)

    async def requests(self, request: Request) -> Response:
        query = request.query_params
        found = self._world.record.find(cloud=query.get("cloud"), kind=query.get("kind"))
        return JSONResponse({"count": len(found), "requests": [asdict(entry) for entry in found]})

    async def jobs(self, request: Request) -> Response:
        """`key` is a caller's key, a prompt or a job's id."""
        query = request.query_params
        found = self._world.find_jobs(cloud=query.get("cloud"), key=query.get("key"))
        return JSONResponse({"count": len(found), "jobs": [_job(job) for job in found]})


def _job(job: Job) -> dict[str, Any]:
    shown = ("id", "cloud", "model", "prompt", "key", "body", "state", "created_at", "due_at", "ended_at")
    return {name: getattr(job, name) for name in shown} | {
        "callback_url": job.callback_url,
        "deliveries": [asdict(delivery) for delivery in job.deliveries],
    }


Endpoint = Callable[[Request], Awaitable[Response]]


def _refusing(endpoint: Endpoint) -> Endpoint:
    """With 422 for a body that is not what is meant."""

    async def wrapped(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ValidationError as error:
            return JSONResponse(
                {"detail": error.errors(include_url=False, include_context=False, include_input=False)}, 422
            )

    return wrapped
