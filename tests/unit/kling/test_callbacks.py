"""Kling: callbacks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from genpulse.errors import (
    Forbidden,
)
from genpulse.providers.kling import Kling
from genpulse.simulator.clouds import kling as simulated
from tests.unit.kling.shared import (
    BOTH,
    KEY,
    a_world,
    call,
)


@BOTH
async def test_callbacks_name_the_task_and_are_signed(model: str) -> None:
    told: list[tuple[dict[str, str], bytes]] = []

    async def take(request: Request) -> Response:
        told.append((dict(request.headers), await request.body()))
        return Response()

    receiver = httpx.ASGITransport(Starlette(routes=[Route("/hook", take, methods=["POST"])]))
    async with a_world(receiver) as world:
        account = world.account()
        await account.submit(call(model, callback_url="http://receiver/hook"))
        for count in (1, 2):
            world.clock.advance(1.5)
            async with asyncio.timeout(5):
                while len(told) < count:  # noqa: ASYNC110 - facts have no events
                    await asyncio.sleep(0.005)
        now = datetime.fromtimestamp(world.clock.now(), UTC)
    knowing = Kling("", replace(KEY, webhook_secret=simulated.Kling.credentials.webhook_secret), world.http)
    for headers, body in told:
        await account.verify_callback(headers, body + b" ", now=now)  # without a secret there is nothing to check
        await knowing.verify_callback(headers, body, now=now)
        with pytest.raises(Forbidden):
            await knowing.verify_callback(headers, body + b" ", now=now)
    bodies = [json.loads(body) for _, body in told]
    done = ["processing", "succeed"] if model == "kling-v3" else ["processing", "succeeded"]
    assert [body.get("task_status") or body.get("status") for body in bodies] == done
