"""Baidu Cloud: the simulated cloud."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from genpulse.errors import (
    JobMissing,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.baidu import Baidu
from genpulse.providers.signatures import BaiduSigner
from genpulse.simulator.clouds.baidu.signature import access_token
from genpulse.simulator.credentials import BAIDU
from tests.clouds import Files, World
from tests.unit.baidu.shared import (
    ADVANCED,
    BASIC,
    EXTREME,
    MUSE,
    PICTURE,
    PICTURE_URL,
    VOD,
    K,
    least,
    started,
)

BEARER = {"Authorization": f"Bearer {BAIDU.api_key}"}


async def posted(world: World[Baidu], path: str, body: object, **more: Any) -> Any:
    return (await world.http.post(f"{world.base_url}{path}", json=body, headers=BEARER, **more)).json()


async def signed(world: World[Baidu], method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
    signer = BaiduSigner(access_key=str(BAIDU.access_key), secret_key=SecretStr(str(BAIDU.secret_key)), **more)
    request = world.http.build_request(method, f"{world.base_url}{path}", json=body)
    request.headers.update(signer.sign(request, now=datetime.fromtimestamp(world.clock.now(), UTC)))
    return await world.http.send(request)


IMAGE = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
Q, M, H = "/v2/images/generations", "/video/generations", "/beta/video/generations/qianfan-video"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (Q, {"model": "qwen-image"}, "invalid_image_genration_prompt"),
        (Q, {"model": "qwen-image", "prompt": "x" * 801}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "n": 2}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "steps": 51}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "guidance": 20.5}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "size": "256x256"}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "colour": 1}, "invalid_argument"),
        (Q, {"model": "flux.1-schnell", "prompt": "x" * 513}, "invalid_argument"),
        (Q, {"model": "irag-1.0", "prompt": "x"}, "invalid_model"),
        (Q, [], "malformed_json"),
        ("/v2/images/edits", {"model": "qwen-image-edit", "prompt": "x", "image": []}, "invalid_argument"),
        ("/v2/images/edits", {"model": "qwen-image-edit", "prompt": "x", "image": "AAAA"}, "invalid_argument"),
        (
            "/v2/images/edits",
            {"model": "qwen-image-edit", "prompt": "x", "image": [PICTURE_URL] * 4},
            "invalid_argument",
        ),
        (M, {"model": "musesteamer-3", "content": [IMAGE]}, "invalid_model"),
        (M, {"model": MUSE, "content": [{"type": "text", "text": "x"}]}, "invalid_video_generation_argument"),
        (M, {"model": MUSE, "content": [IMAGE, IMAGE]}, "invalid_video_generation_argument"),
        (M, {"model": MUSE, "content": [IMAGE], "duration": 10}, "invalid_video_generation_argument"),
        (M, {"model": MUSE, "content": [IMAGE], "colour": 1}, "invalid_video_generation_argument"),
        (
            M,
            {"model": "musesteamer-2.0-pro-i2v", "content": [IMAGE], "prompt_extend": True},
            "invalid_video_generation_argument",
        ),
        (
            H,
            {
                "model": "KO1",
                "type": "omni-video",
                "model_parameters": {"prompt": "x", "image_list": [{"image_url": PICTURE_URL, "type": "end_frame"}]},
            },
            "invalid_video_generation_argument",
        ),
        *(
            (
                M,
                {"model": MUSE, "content": [{"type": "image_url", "image_url": {"url": url}}]},
                "invalid_video_generation_argument",
            )
            for url in ("data:text/plain;base64,AAAA", "???", "")
        ),
        (H, {"model": "K1", "type": "text2video", "model_parameters": {}}, "invalid_video_generation_argument"),
        (H, {"model": "K9", "type": "text2video", "model_parameters": {"prompt": "x"}}, "invalid_model"),
        (H, {"model": "K1", "type": "img2video", "model_parameters": {}}, "invalid_video_generation_argument"),
        (
            H,
            {"model": "K1", "type": "text2video", "model_parameters": {"prompt": "x", "sound": "on"}},
            "invalid_video_generation_argument",
        ),
        (
            H,
            {"model": "K1", "type": "img2video", "model_parameters": {"image": "data:image/png;base64,AAAA"}},
            "invalid_video_generation_argument",
        ),
        (
            H,
            {"model": "VQ3-Pro", "type": "img2video", "model_parameters": {"images": ["AAAA"]}},
            "invalid_video_generation_argument",
        ),
    ],
)
async def test_bodies_of_qianfan_are_held_against_the_rules(
    world: World[Baidu], path: str, body: object, code: str
) -> None:
    answer = await posted(world, path, body)
    assert answer["error"]["code"] == code
    assert world.simulator.find_jobs() == []


async def test_any_other_size_of_the_air_model_is_the_usual_one(world: World[Baidu]) -> None:
    body = {"model": "musesteamer-air-image", "prompt": "x", "size": "999x999"}
    assert (await posted(world, "/v2/musesteamer/images/generations", body))["data"]
    assert (world.simulator.find_jobs()[-1].media[0].width, world.simulator.find_jobs()[-1].media[0].height) == (
        1024,
        1024,
    )


async def test_the_list_of_videos_has_those_of_a_week(world: World[Baidu], files: Files) -> None:
    old = await started(world.account(), least(MUSE, files))
    world.clock.advance(7 * 24 * 3600 + 1)
    new = await started(world.account(), least(MUSE, files))
    listed = (await world.http.get(f"{world.base_url}{M}/list", headers=BEARER)).json()
    assert [one["task_id"] for one in listed["items"]] == [new.id] != [old.id]


async def test_a_hosted_task_needs_its_model(world: World[Baidu], files: Files) -> None:
    job = await started(world.account(), least(K, files))
    answer = await world.http.get(f"{world.base_url}{H}", params={"task_id": job.id}, headers=BEARER)
    assert answer.json()["error"]["code"] == "invalid_model"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "VQ2", "modelVQ2TaskInput": {"prompt": "x"}}, 200),
        ({"model": "VQ2", "modelVQ1TaskInput": {"prompt": "x"}}, 400),
        ({"model": "VQ9", "modelVQ9TaskInput": {"prompt": "x"}}, 400),
        ({"model": "VQ2", "modelVQ2TaskInput": {}}, 400),
        ({"model": "VQ2", "modelVQ2TaskInput": {"prompt": "x", "colour": 1}}, 400),
    ],
)
async def test_bodies_of_vod_are_held_against_the_rules(world: World[Baidu], body: object, status: int) -> None:
    assert (await signed(world, "POST", "/v2/aigc/text_to_video", body)).status_code == status


async def test_a_picture_in_motion_needs_a_picture(world: World[Baidu]) -> None:
    body = {"model": "VQ2", "modelVQ2TaskInput": {"prompt": "x"}}
    assert (await signed(world, "POST", "/v2/aigc/image_to_video", body)).status_code == 400


async def test_paths_and_keys_that_are_not_known(world: World[Baidu]) -> None:
    assert (await world.http.get(f"{world.base_url}/v2/images", headers=BEARER)).status_code == 404
    path = "/rpc/2.0/cloud_hub/v1/bce/aip/ernievilg/v1/getImgv2"
    for key, code in ((f"Bearer {BAIDU.api_key}", 216100), ("Bearer x", 14)):
        headers = {"X-Appbuilder-Authorization": key}
        answer = await world.http.post(f"{world.base_url}{path}", json={"task_id": "1"}, headers=headers)
        assert answer.json()["error_code"] == code


async def test_old_tasks_of_vod_are_gone(world: World[Baidu], files: Files) -> None:
    job = await started(world.account(), least(VOD, files))
    assert (await signed(world, "GET", f"/v2/tasks/{job.id}")).json()["status"] == "FINISHED"
    world.clock.advance(7 * 24 * 3600 + 1)
    assert (await signed(world, "GET", f"/v2/tasks/{job.id}")).status_code == 404


async def test_clocks_and_signatures_are_checked(world: World[Baidu]) -> None:
    signer = BaiduSigner(access_key=str(BAIDU.access_key), secret_key=SecretStr(str(BAIDU.secret_key)))

    def signed_at(shift: float) -> httpx.Request:
        request = world.http.build_request("GET", f"{world.base_url}/v2/tasks/1")
        moment = datetime.fromtimestamp(world.clock.now() + shift, UTC)
        request.headers.update(signer.sign(request, now=moment))
        return request

    for shift, code in ((-1900, "RequestExpired"), (1000, "RequestExpired"), (-1000, "NoSuchTask")):
        assert (await world.http.send(signed_at(shift))).json()["code"] == code
    moved = signed_at(0)
    moved.url = moved.url.copy_with(path="/baidu/v2/tasks/2")
    assert (await world.http.send(moved)).json()["code"] == "SignatureDoesNotMatch"
    proof = "0" * 64
    for wrong, code in (
        ("", "InvalidHTTPAuthHeader"),
        ("Bearer x", "InvalidHTTPAuthHeader"),
        (f"bce-auth-v1/{BAIDU.access_key}/yesterday/1800/host/{proof}", "InvalidHTTPAuthHeader"),
        (f"bce-auth-v1/AK/2026-01-01T00:00:00Z/1800/host/{proof}", "InvalidAccessKeyId"),
    ):
        answer = await world.http.get(f"{world.base_url}/v2/tasks/1", headers={"Authorization": wrong})
        assert answer.json()["code"] == code


async def test_a_short_lived_key_of_qianfan(world: World[Baidu]) -> None:
    made = (await signed(world, "GET", "/v1/BCE-BEARER/token?expireInSeconds=60")).json()
    assert (made["status"], made["expireTime"] > made["createTime"]) == ("enable", True)
    body, headers = {"model": "qwen-image", "prompt": "x"}, {"Authorization": f"Bearer {made['token']}"}
    assert (await world.http.post(f"{world.base_url}{Q}", json=body, headers=headers)).status_code == 200
    world.clock.advance(61)
    assert (await world.http.post(f"{world.base_url}{Q}", json=body, headers=headers)).status_code == 401
    assert (await signed(world, "GET", "/v1/BCE-BEARER/token")).status_code == 400


async def test_tokens_of_the_open_platform(world: World[Baidu]) -> None:
    query = {"grant_type": "client_credentials", "client_id": "sim-app-key", "client_secret": "sim-app-secret"}
    made = (await world.http.get(f"{world.base_url}/oauth/2.0/token", params=query)).json()
    assert "brain_all_scope" in made["scope"].split()
    answer = await world.http.get(f"{world.base_url}/oauth/2.0/token", params=query | {"grant_type": "x"})
    assert answer.json()["error"] == "unsupported_grant_type"
    for token, code in ((made["access_token"], 216200), ("24.x", 110), (access_token(int(time.time()) - 9), 111)):
        assert (await pressed(world, {}, token))["error_code"] == code


async def pressed(world: World[Baidu], form: dict[str, str], token: str | None = None, action: str = "") -> Any:
    """The answer to a form."""
    query = {"access_token": token or access_token(int(world.clock.now()) + 60)}
    path = f"/rest/2.0/image-process/v1/{action or 'image_quality_enhance'}"
    return (await world.http.post(f"{world.base_url}{path}", data=form, params=query)).json()


def _drawn(width: int, height: int) -> str:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("action", "image", "code"),
    [
        ("", "", 216200),
        ("", "AAAA", 216201),
        ("", "é", 216201),
        ("", "A" * (4 * 2**20 + 4), 216202),
        ("", _drawn(2001, 10), 216202),
        ("", _drawn(2000, 10), None),
        ("dehaze", _drawn(9, 9), 216202),
        ("dehaze", _drawn(50, 10), 216202),
        ("dehaze", _drawn(40, 10), None),
    ],
)
async def test_pictures_to_be_made_clearer_have_limits(
    world: World[Baidu], action: str, image: str, code: int | None
) -> None:
    assert (await pressed(world, {"image": image}, action=action)).get("error_code") == code


async def test_noise_is_taken_out_to_a_degree(world: World[Baidu]) -> None:
    assert (await pressed(world, {"image": _drawn(64, 64)}, action="denoise"))["error_code"] == 216100


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/rpc/2.0/wenxin/v1/basic/textToImage", {"text": "x" * 191, "resolution": "512*512"}, 282004),
        ("/rpc/2.0/wenxin/v1/basic/textToImage", {"text": "x", "resolution": "512x512"}, 282004),
        ("/rpc/2.0/wenxin/v1/basic/textToImage", {"text": "x", "resolution": "512*512", "num": 7}, 282004),
        ("/rpc/2.0/ernievilg/v1/txt2imgv2", {"prompt": "x" * 201, "width": 512, "height": 512}, 282004),
        ("/rpc/2.0/ernievilg/v1/txt2imgv2", {"prompt": "x", "width": 512, "height": 513}, 282004),
        ("/rpc/2.0/ernievilg/v1/txt2imgv2", {"prompt": "x", "width": 512, "height": 512, "image_num": 9}, 282004),
        (
            "/rpc/2.0/ernievilg/v1/txt2imgv2",
            {"prompt": "x", "width": 512, "height": 512, "image": "AAAA", "url": PICTURE_URL},
            282004,
        ),
        ("/rpc/2.0/ernievilg/v1/getImgv2", {"task_id": "1"}, 216100),
        ("/rpc/2.0/ernievilg/v1/other", {}, 3),
    ],
)
async def test_bodies_of_paintings_are_held_against_the_rules(
    world: World[Baidu], path: str, body: object, code: int
) -> None:
    query = {"access_token": access_token(int(world.clock.now()) + 60)}
    answer = await world.http.post(f"{world.base_url}{path}", json=body, params=query)
    assert (answer.status_code, answer.json()["error_code"]) == (200, code)


async def test_a_task_is_known_where_it_was_made(world: World[Baidu], files: Files) -> None:
    account = world.account()
    job = await started(account, least(ADVANCED, files))
    for other in (EXTREME, BASIC, VOD, MUSE):
        with pytest.raises(JobMissing):
            await account.poll(job, least(other, files))


async def test_errors_are_worded_as_each_platform_does(world: World[Baidu], files: Files) -> None:
    for fault in ({"type": "rate_limited"}, {"type": "server_error"}):
        world.fault(**fault, times=4)
        for model in (PICTURE, VOD, ADVANCED):
            error = await world.refused(least(model, files), world.account(**_without_application()))
            assert type(error) is (ProviderThrottled if fault["type"] == "rate_limited" else ProviderUnavailable)
    assert urlsplit(world.base_url).path == "/baidu"


def _without_application() -> dict[str, Any]:
    return {name: value for name, value in asdict(BAIDU).items() if name != "options"}
