"""Submitting: what is accepted and kept, what is refused and why, and what a repeated key does."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from api.services import Services
from genpulse.models import AssetRow, GenerationRow, StepRow
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import MediaKind
from tests.integration.conftest import CHAIN, KEY, SHAPE, assert_problem, plant_asset, png, submit


def shape(**given: Any) -> dict[str, Any]:
    return SHAPE | {"input": SHAPE["input"] | given}  # type: ignore[operator]


def data_url(content: bytes, media_type: str = "image/png") -> dict[str, str]:
    return {"data": f"data:{media_type};base64,{base64.b64encode(content).decode()}"}


def motion(image: object, **rest: Any) -> dict[str, Any]:
    return {"model": "local/motion", "operation": "image-to-video", "input": {"image": image}, **rest}


async def count(services: Services, table: type) -> int:
    async with services.database.reading() as session:
        return int((await session.execute(select(func.count()).select_from(table))).scalar_one())


# Accepted -----------------------------------------------------------------------------------------------------------


async def test_a_submission_is_answered_whole_and_kept(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/generations", json=SHAPE | {"metadata": {"order": "42"}, "priority": "high"})
    assert answer.status_code == 202
    generation = answer.json()
    Generation.model_validate(generation)
    url = f"http://api.test/v1/generations/{generation['id']}"
    assert answer.headers["location"] == url
    assert int(answer.headers["retry-after"]) > 0
    assert generation["links"] == {
        "self": url,
        "events": f"{url}/events",
        "cancel": f"{url}/cancel",
        "temporal": f"http://ui.test/namespaces/default/workflows/{generation['id']}",
    }
    assert (generation["status"], generation["progress"], generation["outputs"]) == ("queued", 0, [])
    assert (generation["metadata"], generation["priority"]) == ({"order": "42"}, "high")
    assert (await api.get(url)).json() == generation


async def test_a_chain_shows_its_steps_and_the_model_that_was_chosen(api: httpx.AsyncClient) -> None:
    generation = await submit(api, CHAIN)
    assert [(step["id"], step["model"]) for step in generation["steps"]] == [
        ("still", "local/shapes"),
        ("clip", "local/motion"),
        ("hd", "local/upscale"),
    ]


async def test_an_adaption_is_a_step_and_is_told(api: httpx.AsyncClient) -> None:
    generation = await submit(
        api, {"model": "local/motion", "operation": "text-to-video", "input": {"prompt": "a red circle moves right"}}
    )
    assert [step["operation"] for step in generation["steps"]] == ["text-to-image", "image-to-video"]
    assert [one["kind"] for one in generation["adaptions"]] == ["text-to-image-before"]


async def test_without_adaption_it_is_refused_and_says_what_would_be_added(api: httpx.AsyncClient) -> None:
    body = {"model": "local/motion", "operation": "text-to-video", "input": {"prompt": "x"}, "adapt": False}
    problem = assert_problem(await api.post("/v1/generations", json=body), 422, "adaption_required", "/model")
    assert problem["details"]["adaption"]["kind"] == "text-to-image-before"


async def test_links_begin_with_the_public_url(api: httpx.AsyncClient, services: Services) -> None:
    answer = await api.post("/v1/generations", json=SHAPE, headers={"Host": "elsewhere.test"})
    assert answer.json()["links"]["self"].startswith("http://elsewhere.test/v1/")


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Bearer {KEY}x"},
    ],
)
async def test_a_stranger_is_refused_before_the_body_is_read(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await api.post("/v1/generations", content=b"{" * 1000, headers=headers)
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_scheme_may_be_written_anyhow(api: httpx.AsyncClient) -> None:
    assert (await api.get("/v1/generations", headers={"Authorization": f"bearer  {KEY}"})).is_success


# Bodies -------------------------------------------------------------------------------------------------------------

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"model": NaN}', b'{"model": "\xff"}', b'{"model": "\\ud800"}', b"[" * 5000, b"[1,]"],
)
async def test_what_is_no_json_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    assert_problem(await api.post("/v1/generations", content=body, headers=JSON), 400, "malformed_request")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_another_media_type_is_refused(api: httpx.AsyncClient, media_type: str) -> None:
    answer = await api.post("/v1/generations", content=json.dumps(SHAPE), headers={"Content-Type": media_type})
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "application/vnd.api+json", "Application/JSON"]
)
async def test_every_spelling_of_json_is_taken(api: httpx.AsyncClient, media_type: str) -> None:
    answer = await api.post("/v1/generations", content=json.dumps(SHAPE), headers={"Content-Type": media_type})
    assert answer.status_code == 202


async def test_a_large_body_is_refused_by_its_announced_length(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/generations", content=b" " * 200_001, headers=JSON)
    assert assert_problem(answer, 413, "payload_too_large")["details"] == {"max_bytes": 200_000}


async def test_a_large_body_is_refused_while_it_comes(api: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 10_000

    assert_problem(await api.post("/v1/generations", content=endless(), headers=JSON), 413, "payload_too_large")


# Fields -------------------------------------------------------------------------------------------------------------

BAD: list[tuple[Any, str, str]] = [
    ([], "invalid_input", ""),
    ("x", "invalid_input", ""),
    ({}, "invalid_input", ""),
    (SHAPE | {"steps": CHAIN["steps"]}, "invalid_input", ""),
    ({"steps": []}, "invalid_input", "/steps"),
    ({"steps": [{"id": "a b", "operation": "text-to-image"}]}, "invalid_input", "/steps/0/id"),
    ({"steps": [{"id": "a"}]}, "invalid_input", "/steps/0/operation"),
    ({"steps": CHAIN["steps"][:1] * 2}, "invalid_input", "/steps/1/id"),
    (SHAPE | {"model": "shapes"}, "invalid_input", "/model"),
    (SHAPE | {"model": "local/shape"}, "unknown_model", "/model"),
    (SHAPE | {"fallbacks": ["local/nothing"]}, "unknown_model", "/fallbacks/0"),
    (SHAPE | {"operation": "text-to-song"}, "invalid_input", "/operation"),
    (SHAPE | {"operation": "video-upscale"}, "invalid_input", "/operation"),
    ({"model": "local/shapes", "input": {"prompt": "x"}}, "invalid_input", "/operation"),
    ({"operation": "text-to-speech", "input": {"prompt": "x"}}, "invalid_input", "/operation"),
    (SHAPE | {"webhook": {"url": "http://example.com/hook"}}, "unsafe_url", "/webhook/url"),
    (SHAPE | {"webhook": {"url": "https://127.0.0.1/hook"}}, "unsafe_url", "/webhook/url"),
    (SHAPE | {"webhook": {"url": "https://e.com", "events": ["x"]}}, "invalid_input", "/webhook/events/0"),
    (SHAPE | {"webhook": {"url": "https://e.com", "secret": "whsec_x"}}, "invalid_input", "/webhook/secret"),
    (SHAPE | {"provider_options": {"x": 1}}, "invalid_input", "/provider_options"),
    (SHAPE | {"deadline_seconds": 0}, "invalid_input", "/deadline_seconds"),
    (SHAPE | {"priority": "urgent"}, "invalid_input", "/priority"),
    (SHAPE | {"metadata": {"a": 1}}, "invalid_input", "/metadata/a"),
    (SHAPE | {"metadata": {"a/b~c": 1}}, "invalid_input", "/metadata/a~1b~0c"),
    (SHAPE | {"metadata": {"a": "x\0"}}, "invalid_input", "/metadata/a"),
    (SHAPE | {"promt": "x"}, "invalid_input", "/promt"),
    (SHAPE | {"input": {}}, "invalid_input", "/input/prompt"),
    (SHAPE | {"input": None}, "invalid_input", "/input/prompt"),
    (shape(prompt="  "), "invalid_input", "/input/prompt"),
    (shape(prompt=5), "invalid_input", "/input/prompt"),
    (shape(prompt="x" * 2001), "invalid_input", "/input/prompt"),
    (shape(widht=64), "invalid_input", "/input/widht"),
    (shape(width="wide"), "invalid_input", "/input/width"),
    (shape(width=64.5), "invalid_input", "/input/width"),
    (shape(width=0), "invalid_input", "/input/width"),
    (shape(seed=-1), "invalid_input", "/input/seed"),
    (shape(count=9), "invalid_input", "/input/count"),
    (shape(steps=51), "invalid_input", "/input/steps"),
    (shape(aspect_ratio="wide"), "invalid_input", "/input/aspect_ratio"),
    (shape(duration=2), "invalid_input", "/input/duration"),
    (motion("picture.png"), "invalid_input", "/input/image"),
    (motion({}), "invalid_input", "/input/image"),
    (motion({"asset": "ast_1"}), "invalid_input", "/input/image/asset"),
    (motion({"asset": "ast_" + "0" * 26}), "invalid_input", "/input/image/asset"),
    (motion({"url": "ftp://example.com/a.png"}), "invalid_input", "/input/image/url"),
    (motion({"url": "file:///etc/passwd"}), "invalid_input", "/input/image/url"),
    (motion({"url": "example.com/a.png"}), "invalid_input", "/input/image/url"),
    (motion({"url": "https://example.com/a.png", "size": 1}), "invalid_input", "/input/image/size"),
    (motion({"data": "data:image/png,abc"}), "invalid_input", "/input/image/data"),
    (motion({"data": "data:image/png;base64,a"}), "invalid_input", "/input/image/data"),
    (motion({"step": "none"}), "invalid_input", "/input/image/step"),
    (motion(data_url(b"<svg/>")), "media_rejected", "/input/image/data"),
    (motion(data_url(b"<html>")), "media_rejected", "/input/image/data"),
    (motion(data_url(png()[:60])), "media_rejected", "/input/image/data"),
    (motion(data_url(b"")), "media_rejected", "/input/image/data"),
    (motion({"asset": "ast_" + "0" * 26}, input={}), "invalid_input", "/input/image"),
]


@pytest.mark.parametrize(("body", "code", "pointer"), BAD, ids=[f"{code}-{pointer}" for _, code, pointer in BAD])
async def test_bad_input_names_the_field(
    api: httpx.AsyncClient, services: Services, body: Any, code: str, pointer: str
) -> None:
    problem = assert_problem(await api.post("/v1/generations", json=body), 422, code, pointer)
    assert problem["errors"][0]["detail"] == problem["detail"]
    assert await count(services, GenerationRow) == 0


async def test_every_wrong_field_is_told_at_once(api: httpx.AsyncClient) -> None:
    body = {"steps": [{"id": "a", "operation": "text-to-image", "input": {"widht": 1, "seed": "x"}}], "adapt": "maybe"}
    answer = await api.post("/v1/generations", json=body)
    problem = assert_problem(answer, 422, "invalid_input", "/steps/0/input/seed", "/steps/0/input/widht", "/adapt")
    assert "`steps.0.input.seed` must be a whole number" in problem["detail"]
    assert "2 more" in problem["detail"]


async def test_a_query_parameter_that_is_not_known_is_named(api: httpx.AsyncClient) -> None:
    assert_problem(await api.post("/v1/generations?wait=1", json=SHAPE), 422, "invalid_input", "/wait")


# Media inputs -------------------------------------------------------------------------------------------------------


async def test_a_file_within_the_request_is_stored_and_only_referred_to(
    api: httpx.AsyncClient, services: Services
) -> None:
    content = png()
    generation = await submit(api, motion(data_url(content)))
    async with services.database.reading() as session:
        row = (await session.execute(select(GenerationRow))).scalar_one()
        step = (await session.execute(select(StepRow))).scalar_one()
        asset = (await session.execute(select(AssetRow))).scalar_one()
    assert generation["id"] == row.id
    assert row.request["input"]["image"] == step.input["image"] == {"asset": asset.id}
    assert (asset.width, asset.bytes) == (64, len(content))
    assert (await api.get(f"/v1/assets/{asset.id}/content")).content == content


async def test_a_file_in_a_chain_is_refused_by_its_place(api: httpx.AsyncClient) -> None:
    step = {"id": "clip", "model": "local/motion", "input": {"image": data_url(b"no picture")}}
    answer = await api.post("/v1/generations", json={"steps": [step]})
    assert_problem(answer, 422, "media_rejected", "/steps/0/input/image/data")


async def test_an_asset_of_another_kind_is_refused(api: httpx.AsyncClient, services: Services) -> None:
    video = await plant_asset(services, kind=MediaKind.VIDEO, media_type="video/mp4", duration=1.0, fps=8.0)
    problem = assert_problem(
        await api.post("/v1/generations", json=motion({"asset": video.id})), 422, "invalid_input", "/input/image"
    )
    assert "video/mp4" in problem["detail"]


async def test_another_tenants_asset_does_not_exist(api: httpx.AsyncClient, services: Services) -> None:
    foreign = await plant_asset(services, tenant_id="other")
    answer = await api.post("/v1/generations", json=motion({"asset": foreign.id}))
    assert_problem(answer, 422, "invalid_input", "/input/image/asset")


async def test_an_image_that_has_to_be_fitted_is_refused_without_adaption(
    api: httpx.AsyncClient, services: Services
) -> None:
    large = await plant_asset(services, width=640, height=480)
    fitting = await plant_asset(services)
    answer = await api.post("/v1/generations", json=motion({"asset": large.id}, adapt=False))
    assert "640x480" in assert_problem(answer, 422, "adaption_required", "/input/image")["detail"]
    for body in (motion({"asset": large.id}), motion({"asset": fitting.id}, adapt=False)):
        assert (await api.post("/v1/generations", json=body)).status_code == 202


# Idempotency --------------------------------------------------------------------------------------------------------


async def test_the_same_key_and_body_give_the_same_generation(api: httpx.AsyncClient, services: Services) -> None:
    first = await api.post("/v1/generations", json=SHAPE, headers={"Idempotency-Key": "order-1"})
    # Bare or quoted, and however the JSON is written.
    again = await api.post(
        "/v1/generations",
        content=json.dumps(dict(reversed(SHAPE.items())), indent=3),
        headers={"Idempotency-Key": '"order-1"', **JSON},
    )
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert first.json()["idempotency_key"] == "order-1"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await count(services, GenerationRow) == 1


async def test_the_same_key_with_another_body_is_refused(api: httpx.AsyncClient) -> None:
    await submit(api, key="k")
    answer = await api.post("/v1/generations", json=shape(seed=1), headers={"Idempotency-Key": "k"})
    assert_problem(answer, 422, "idempotency_key_reused", "/Idempotency-Key")


async def test_a_refused_request_does_not_take_the_key(api: httpx.AsyncClient) -> None:
    bad = await api.post("/v1/generations", json=shape(width=0), headers={"Idempotency-Key": "k"})
    assert bad.status_code == 422
    await submit(api, key="k")


async def test_a_replay_with_a_file_stores_it_once(api: httpx.AsyncClient, services: Services) -> None:
    body = motion(data_url(png()))
    first, again = [await submit(api, body, key="k") for _ in range(2)]
    assert first["id"] == again["id"]
    assert await count(services, AssetRow) == 1


@pytest.mark.parametrize("key", ["", '""', "a b", "é", "x" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(api: httpx.AsyncClient, key: str) -> None:
    headers = httpx.Headers({"Idempotency-Key": key}, encoding="utf-8")
    answer = await api.post("/v1/generations", json=SHAPE, headers=headers)
    assert_problem(answer, 400, "malformed_request", "/Idempotency-Key")


@pytest.mark.parametrize("round_", range(3))
async def test_of_twenty_at_once_with_one_key_one_makes_it(
    api: httpx.AsyncClient, services: Services, round_: int
) -> None:
    made = await asyncio.gather(*(submit(api, key="race") for _ in range(20)))
    assert len({generation["id"] for generation in made}) == 1
    assert await count(services, GenerationRow) == 1


async def test_of_a_race_with_two_bodies_one_wins(api: httpx.AsyncClient, services: Services) -> None:
    bodies = [SHAPE, shape(seed=1)] * 8
    headers = {"Idempotency-Key": "race"}
    answers = await asyncio.gather(*(api.post("/v1/generations", json=body, headers=headers) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [202] * 8 + [422] * 8
    assert await count(services, GenerationRow) == 1


# Many at once -------------------------------------------------------------------------------------------------------


async def test_each_of_a_batch_is_judged_on_its_own(api: httpx.AsyncClient, services: Services) -> None:
    bodies = [SHAPE, shape(width=0), "x", SHAPE | {"model": "local/nothing"}, CHAIN]
    answer = await api.post("/v1/generations:batch", json={"generations": bodies})
    assert answer.status_code == 200
    entries = answer.json()["data"]
    assert [entry["status"] for entry in entries] == [202, 422, 422, 422, 202]
    assert [entry["problem"] and entry["problem"]["code"] for entry in entries] == [
        None,
        "invalid_input",
        "invalid_input",
        "unknown_model",
        None,
    ]
    assert entries[1]["problem"]["errors"][0]["pointer"] == "/input/width"
    assert await count(services, GenerationRow) == 2


async def test_a_batch_with_a_key_is_made_once(api: httpx.AsyncClient, services: Services) -> None:
    body = {"generations": [SHAPE, SHAPE]}
    first, again = [
        (await api.post("/v1/generations:batch", json=body, headers={"Idempotency-Key": "b"})).json() for _ in range(2)
    ]
    assert first == again
    assert [entry["generation"]["idempotency_key"] for entry in first["data"]] == ["b/0", "b/1"]
    assert await count(services, GenerationRow) == 2


async def test_a_batch_has_its_limits(api: httpx.AsyncClient) -> None:
    for bodies in ([], [SHAPE] * 101):
        answer = await api.post("/v1/generations:batch", json={"generations": bodies})
        assert_problem(answer, 422, "invalid_input", "/generations")
    answer = await api.post(
        "/v1/generations:batch", json={"generations": [SHAPE]}, headers={"Idempotency-Key": "x" * 252}
    )
    assert_problem(answer, 400, "malformed_request", "/Idempotency-Key")
