"""Every model of the catalogue through the whole stack: API, workflow, worker, client, and the cloud at the wire."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from genpulse.catalog.clouds import CLOUDS, cloud_models
from genpulse.client import Client, ClientError
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import GenerationStatus, MediaKind, Operation
from genpulse.simulator.media import Format, Media, render
from genpulse.stack import Ports, embedded_stack
from genpulse.stack.ports import free_ports
from tests.matrix import hold, least

TODAY = datetime.now(UTC).date()
SPECS = [spec for spec in cloud_models(CLOUDS) if spec.retires_at is None or spec.retires_at > TODAY]
INPUTS = {
    MediaKind.IMAGE: Media(Format.PNG, 1024, 1024),
    MediaKind.VIDEO: Media(Format.MP4, 640, 360, 5.0),
    MediaKind.AUDIO: Media(Format.WAV, seconds=5.0),
}


#: Those that go on with something that another model has made, and what that is called.
GOES_ON = {
    "kling/video-extend": ("kling/kling-3.0", "video_id"),
    "luma/video-sound": ("luma/ray-2", "generation_id"),
    "luma/video-upscale": ("luma/ray-2", "generation_id"),
}
ELSEWHERE = {"volcengine/seedream-5-flash": "at BytePlus alone"}
AT_ONCE = 32


@dataclass(frozen=True)
class Caller:
    """Asks for one generation after another, and for their ends."""

    client: Client
    files: Mapping[MediaKind, Any]
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def complaint(self, spec: ModelSpec, operation: Operation) -> str | None:
        """What is wrong with what a model makes."""
        try:
            async with self.turns:
                generation = await self._made(spec, operation)
        except ClientError as error:  # one model must not hide the others
            return f"{spec.id} {operation}: {error}"
        if generation.status is not GenerationStatus.SUCCEEDED:
            return f"{spec.id} {operation}: {generation.status}: {generation.error}"
        kinds, expected = {asset.kind for asset in generation.outputs}, spec.operations[operation].output
        return None if kinds and (expected is None or kinds == {expected}) else f"{spec.id} {operation}: {kinds}"

    async def _made(self, spec: ModelSpec, operation: Operation) -> Generation:
        request = least(spec, operation, self.files)
        if spec.id in GOES_ON:
            first, name = GOES_ON[spec.id]
            before = await self._ended({"model": first, "operation": "text-to-video", "input": {"prompt": "a circle"}})
            (step,) = before.steps
            request["provider_options"] = {name: step.parameters.get(name, step.attempts[-1].provider_job_id)}
        return await self._ended(request)

    async def _ended(self, request: dict[str, Any]) -> Generation:
        key = str(uuid.uuid4())
        generation = await _answered(partial(self.client.submit, request, idempotency_key=key))
        while not generation.status.is_final and generation.status is not GenerationStatus.DEAD_LETTERED:
            await asyncio.sleep(0.5)
            generation = await _answered(partial(self.client.get, generation.id))
        return generation


async def _answered(ask: Callable[[], Awaitable[Generation]]) -> Generation:
    """Ask again where the API says "try again shortly", as its callers do: SQLite has one writer, and here are many."""
    while True:
        try:
            return await ask()
        except ClientError as error:
            if error.problem is None or error.problem.status != 503:
                raise
            await asyncio.sleep(0.5)


@pytest.mark.timeout(600)
async def test_every_model_of_every_cloud_makes_its_file(tmp_path: Path) -> None:
    (api,) = free_ports(1)
    environment = {"GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{api}"}
    async with (
        embedded_stack(tmp_path / "data", ports=Ports(api=api), environment=environment, simulate=True) as stack,
        Client(stack.api_url, stack.admin_key) as client,
        httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as world,
    ):
        await stack.stop("worker-gpu")  # no model runs here
        (await world.put("/settings", json={"seconds_per_job": 0.5})).raise_for_status()
        listed = {model.id for model in await client.models()}
        assert {spec.id for spec in SPECS if not spec.hidden} <= listed, "also beyond the first page"
        caller = Caller(client, {kind: {"asset": await _upload(client, tmp_path, one)} for kind, one in INPUTS.items()})
        tried = [(spec, operation) for spec in SPECS for operation in spec.operations if spec.id not in ELSEWHERE]
        complaints = await asyncio.gather(*(caller.complaint(spec, operation) for spec, operation in tried))
        jobs = (await world.get("/jobs")).json()["count"]
    wrong = [one for one in complaints if one is not None]
    assert not wrong, "\n".join(wrong)
    assert jobs == len(tried) + len(GOES_ON), "one paid job for each generation"
    made = {f"`{spec.id}`": [ELSEWHERE.get(spec.id) or ", ".join(spec.operations)] for spec in SPECS}
    hold("models", ["model", "made"], made, whole=True)


async def _upload(client: Client, folder: Path, media: Media) -> str:
    file = folder / f"input.{media.format}"
    file.write_bytes(render(media))
    return (await client.upload(file)).id
