"""Kling: what its tests have in common."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from genpulse.catalog.clouds import cloud_models
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall
from genpulse.providers.kling import Kling
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator import ManualClock, Simulator, create_simulator
from genpulse.simulator.faults import FAULTS
from tests.clouds import Files, always

SPECS = {spec.name: spec for spec in cloud_models(["kling"])}
LIVING = {name: spec for name, spec in SPECS.items() if spec.retires_at is None}
KEY = Credentials(api_key="api-key-kling-sim")
PAIR = Credentials(access_key="sim-access-key", secret_key="sim-secret")
AUTHORIZED = {"Authorization": "Bearer api-key-kling-sim"}
BOTH = pytest.mark.parametrize("model", ["kling-3.0", "kling-v3"])
SIDES = ("up", "down", "left", "right")
VALUES = {
    "prompt": "a fox",
    "negative_prompt": "blur",
    "resolution": "1080p",
    "aspect_ratio": "9:16",
    "duration": 5.0,
    "guidance": 0.5,
    "count": 2,
    "audio": True,
    "voice": "oversea_male1",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "effects": {"effect_scene": "squish"},
    "image-expand": {"left_expansion_ratio": 0.5},
    "speech": {"voice_language": "en"},
}


@dataclass
class World:
    """A simulated Kling, its clock, and an account there."""

    simulator: Simulator
    clock: ManualClock
    http: httpx.AsyncClient

    def account(self, credentials: Credentials = KEY, *, ahead: float = 0) -> Kling:
        """An account whose clock may differ from the cloud's."""
        return Kling(
            "http://sim/kling",
            credentials,
            self.http,
            now=lambda: datetime.fromtimestamp(self.clock.now() + ahead, UTC),
        )

    def fault(self, **values: object) -> None:
        self.simulator.faults.put("kling", FAULTS.validate_python([values]))

    async def get(self, path: str) -> Any:
        return (await self.http.get(f"http://sim/kling{path}", headers=AUTHORIZED)).json()

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self.http.post(f"http://sim/kling{path}", headers=AUTHORIZED, json=body)

    async def made(self, call: ModelCall, account: Kling | None = None) -> Finished:
        """What comes of a call in the end."""
        account = account or self.account()
        job = await account.submit(call)
        if isinstance(job, Finished):
            return job
        self.clock.advance(3)
        state = await account.poll(job, call)
        assert isinstance(state, Finished)
        return state


async def task_of(account: Kling, call: ModelCall) -> Job:
    job = await account.submit(call)
    assert isinstance(job, Job)
    return job


@asynccontextmanager
async def a_world(callbacks: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[World]:
    clock = ManualClock()
    simulator = Simulator(clock=clock, transport=callbacks)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_simulator(simulator))) as http:
        yield World(simulator, clock, http)
    await simulator.aclose()


def call(
    model: str,
    operation: str = "text-to-video",
    given: dict[str, Any] | None = None,
    *,
    media: dict[str, list[Media]] | None = None,
    options: dict[str, Any] | None = None,
    callback_url: str | None = None,
) -> ModelCall:
    return ModelCall(
        model=model,
        operation=Operation(operation),
        wire=SPECS[model].wire,
        input={"prompt": "a fox"} if given is None else given,
        media=media or {},
        options=options or {},
        key="gen_1-0-1",
        callback_url=callback_url,
    )


def full_call(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name, field in fields.items() if field.type in MEDIA_TYPES}
    if spec.name == "effects":
        media = {"reference_images": [files[MediaKind.IMAGE]] * 2} if every else {"image": [files[MediaKind.IMAGE]]}
    if spec.name in {"lip-sync", "video-sound"}:
        media["video"] = [files[MediaKind.VIDEO]]
    if spec.name in {"lip-sync", "avatar"}:
        media["audio"] = [files[MediaKind.AUDIO]]
    values = VALUES | ({"resolution": "2k"} if Operation(operation).value.endswith("image") else {})
    given = {name: values[name] for name, field in fields.items() if field.type not in MEDIA_TYPES}
    return call(spec.name, operation, given, media=media, options=OPTIONS.get(spec.name))


MEDIA_TYPES = {"image", "images", "video", "audio"}


def every_operation() -> Iterator[Any]:
    for name, spec in LIVING.items():
        for operation in spec.operations:
            yield pytest.param(spec, operation, id=f"{name}-{operation}")


async def sent_by(made: ModelCall) -> tuple[str, dict[str, Any]]:
    """The path and body of a submission."""
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.endswith("identify-face"):
            data: dict[str, Any] = {"session_id": "s", "face_data": [{"face_id": "0", "start_time": 40, "end_time": 9}]}
        else:
            data = {"id": "1", "status": "submitted", "task_id": "1", "task_status": "submitted"}
        return httpx.Response(200, json={"code": 0, "message": "SUCCEED", "data": data})

    await Kling("", KEY, httpx.AsyncClient(transport=httpx.MockTransport(serve))).submit(made)
    assert seen[-1].url.host == "api-singapore.klingai.com"
    return seen[-1].url.path, json.loads(seen[-1].content)


def answering(status: int, body: object) -> Kling:
    return Kling("http://kling", KEY, always(status, body))
