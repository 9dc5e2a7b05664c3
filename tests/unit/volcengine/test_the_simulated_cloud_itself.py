"""Volcengine: the simulated cloud itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from genpulse.errors import (
    JobMissing,
)
from genpulse.providers.base import Job
from genpulse.providers.signatures import SignedAuth, VolcengineSigner
from genpulse.providers.volcengine import Volcengine
from genpulse.schemas.states import Operation
from genpulse.simulator.clouds.volcengine import Volcengine as Simulated
from tests.clouds import World, simulated
from tests.unit.volcengine.shared import (
    BEARER,
    IMAGES,
    SEEDREAM,
    TASKS,
    call_of,
    video,
)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "x"}, "MissingParameter"),
        ({"model": "doubao-seededit-3-0-i2i-250628", "prompt": "x"}, "InvalidEndpointOrModel.NotFound"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "size": "1024x1024"}, "InvalidParameter"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "size": "3K"}, "InvalidParameter"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "image": ""}, "InvalidImageURL.EmptyURL"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "image": "a.png"}, "InvalidImageURL.InvalidFormat"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "image": ["https://a/b"] * 15}, "InvalidParameter"),
    ],
)
async def test_the_simulator_refuses_wrong_images(world: World[Volcengine], body: dict[str, Any], code: str) -> None:
    answer = await world.http.post(IMAGES, headers=BEARER, json=body)
    assert answer.json()["error"]["code"] == code
    assert not world.simulator.find_jobs()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "doubao-seedance-1-5-pro-251215"}, "InvalidEndpointOrModel.NotFound"),
        ({"resolution": "8k"}, "InvalidParameter"),
        ({"duration": 3}, "InvalidParameter"),
        ({"frames": 30}, "InvalidParameter"),
        ({"safety_identifier": "x" * 65}, "InvalidParameter"),
        ({"content": []}, "InvalidParameter"),
        ({"model": "doubao-seedance-1-0-pro-250528", "generate_audio": True}, "InvalidParameter.UnsupportedParameter"),
        ({"model": "doubao-seedance-1-0-pro-250528", "ratio": "adaptive"}, "InvalidParameter"),
        ({"draft": True}, "InvalidParameter.UnsupportedParameter"),
        ({"roles": ["reference_image"] * 10}, "InvalidParameter"),
        (
            {"model": "doubao-seedance-2-5-260628", "omni_reference_task_type": "edit", "ratio": "1:1"},
            "InvalidParameter",
        ),
        ({"roles": ["last_frame"]}, "InvalidParameter"),
        ({"roles": ["first_frame", "reference_image"]}, "InvalidParameter"),
        (
            {"content": [{"type": "video_url", "video_url": {"url": "data:x"}, "role": "reference_video"}]},
            "InvalidParameter",
        ),
    ],
)
async def test_the_simulator_refuses_wrong_tasks(world: World[Volcengine], changes: dict[str, Any], code: str) -> None:
    link = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    body = {"model": "doubao-seedance-2-0-260128", "content": [{"type": "text", "text": "x"}]} | changes
    body["content"] = body["content"] + [link | {"role": role} for role in body.pop("roles", [])]
    answer = await world.http.post(TASKS, headers=BEARER, json=body)
    assert answer.json()["error"]["code"] == code


async def test_the_simulator_takes_null_for_absent_and_endpoints_for_models(world: World[Volcengine]) -> None:
    body = {"model": "ep-20260101-x", "prompt": "x", "image": None, "size": "2K", "seed": None, "stream": None}
    assert (await world.http.post(IMAGES, headers=BEARER, json=body)).status_code == 200


async def test_the_simulator_streams_pictures(world: World[Volcengine]) -> None:
    body = {"model": "doubao-seedream-4-0-250828", "prompt": "x", "size": "2K", "stream": True}
    text = (await world.http.post(IMAGES, headers=BEARER, json=body)).text
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert [json.loads(event)["type"] for event in events[:-1]] == [
        "image_generation.partial_succeeded",
        "image_generation.completed",
    ]
    assert events[-1] == "[DONE]"


async def test_the_simulator_lists_and_deletes_tasks(world: World[Volcengine]) -> None:
    ids = []
    for model in ("seedance-2", "seedance-2-fast"):
        job = await world.account().submit(call_of(model, Operation.TEXT_TO_VIDEO))
        assert isinstance(job, Job)
        ids.append(job.id)

    async def listed(query: str) -> Any:
        return (await world.http.get(f"{TASKS}?{query}", headers=BEARER)).json()

    assert [one["id"] for one in (await listed(""))["items"]] == ids[::-1]
    assert (await listed("page_size=1&page_num=2"))["items"][0]["id"] == ids[0]
    assert (await listed(f"filter.task_ids={ids[0]}&filter.task_ids=x"))["total"] == 1
    assert (await listed("filter.status=failed"))["total"] == 0
    assert (await listed("page_size=501"))["error"]["code"] == "InvalidParameter"
    assert (await world.http.delete(f"{TASKS}/{ids[0]}", headers=BEARER)).json() == {}
    assert (await world.http.get(f"{TASKS}/{ids[0]}", headers=BEARER)).json()["error"]["code"] == "NotFound"


async def test_the_simulator_refuses_to_cancel_what_runs() -> None:
    async with simulated(Simulated, Volcengine, seconds=4) as world:
        job = await world.account().submit(video())
        assert isinstance(job, Job)
        world.clock.advance(2)
        answer = await world.http.delete(f"{TASKS}/{job.id}", headers=BEARER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "TaskRunningCannotCancel")


async def act(world: World[Volcengine], action: str, body: dict[str, Any]) -> Any:
    """Ask Visual something, signed."""
    signer = VolcengineSigner(access_key="AKLTsim", secret_key=SecretStr("sim-volcengine-secret"))
    auth = SignedAuth(signer, lambda: datetime.fromtimestamp(world.clock.now(), UTC))
    url = f"http://sim/volcengine/?Action={action}&Version=2022-08-31"
    return (await world.http.post(url, json=body, auth=auth)).json()


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x"},
        {"req_key": "jimeng_unknown", "prompt": "x"},
        {"req_key": "jimeng_t2i_v40"},
        {"req_key": "jimeng_t2i_v40", "prompt": "x" * 801},
        {"req_key": "jimeng_i2v_first_v30", "prompt": "x"},
        {"req_key": "jimeng_t2v_v30", "prompt": "x", "frames": 122},
    ],
)
async def test_the_simulator_refuses_what_jimeng_does_not_take(world: World[Volcengine], body: dict[str, Any]) -> None:
    assert (await act(world, "CVSync2AsyncSubmitTask", body))["code"] == 50215


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("CVProcess", {"req_key": "lens_nnsr2_pic_common", "image_urls": ["https://a/b"]}),
        ("CVProcess", {"req_key": "lens_lqir", "image_urls": ["https://a/b"]}),
        ("EnhancePhotoV2", {"req_key": "lens_lqir"}),
    ],
)
async def test_the_simulator_refuses_what_cannot_be_enlarged(
    world: World[Volcengine], action: str, body: dict[str, Any]
) -> None:
    assert (await act(world, action, body))["code"] == 50215


async def test_the_simulator_keeps_jimeng_s_tasks_for_half_a_day(world: World[Volcengine]) -> None:
    sent = await act(world, "CVSubmitTask", {"req_key": "jimeng_t2i_v40", "prompt": "x"})
    asked = {"req_key": "jimeng_t2i_v40", "task_id": sent["data"]["task_id"]}
    for req_json in ({}, {"req_json": "{"}):
        data = (await act(world, "CVGetResult", asked | req_json))["data"]
        assert (data["image_urls"], len(data["binary_data_base64"])) == (None, 1)
    other = await act(world, "CVGetResult", asked | {"req_key": "jimeng_t2v_v30"})
    assert other["data"] == {"status": "not_found"}
    world.clock.advance(13 * 3600)
    assert (await act(world, "CVGetResult", asked))["data"] == {"status": "expired"}


async def test_the_gateway_knows_its_actions_and_the_time(world: World[Volcengine]) -> None:
    unknown = await act(world, "CVNothing", {})
    assert unknown["ResponseMetadata"]["Error"]["Code"] == "InvalidActionOrVersion"
    proof = "HMAC-SHA256 Credential=AKLTsim/20260101/cn-north-1/cv/request, SignedHeaders=host, Signature=0"
    headers = {"Authorization": proof, "X-Date": "soon"}
    answer = await world.http.post("http://sim/volcengine/?Action=CVProcess", headers=headers)
    assert answer.json()["ResponseMetadata"]["Error"]["Code"] == "InvalidTimestamp"


async def test_a_picture_is_no_task(world: World[Volcengine]) -> None:
    await world.account().submit(call_of(SEEDREAM))
    (job,) = world.simulator.find_jobs()
    with pytest.raises(JobMissing):
        await world.account().poll(Job(id=job.id), video())
