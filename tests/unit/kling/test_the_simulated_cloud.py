"""Kling: the simulated cloud."""

from __future__ import annotations

from typing import Any

import pytest

from genpulse.errors import (
    ProviderRejected,
)
from genpulse.simulator.clouds import kling as simulated
from tests.unit.kling.shared import (
    SIDES,
    World,
    call,
)


async def test_an_external_id_is_good_once(world: World) -> None:
    await world.account().submit(call("kling-3.0"))
    with pytest.raises(ProviderRejected, match="1201"):
        await world.account().submit(call("kling-v3"))


async def test_an_account_has_slots_for_each_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated.Kling, "slots", 1)
    body = {"prompt": "x"}
    assert (await world.post("/text-to-video/kling-3.0", body)).status_code == 200
    full = await world.post("/text-to-video/kling-3.0", body)
    assert (full.status_code, full.json()["code"]) == (429, 1303)
    assert full.json()["message"] == "parallel task over resource pack limit"
    assert (await world.post("/text-to-video/kling-2.6", body)).status_code == 200
    two = {"model_name": "kling-v3", "prompt": "x", "n": 2}
    assert (await world.post("/v1/images/generations", two)).json()["code"] == 1303
    world.clock.advance(3)
    assert (await world.post("/text-to-video/kling-3.0", body)).status_code == 200


async def test_tasks_are_asked_for_in_batches_and_listed(world: World) -> None:
    made = [(await world.post("/text-to-video/kling-3.0", {"prompt": "x"})).json()["data"]["id"] for _ in range(3)]
    older = (await world.post("/v1/videos/text2video", {"model_name": "kling-v3", "prompt": "x"})).json()["data"]
    assert [one["id"] for one in (await world.get(f"/tasks?task_ids={made[0]},none,{made[1]}"))["data"]] == made[:2]
    assert (await world.get("/tasks?external_task_ids=none"))["data"] == []
    assert (await world.get("/tasks"))["message"] == "task_ids or external_task_ids is required"
    page = (await world.post("/tasks", {"limit": 2})).json()["data"]
    assert (page["count"], page["has_more"], [one["id"] for one in page["result"]]) == (2, True, made[:0:-1])
    rest = (await world.post("/tasks", {"limit": 2, "cursor": page["next_cursor"]})).json()["data"]
    assert (rest["count"], rest["has_more"]) == (1, False)
    filters = [{"key": "status", "values": ["failed"]}]
    assert (await world.post("/tasks", {"filters": filters})).json()["data"] == {"count": 0, "has_more": False}
    assert (await world.post("/tasks", {"end_time": "1"})).json()["data"]["count"] == 0
    assert (await world.post("/tasks", {"limit": 501})).json()["code"] == 1201
    listed = (await world.get("/v1/videos/text2video?pageNum=1&pageSize=30"))["data"]
    assert [one["task_id"] for one in listed] == [older["task_id"]]
    assert (await world.get("/v1/videos/image2video"))["data"] == []
    assert (await world.get("/v1/videos/text2video?pageSize=501"))["code"] == 1201
    assert (await world.get(f"/v1/videos/image2video/{older['task_id']}"))["code"] == 1203


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/text-to-video/kling-9", {"prompt": "x"}, 1203),
        ("/text-to-sound/kling-3.0", {"prompt": "x"}, 1203),
        ("/v1/videos/none", {}, 1203),
        ("/v1/videos/text2video", {"model_name": "kling-v1", "prompt": "x"}, 1203),
        ("/text-to-video/kling-3.0", {}, 1201),
        ("/text-to-video/kling-3.0", {"prompt": "x" * 3073}, 1201),
        ("/text-to-video/kling-3.0", {"prompt": "x", "settings": {"duration": "5"}}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "prompt", "text": "x"}]}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "last_frame", "url": "AAAA"}]}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "first_frame"}]}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "first_frame", "url": "data:image/png;base64,A"}]}, 1201),
        ("/omni-video/kling-3.0-omni", {"contents": [{"type": "prompt", "text": "x"}]}, 1201),
        ("/omni-video/kling-3.0-omni", {"contents": [{"type": "base_video", "url": "AAAA"}]}, 1201),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "base_video", "url": "https://v"}], "settings": {"audio": "native"}},
            1201,
        ),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "refer_image", "url": "AAAA"}] * 8, "settings": {"aspect_ratio": "1:1"}},
            1201,
        ),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "first_frame", "url": "AAAA"}] + [{"type": "element"}] * 4},
            1201,
        ),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "feature_video", "url": "https://v"}], "settings": {"audio": "original"}},
            1201,
        ),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "video", "url": "https://v"}]}, 1201),
        ("/motion-control/kling-3.0", {"contents": [{"type": "image", "url": "AAAA"}]}, 1201),
        (
            "/motion-control/kling-3.0",
            {
                "contents": [{"type": "image", "url": "AAAA"}, {"type": "video", "url": "AAAA"}],
                "settings": {"character_orientation": "image"},
            },
            1201,
        ),
        ("/v1/videos/motion-control", {"model_name": "kling-v3", "image_url": "AAAA", "video_url": "https://v"}, 1201),
        ("/v1/videos/avatar/image2video", {"image": "AAAA"}, 1201),
        ("/v1/audio/video-to-audio", {"sound_effect_prompt": "rain"}, 1201),
        ("/v1/audio/text-to-audio", {"prompt": "rain", "duration": 2}, 1201),
        ("/v1/audio/tts", {"text": "x" * 1001, "voice_id": "v", "voice_language": "en"}, 1201),
        ("/v1/images/multi-image2image", {"model_name": "kling-v2-1", "subject_image_list": []}, 1201),
        (
            "/v1/images/editing/expand",
            {"image": "AAAA", "prompt": "x"} | dict.fromkeys([f"{s}_expansion_ratio" for s in SIDES], 0.5),
            1201,
        ),
        ("/v1/images/kolors-virtual-try-on", {"model_name": "kolors-virtual-try-on-v1", "human_image": "AAAA"}, 1201),
        ("/v1/videos/text2video", {"model_name": "kling-v3", "prompt": "x", "duration": 5}, 1201),
        ("/v1/videos/image2video", {"model_name": "kling-v3"}, 1201),
        ("/v1/videos/video-extend", {"video_id": "none"}, 1201),
        ("/v1/videos/effects", {"effect_scene": "squish", "input": {}}, 1201),
        ("/v1/videos/identify-face", {}, 1201),
        ("/v1/videos/identify-face", {"video_id": "none"}, 1201),
        ("/v1/videos/advanced-lip-sync", {"session_id": "s", "face_choose": [{"face_id": "0"}]}, 1201),
        (
            "/v1/videos/advanced-lip-sync",
            {"session_id": "s", "face_choose": [{"face_id": "0", "audio_id": "1"}]},
            1201,
        ),
        (
            "/v1/images/generations",
            {"model_name": "kling-v3", "prompt": "x", "image": "AAAA", "negative_prompt": "y"},
            1201,
        ),
        ("/v1/images/generations", {"model_name": "kling-v3", "prompt": "x", "resolution": "4k"}, 1201),
        ("/v1/images/generations", {"model_name": "kling-v3", "prompt": "x", "n": 10}, 1201),
    ],
)
async def test_wrong_calls_are_refused(world: World, path: str, body: dict[str, Any], code: int) -> None:
    answer = await world.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (404 if code == 1203 else 400, code)
    assert world.simulator.jobs == {}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"type": "rate_limited"}, 429, 1302),
        ({"type": "server_error", "status": 500}, 500, 5000),
        ({"type": "server_error", "status": 503}, 503, 5001),
        ({"type": "server_error", "status": 504}, 504, 5002),
    ],
)
async def test_faults_are_in_the_cloud_s_words(world: World, fault: dict[str, Any], status: int, code: int) -> None:
    world.fault(**fault)
    answer = await world.post("/text-to-video/kling-3.0", {"prompt": "x"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_files_are_kept_for_thirty_days(world: World) -> None:
    state = await world.made(call("kling-3.0"))
    world.clock.advance(30 * 24 * 3600)
    assert (await world.http.get(str(state.outputs[0].url))).status_code == 403


async def test_an_account_without_packs_has_no_list_of_them(world: World) -> None:
    assert (await world.get("/account/costs?start_time=1&end_time=2"))["data"] == {"code": 0, "msg": "success"}
    assert (await world.get("/account/costs"))["code"] == 1201
