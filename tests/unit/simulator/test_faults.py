"""What the controls make go wrong, in calls and in jobs."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from genpulse.simulator import create_simulator
from genpulse.simulator.accounts import all_variables
from tests.simulated import REPLICATE, World

# Faults of calls ------------------------------------------------------------------------------------------------------


async def test_rate_limit_strikes_so_often(world: World) -> None:
    await world.faults({"type": "rate_limited", "retry_after": 2, "times": 1}, cloud="fal")
    first, second = await world.submit(), await world.submit()
    assert (first.status_code, first.headers["Retry-After"]) == (429, "2")
    assert second.status_code == 200


async def test_rate_limit_without_retry_after(world: World) -> None:
    await world.faults({"type": "rate_limited"})
    answer = await world.predict()
    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers
    assert answer.json()["detail"].startswith("Request was throttled")


async def test_server_errors_are_the_cloud_s_or_a_proxy_s(world: World) -> None:
    await world.faults({"type": "server_error", "status": 503, "times": 1}, {"type": "server_error", "html": True})
    own, proxy = await world.submit(), await world.submit()
    assert own.headers["X-Fal-Error-Type"] == own.json()["error_type"] == "runner_scheduling_failure"
    assert (proxy.status_code, proxy.headers["Content-Type"]) == (503, "text/html; charset=utf-8")


async def test_fault_can_be_limited_to_a_kind_of_call(world: World) -> None:
    await world.faults({"type": "server_error", "kinds": ["poll"]})
    job = await world.submit()
    assert job.status_code == 200
    assert (await world.get(job.json()["status_url"])).status_code == 503


async def test_faults_of_one_cloud_spare_another(world: World) -> None:
    await world.faults({"type": "server_error"}, cloud="fal")
    assert (await world.predict()).status_code == 201


async def test_a_slow_answer_comes_after_the_job_was_made(world: World) -> None:
    await world.faults({"type": "slow_answer", "seconds": 0.3, "times": 1})
    answer = asyncio.create_task(world.submit("slow"))
    await asyncio.sleep(0.1)
    assert (await world.count("slow"), answer.done()) == (1, False)
    assert (await answer).status_code == 200


def test_a_cloud_with_an_account_is_left_alone() -> None:
    every = all_variables("http://sim")
    given = {
        "GENPULSE_PROVIDERS__FAL__API_KEY": "mine",
        "GENPULSE_PROVIDERS__KLING__RATE": "1",
        "GENPULSE_PROVIDERS__REPLICATE__API_KEY": "",
    }
    left = all_variables("http://sim", given)
    assert every.keys() - left.keys() == {f"GENPULSE_PROVIDERS__FAL__{what}" for what in ("BASE_URL", "API_KEY")}


async def test_one_cloud_may_answer_at_the_root() -> None:
    app = create_simulator(root="comfyui")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim") as client:
        for path in ("/queue", "/comfyui/queue"):
            assert (await client.get(path)).json() == {"queue_running": [], "queue_pending": []}
        assert (await client.get("/_control/jobs")).json()["count"] == 0


async def test_lost_answer_leaves_a_job(world: World) -> None:
    await world.faults({"type": "lost_answer", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        await world.submit("lost")
    assert await world.count("lost") == 1


@pytest.mark.parametrize(("fault", "error"), [("connection_reset", httpx.ReadError), ("hung", httpx.ReadTimeout)])
async def test_broken_connection_leaves_no_job(world: World, fault: str, error: type[Exception]) -> None:
    await world.faults({"type": fault})
    with pytest.raises(error):
        await world.submit("lost")
    assert await world.count("lost") == 0


async def test_a_hung_call_may_be_cut_off(world: World) -> None:
    await world.faults({"type": "hung", "seconds": 0.01})
    with pytest.raises(httpx.RemoteProtocolError):
        await world.submit("lost")
    assert await world.count("lost") == 0


async def test_a_share_of_the_calls_is_struck_and_the_same_one_again(world: World) -> None:
    runs = []
    for seed in (1, 1, 2):
        await world.faults({"type": "rate_limited", "share": 0.25, "seed": seed})
        runs.append([(await world.submit()).status_code for _ in range(200)])
        struck = (await world.client.get("/_control/faults")).json()["*"][0]["struck"]
        assert struck == runs[-1].count(429)
        assert 20 < struck < 80
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


async def test_a_share_of_the_jobs_is_struck(world: World) -> None:
    await world.faults({"type": "stuck", "share": 0.5})
    for _ in range(40):
        await world.submit()
    stuck = [job.stuck for job in world.simulator.jobs.values()].count(True)
    assert 5 < stuck < 35
    assert (await world.client.get("/_control/faults")).json()["*"][0]["struck"] == stuck


async def test_malformed_body(world: World) -> None:
    await world.faults({"type": "malformed"})
    answer = await world.submit("cut")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert await world.count("cut") == 1


async def test_latency(world: World) -> None:
    await world.faults({"type": "latency", "seconds": 0.05})
    before = asyncio.get_running_loop().time()
    await world.submit()
    assert asyncio.get_running_loop().time() - before >= 0.04


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_expired_media(world: World, status: int) -> None:
    job = (await world.submit()).json()
    world.clock.advance(3)
    url = (await world.get(job["response_url"])).json()["images"][0]["url"]
    await world.faults({"type": "expired_media", "status": status, "times": 1})
    assert (await world.client.get(url)).status_code == status
    assert (await world.client.get(url)).status_code == 200


async def test_media_of_an_unfinished_job_are_not_there(world: World) -> None:
    job = (await world.submit()).json()
    assert (await world.client.get(f"/fal/media/{job['request_id']}/0.jpg")).status_code == 404
    assert (await world.client.get("/fal/media/uploads/none/a.txt")).status_code == 404


# Faults of jobs -------------------------------------------------------------------------------------------------------


async def states(world: World, url: str, polls: int = 5) -> list[str]:
    seen = []
    for _ in range(polls):
        seen.append((await world.get(url)).json().get("status", "none"))
        world.clock.advance(1)
    return seen


async def test_stuck_job_runs_for_ever(world: World) -> None:
    await world.faults({"type": "stuck"})
    job = (await world.submit()).json()
    world.clock.advance(10**6)
    assert await states(world, job["status_url"], 2) == ["IN_PROGRESS"] * 2


@pytest.mark.parametrize(("code", "status"), [("content", 422), ("internal", 500)])
async def test_failed_job(world: World, code: str, status: int) -> None:
    await world.faults({"type": "fails", "code": code})
    job, prediction = (await world.submit()).json(), (await world.predict()).json()
    world.clock.advance(3)
    assert (await world.get(job["status_url"])).json()["status"] == "COMPLETED"
    assert (await world.get(job["response_url"])).status_code == status
    failed = (await world.get(prediction["urls"]["get"], REPLICATE)).json()
    assert (failed["status"], failed["output"]) == ("failed", None)
    assert failed["error"]


async def test_success_without_outputs(world: World) -> None:
    await world.faults({"type": "no_outputs"})
    job, prediction = (await world.submit()).json(), (await world.predict()).json()
    world.clock.advance(3)
    assert (await world.get(job["response_url"])).json()["images"] == []
    succeeded = (await world.get(prediction["urls"]["get"], REPLICATE)).json()
    assert (succeeded["status"], succeeded["output"]) == ("succeeded", [])


async def test_job_is_hidden_at_first(world: World) -> None:
    await world.faults({"type": "hidden_at_first"})
    job = (await world.submit()).json()
    assert [(await world.get(job["status_url"])).status_code for _ in range(2)] == [404, 202]


async def test_job_goes_backwards_once(world: World) -> None:
    await world.faults({"type": "backwards"})
    job = (await world.submit()).json()
    assert await states(world, job["status_url"]) == ["IN_QUEUE", "IN_PROGRESS", "IN_QUEUE", "COMPLETED", "COMPLETED"]
