"""Google: the simulated cloud."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from genpulse.providers.base import Job
from genpulse.providers.google import Google
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from tests.clouds import World
from tests.unit.google.shared import (
    KEY,
    VIDEO,
    call,
)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("v1/models/gemini-2.5-flash-image:generateContent", {"contents": []}, "contents"),
        (
            "v1/models/gemini-2.5-flash-image:generateContent",
            {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"imageConfig": {"imageSize": "3K"}}},
            "imageSize",
        ),
        ("v1/interactions", {"model": VIDEO, "input": "x", "response_format": {"type": "video", "x": 1}}, "x"),
        (
            "v1/interactions",
            {
                "model": VIDEO,
                "input": "x",
                "response_format": {"type": "video"},
                "generation_config": {"video_config": {"task": "edit"}},
            },
            "needs a video",
        ),
        (
            "v1beta1/publishers/google/models/veo-3.1-generate-001:predictLongRunning",
            {"instances": [{"prompt": "x"}], "parameters": {"resolution": "1080p", "durationSeconds": 4}},
            "8 seconds",
        ),
        ("v1beta1/publishers/google/models/imagen-4:predict", {"instances": [{"prompt": ""}]}, "prompt"),
    ],
)
async def test_a_wrong_body_is_refused(world: World[Google], path: str, body: dict[str, Any], words: str) -> None:
    answer = await world.http.post(f"http://sim/google/{path}", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "names", [{"inlineData": "mimeType"}, {"inline_data": "mime_type"}, {"inlineData": "mime_type"}]
)
async def test_both_manners_of_names_are_taken(world: World[Google], names: dict[str, str]) -> None:
    [(part, kind)] = names.items()
    picture = b64encode(render(Made(Format.PNG).small())).decode()
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}, {part: {kind: "image/png", "data": picture}}]}]}
    path = "v1beta/models/gemini-2.5-flash-image:generateContent"
    answer = await world.http.post(f"http://sim/google/{path}", json=body, headers=KEY)
    assert answer.status_code == 200


async def test_a_key_in_the_address_is_none(world: World[Google]) -> None:
    answer = await world.http.post("http://sim/google/v1/interactions?key=AIza-sim-key", json={})
    assert answer.status_code == 403


async def test_an_unknown_model_is_gone(world: World[Google]) -> None:
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    answer = await world.http.post("http://sim/google/v1/models/gone:generateContent", json=body, headers=KEY)
    assert answer.status_code == 404


async def test_an_interaction_is_deleted(world: World[Google]) -> None:
    job = await world.account().submit(call(VIDEO, options={"background": True}))
    known = job.id if isinstance(job, Job) else world.simulator.find_jobs(cloud="google")[0].id
    address = f"http://sim/google/v1/interactions/{known}"
    assert (await world.http.delete(address, headers=KEY)).status_code == 200
    assert (await world.http.get(address, headers=KEY)).status_code == 404
