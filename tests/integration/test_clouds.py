"""A generation at a simulated cloud through real processes: the API, a worker, Temporal, and the cloud calling back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from genpulse.stack import Ports, embedded_stack
from genpulse.stack.ports import free_ports

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
        models = (await client.get("/v1/models")).json()["data"]
        assert {"fal/flux-schnell", "replicate/flux-schnell"} <= {model["id"] for model in models}
        body = {"model": "replicate/flux-schnell", "input": {"prompt": "a red circle"}}
        accepted = (await client.post("/v1/generations", json=body)).json()
        done = await _finished(client, accepted["id"])
        assert done["status"] == "succeeded"
        file = await world.get(done["outputs"][0]["url"])  # without a key
        assert file.headers["Content-Type"].startswith("image/")
        (job,) = (await world.get("/_control/jobs", params={"cloud": "replicate"})).json()["jobs"]
        assert job["id"] == done["steps"][0]["attempts"][0]["provider_job_id"]
        assert [one["status"] for one in job["deliveries"]] == [204]
        forged = await client.post(f"/v1/callbacks/replicate/{accepted['id']}?{FALSE_LINK}")
        assert forged.status_code == 403


async def _finished(client: httpx.AsyncClient, generation_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            seen: dict[str, Any] = (await client.get(f"/v1/generations/{generation_id}")).json()
            if seen["status"] in ("succeeded", "failed", "canceled", "dead_lettered"):
                return seen
            await asyncio.sleep(0.1)
