"""Tencent Cloud: callbacks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from genpulse.providers.base import Job
from genpulse.providers.tencent import Tencent
from genpulse.simulator.clouds.tencent import Tencent as Simulated
from tests.clouds import Files, World, simulated
from tests.unit.tencent.shared import (
    HUB,
    JOB,
    VOD,
    least,
)


@pytest.mark.parametrize(("model", "field", "word"), [(JOB, "Status", "DONE"), ("vclm-vidu-q2", "status", "success")])
async def test_kling_and_vidu_call_back(files: Files, model: str, field: str, word: str) -> None:
    told: list[Any] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append(json.loads(request.content))
        return httpx.Response(200)

    async with simulated(Simulated, Tencent, callbacks=httpx.MockTransport(receive)) as world:
        job = await world.account().submit(least(model, files, callback_url="https://us.example/x"))
        assert isinstance(job, Job)
        while not (told and told[-1].get(field) == word):
            await world.http.get("http://sim/tencent/media/none/none")
    assert world.sent()["CallbackUrl"] == "https://us.example/x"
    assert told[-1]["JobId"] == job.id


@pytest.mark.parametrize("model", [VOD, HUB, "vclm-image-to-video", "vclm-human-actor"])
async def test_the_others_are_given_no_address(world: World[Tencent], files: Files, model: str) -> None:
    await world.account().submit(least(model, files, callback_url="https://us.example/x"))
    assert "us.example" not in json.dumps(world.sent())
