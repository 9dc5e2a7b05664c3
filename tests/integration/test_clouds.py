"""A generation at a simulated cloud through real processes: the API, a worker, Temporal, and the cloud calling back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from genpulse.links import CloudLinks
from genpulse.signing import LinkSigner, SigningKey
from genpulse.stack import Ports, embedded_stack
from genpulse.stack.ports import free_ports

#: Each signs in its own way, or not at all but with a challenge first.
CALLING_BACK: dict[str, dict[str, Any]] = {
    "fal": {"model": "fal/flux-schnell", "input": {"prompt": "a red circle"}},
    "replicate": {"model": "replicate/flux-schnell", "input": {"prompt": "a red circle"}},
    "kling": {"model": "kling/kling-3.0", "operation": "text-to-video", "input": {"prompt": "a red circle"}},
    "minimax": {
        "model": "minimax/MiniMax-Hailuo-2.3",
        "operation": "text-to-video",
        "input": {"prompt": "a red circle"},
    },
}
FALSE_LINK = "expires=1&key=1&signature=0"


async def test_a_cloud_runs_it_and_calls_back(tmp_path: Path) -> None:
    api, simulator = free_ports(2)
    environment = {"GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{api}"}
    ports = Ports(api=api, simulator=simulator)
    async with (
        embedded_stack(tmp_path / "data", ports=ports, environment=environment, simulate=True) as stack,
        httpx.AsyncClient(base_url=stack.api_url, headers={"Authorization": f"Bearer {stack.admin_key}"}) as client,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{simulator}") as world,
    ):
        for cloud, request in CALLING_BACK.items():
            accepted = (await client.post("/v1/generations", json=request)).json()
            done = await _finished(client, accepted["id"])
            assert done["status"] == "succeeded", done
            file = await world.get(done["outputs"][0]["url"])  # without a key
            assert file.headers["Content-Type"].startswith(("image/", "video/"))
            (job,) = (await world.get("/_control/jobs", params={"cloud": cloud})).json()["jobs"]
            assert job["id"] == done["steps"][0]["attempts"][0]["provider_job_id"]
            assert {one["status"] for one in job["deliveries"]} == {204}, "its signature is right"
            forged = await client.post(f"/v1/callbacks/{cloud}/{accepted['id']}?{FALSE_LINK}", json={"challenge": "x"})
            assert forged.status_code == 403


async def test_a_callback_is_held_against_the_cloud_s_signature(tmp_path: Path) -> None:
    """An address that has leaked is not enough where the cloud signs."""
    api, simulator = free_ports(2)
    ports = Ports(api=api, simulator=simulator)
    async with (
        embedded_stack(tmp_path / "data", ports=ports, simulate=True) as stack,
        httpx.AsyncClient(base_url=stack.api_url) as anyone,
    ):
        key = SigningKey("1", stack.environment["GENPULSE_SECURITY__SIGNING_KEY"].encode())
        links = CloudLinks(stack.api_url, LinkSigner(key))
        for cloud, status in (("fal", 403), ("replicate", 403), ("kling", 403), ("minimax", 204)):
            address = links.callback(cloud, "gen_01k9d2x8f6v3q7m5r0ha4tjwbe", datetime.now(UTC) + timedelta(hours=1))
            assert address is not None
            assert await _told(anyone, address) == status, cloud
            answer = await anyone.post(address, json={"challenge": "are you there?"})
            assert (answer.status_code, answer.json()) == (200, {"challenge": "are you there?"})
            assert (await anyone.post(address, content=b"x" * 5_000_000)).status_code == 413


async def _told(anyone: httpx.AsyncClient, address: str) -> int:
    """What a callback is answered with, once the cloud's keys can be had: the simulator may be starting yet."""
    answer = httpx.Response(503)
    for _ in range(50):
        answer = await anyone.post(address, json={"id": "x"})
        if answer.status_code != 503:
            break
        await asyncio.sleep(0.2)
    return answer.status_code


async def _finished(client: httpx.AsyncClient, generation_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            seen: dict[str, Any] = (await client.get(f"/v1/generations/{generation_id}")).json()
            if seen["status"] in ("succeeded", "failed", "canceled", "dead_lettered"):
                return seen
            await asyncio.sleep(0.1)
