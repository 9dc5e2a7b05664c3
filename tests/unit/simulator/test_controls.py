"""What every simulated cloud has: credentials, a clock, jobs, callbacks, and the controls."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from genpulse.simulator import Clock, Settings
from genpulse.simulator.accounts import variables
from genpulse.simulator.clouds import CLOUDS, fal, replicate
from genpulse.simulator.core import Cloud
from genpulse.simulator.jobs import State
from genpulse.simulator.record import _REDACTED
from genpulse.simulator.wire import Refusal
from tests.simulated import FAL, FLUX, HOOK, PREDICTIONS, Receiver, World, until

# Credentials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [None, "Key other:key", "Bearer other"])
@pytest.mark.parametrize("path", [FLUX, PREDICTIONS])
async def test_others_are_refused(world: World, path: str, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await world.client.post(path, headers=headers, json={"prompt": "x"})
    assert answer.status_code == 401
    assert "detail" in answer.json()
    assert world.simulator.jobs == {}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_cloud_has_credentials(cloud: type[Cloud]) -> None:
    assert cloud.credentials.api_key or cloud.credentials.secret_key or cloud.name == "comfyui"


def test_command_says_what_to_set() -> None:
    assert variables(replicate.Replicate, "http://127.0.0.1:8900") == {
        "GENPULSE_PROVIDERS__REPLICATE__BASE_URL": "http://127.0.0.1:8900/replicate/v1",
        "GENPULSE_PROVIDERS__REPLICATE__API_KEY": "r8_sim-key",
        "GENPULSE_PROVIDERS__REPLICATE__WEBHOOK_SECRET": replicate.Replicate.credentials.webhook_secret,
    }


# The clock ------------------------------------------------------------------------------------------------------------


async def test_real_clock_never_wakes_early() -> None:
    clock = Clock()
    for _ in range(20):
        moment = clock.now() + 0.002
        await clock.sleep_until(moment)
        assert clock.now() >= moment


# What clouds build on -------------------------------------------------------------------------------------------------


async def test_cloud_that_answers_with_the_result_waits_for_it(world: World) -> None:
    cloud = fal.Fal(world.simulator)
    await world.submit()
    [job] = cloud.jobs()
    finishing = asyncio.create_task(cloud.finish(job))
    await asyncio.sleep(0)
    assert not finishing.done()
    world.clock.advance(2)
    assert await finishing is State.SUCCEEDED
    job.stuck = True
    with pytest.raises(Refusal):
        await cloud.finish(job)


async def test_job_is_found_by_its_caller_s_key(world: World) -> None:
    cloud = fal.Fal(world.simulator)
    await world.submit()
    [job] = cloud.jobs()
    assert cloud.created_with("mine") is None
    job.key = "mine"
    assert cloud.created_with("mine") is job
    assert await world.count("mine") == 1


async def test_media_are_gone_that_were_never_made(world: World) -> None:
    job = (await world.submit()).json()
    world.clock.advance(3)
    assert (await world.client.get(f"/fal/media/{job['request_id']}/7.jpg")).status_code == 404


# Callbacks ------------------------------------------------------------------------------------------------------------


async def test_callback_is_tried_again() -> None:
    receiver = Receiver(500)
    async with receiver.world() as world:
        job = (await world.submit(path=f"{FLUX}?fal_webhook={HOOK}")).json()
        world.clock.advance(3)
        await until(lambda: len(receiver.requests) == 2)
        await until(lambda: len(world.simulator.find_jobs(key=job["request_id"])[0].deliveries) == 2)
        [shown] = (await world.client.get("/_control/jobs")).json()["jobs"]
    assert [delivery["status"] for delivery in shown["deliveries"]] == [500, 204]


# Controls -------------------------------------------------------------------------------------------------------------


async def test_requests_are_recorded_without_secrets(world: World) -> None:
    await world.submit("seen")
    await world.get("/fal/nothing/here")
    await world.faults({"type": "hung"})
    with pytest.raises(httpx.ReadTimeout):
        await world.submit("hung")
    found = (await world.client.get("/_control/requests", params={"cloud": "fal"})).json()
    assert found["count"] == 3
    first, unknown, hung = found["requests"]
    assert (first["method"], first["path"], first["kind"], first["status"]) == ("POST", FLUX, "submit", 200)
    assert first["body"] == {"prompt": "seen"}
    assert first["headers"]["authorization"] == _REDACTED
    assert (unknown["kind"], unknown["status"], hung["status"]) == ("other", 404, None)
    assert (await world.client.get("/_control/requests?kind=poll")).json()["count"] == 0


async def test_bodies_are_recorded_as_far_as_they_can_be_read(world: World) -> None:
    for body in (b"", b"text", b"\xff", b"x" * 1_000_001):
        await world.client.post(FLUX, headers=FAL, content=body)
    assert [entry.body for entry in world.simulator.record.find()] == [None, "text", "[1 bytes]", "[1000001 bytes]"]


async def test_jobs_are_counted_by_prompt_and_cloud(world: World) -> None:
    await world.submit("one")
    await world.submit("one")
    await world.submit("two")
    assert (await world.count("one"), await world.count("two"), await world.count("three")) == (2, 1, 0)
    assert (await world.client.get("/_control/jobs?cloud=replicate")).json()["count"] == 0


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("faults/fal", [{"type": "nonsense"}], [0]),
        ("faults/fal", [{"type": "stuck", "kinds": ["poll"]}], [0, "stuck", "kinds"]),
        ("faults/fal", [{"type": "server_error", "status": 99}], [0, "server_error", "status"]),
        ("faults/fal", [{"type": "stuck", "share": 0}], [0, "stuck", "share"]),
        ("faults/fal", {}, []),
        ("settings", {"speed": 0}, ["speed"]),
        ("settings", {"colour": "red"}, ["colour"]),
    ],
)
async def test_wrong_controls_are_refused(world: World, path: str, body: Any, place: list[Any]) -> None:
    answer = await world.client.put(f"/_control/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place


async def test_faults_of_an_unknown_cloud_are_refused(world: World) -> None:
    answer = await world.client.put("/_control/faults/cirrus", json=[])
    assert answer.status_code == 404
    assert ", ".join(cloud.name for cloud in CLOUDS) in answer.json()["detail"]


async def test_settings_change_one_by_one(world: World) -> None:
    await world.client.put("/_control/settings", json={"seconds_per_job": 8})
    settings = (await world.client.put("/_control/settings", json={"speed": 4})).json()
    assert settings == {"seconds_per_job": 8, "speed": 4, "exact_media": False}
    job = (await world.submit()).json()
    world.clock.advance(2)
    assert (await world.get(job["status_url"])).json()["status"] == "COMPLETED"


async def test_faults_are_cleared_and_everything_is_reset(world: World) -> None:
    await world.faults({"type": "rate_limited"})
    assert (await world.client.delete("/_control/faults")).status_code == 204
    assert (await world.submit()).status_code == 200
    await world.client.put("/_control/settings", json={"speed": 4})
    assert (await world.client.post("/_control/reset")).status_code == 204
    assert world.simulator.settings == Settings()
    assert (world.simulator.jobs, world.simulator.record.find()) == ({}, [])
