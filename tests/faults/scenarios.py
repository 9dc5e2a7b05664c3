"""What brings a process past each failpoint, and how it may end when the process dies there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from temporalio.client import WorkflowExecutionStatus

from genpulse.circuits import FAILURES_TO_OPEN, Circuits
from genpulse.client import Client, ClientError, Unreachable
from genpulse.db import Database, utc_now
from genpulse.repositories import circuits, deliveries, steps, webhooks
from genpulse.schemas.generations import Generation
from genpulse.schemas.queues import WORKFLOW_QUEUE
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.upkeep import UpkeepOrder
from genpulse.security import DEFAULT_TENANT
from genpulse.settings import TemporalSettings
from genpulse.stack import EmbeddedStack
from genpulse.temporal import connect
from genpulse.upkeep import WORKFLOW_TYPE as UPKEEP
from tests.faults.conftest import eventually, kill
from tests.integration.conftest import png
from tests.matrix import FAMILIES
from tests.servers.receiver import Receiver

T = TypeVar("T")

FAKE: dict[str, Any] = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}
SUCCEEDED, FAILED, CANCELED = GenerationStatus.SUCCEEDED, GenerationStatus.FAILED, GenerationStatus.CANCELED


@dataclass
class Scene:
    """A running stack, and the point at which one of its processes is to die. `arm` makes it so, from then on."""

    stack: EmbeddedStack
    client: Client
    world: httpx.AsyncClient
    database: Database
    arm: Callable[[], None]
    receiver: Receiver
    made: list[str] = field(default_factory=list)
    awaited: list[Callable[[], Awaitable[bool]]] = field(default_factory=list)
    """What must come true besides."""

    async def fault(self, cloud: str, **values: object) -> None:
        (await self.world.put(f"/faults/{cloud}", json=[values] if values else [])).raise_for_status()

    async def pace(self, seconds: float) -> None:
        """So long a job takes at any cloud."""
        (await self.world.put("/settings", json={"seconds_per_job": seconds})).raise_for_status()

    async def submit(self, request: Mapping[str, Any]) -> str:
        """As a careful caller does: again with the same key, until there is an answer."""
        key = str(uuid.uuid4())
        made = await again(lambda: self.client.submit(dict(request), idempotency_key=key))
        self.made.append(made.id)
        return made.id

    async def until(self, generation_id: str, condition: Callable[[Generation], bool]) -> Generation:
        async def look() -> bool:
            return condition(await self.client.get(generation_id))

        await eventually(look)
        return await self.client.get(generation_id)

    async def kill_worker(self) -> None:
        """Once more than the point does; an earlier death may not be over."""

        async def runs() -> bool:
            return self.stack.pid("worker") is not None

        await eventually(runs)
        kill(self.stack, "worker")

    async def parked(self, cloud: str) -> str:
        """A generation whose call was answered to nobody."""
        await self.fault(cloud, type="lost_answer", times=1)
        made = await self.submit(FAMILIES[cloud])
        await self.until(made, lambda one: one.status is GenerationStatus.DEAD_LETTERED)
        return made


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """Call until there is an answer."""
    while True:
        try:
            return await call()
        except Unreachable:
            await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Scenario:
    """`ends` are the statuses it may end with when all goes well; `jobs` is how many jobs it makes at most."""

    play: Callable[[Scene], Awaitable[None]]
    ends: frozenset[GenerationStatus] = frozenset({SUCCEEDED})
    jobs: int = 1


def one_call(family: str, **fault: object) -> Callable[[Scene], Awaitable[None]]:
    async def play(scene: Scene) -> None:
        await scene.fault(family.partition(" ")[0], **fault)
        scene.arm()
        await scene.submit(FAMILIES[family])

    return play


async def progress(scene: Scene) -> None:
    """A job that runs when it is asked for."""
    await scene.pace(9.0)
    scene.arm()
    await scene.submit(FAMILIES["runway"])


async def on_the_engine(scene: Scene) -> None:
    scene.arm()
    await scene.submit(FAKE)


async def with_a_picture(scene: Scene) -> None:
    """The picture is uploaded, stored, and fetched again by the worker."""
    picture = Path("/dev/shm") / f"{uuid.uuid4()}.png"
    picture.write_bytes(png())
    scene.arm()
    try:
        asset = await again(lambda: scene.client.upload(picture))
    finally:
        picture.unlink()
    await scene.submit(FAKE | {"operation": "image-to-video", "input": {"image": {"asset": asset.id}}})


async def probing(scene: Scene) -> None:
    """An account that has failed again and again, and may be tried again now."""
    known = Circuits(scene.database)
    for _ in range(FAILURES_TO_OPEN):
        await known.failed("minimax", "down")
    async with scene.database.transaction() as session:
        await circuits.change(session, "minimax", opened_until=utc_now() - timedelta(seconds=1), probing_until=None)
    scene.arm()
    await scene.submit(FAMILIES["minimax"])


async def told(scene: Scene) -> None:
    scene.arm()
    made = await scene.submit(FAKE | {"webhook": {"url": scene.receiver.url, "events": ["generation.succeeded"]}})

    async def has_arrived() -> bool:
        async with scene.database.reading() as session:
            (webhook,) = await webhooks.page(session, DEFAULT_TENANT, limit=1, generation_id=made)
            sent = await deliveries.page(session, DEFAULT_TENANT, webhook.id, limit=9)
        ids = {one.id for one in scene.receiver.received if one.event["data"]["id"] == made}
        return [(one.id, one.status) for one in sent] == [(one, "delivered") for one in ids]

    scene.awaited.append(has_arrived)


async def looked_at(scene: Scene) -> None:
    """An operator asks how everything is."""
    scene.arm()
    headers = {"Authorization": f"Bearer {scene.stack.admin_key}"}
    async with httpx.AsyncClient(base_url=scene.stack.api_url, headers=headers) as caller:
        for path in ("/readyz", "/v1/system"):
            await again(lambda path=path: _looked(caller, path))  # type: ignore[misc]
    await scene.submit(FAKE)


async def _looked(caller: httpx.AsyncClient, path: str) -> None:
    try:
        (await caller.get(path)).raise_for_status()
    except (httpx.TransportError, httpx.HTTPStatusError) as error:  # 503 while the process that was killed comes back
        raise Unreachable(str(error)) from error


async def counted(scene: Scene) -> None:
    """The tenant may send so many requests a minute, which is more than it does."""
    headers = {"Authorization": f"Bearer {scene.stack.admin_key}"}
    async with httpx.AsyncClient(base_url=scene.stack.api_url, headers=headers) as caller:
        limits = {"requests_per_minute": 1_000_000}
        (await caller.patch("/v1/admin/tenants/default", json={"limits": limits})).raise_for_status()
    scene.arm()
    await scene.submit(FAKE)


async def restarted(scene: Scene) -> None:
    """The worker is killed, starts, and has to find what it needs."""
    scene.arm()
    await scene.kill_worker()
    await scene.submit(FAKE)


async def kept_up(scene: Scene) -> None:
    """All duties of upkeep are done, one of which finds a file that nobody needs."""
    content = uuid.uuid4().bytes
    name = hashlib.sha256(content).hexdigest()
    file = scene.stack.data_dir.path / "assets" / "blobs" / name[:2] / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    long_ago = time.time() - timedelta(days=2).total_seconds()
    os.utime(file, (long_ago, long_ago))
    scene.arm()
    temporal = await connect(TemporalSettings(address=scene.stack.temporal_address))
    run = await temporal.start_workflow(UPKEEP, UpkeepOrder(), id=f"upkeep-{name}", task_queue=WORKFLOW_QUEUE)

    async def is_done() -> bool:
        return (await run.describe()).status is WorkflowExecutionStatus.COMPLETED and not file.exists()

    scene.awaited.append(is_done)


async def parking(scene: Scene) -> None:
    scene.arm()
    await scene.parked("fal")


async def retrying(scene: Scene) -> None:
    made = await scene.parked("fal")
    scene.arm()
    await _decide(lambda: scene.client.retry(made))


async def expiring(scene: Scene) -> None:
    scene.arm()
    made = await scene.parked("fal")
    await scene.until(made, lambda one: one.status is FAILED)


async def retrying_many(scene: Scene) -> None:
    made = await scene.parked("fal")
    scene.arm()
    await again(lambda: scene.client.decide("retry", {"ids": [made]}))


async def canceling_unheard(scene: Scene) -> None:
    """Cancelled before anybody knows which job it is."""
    await scene.fault("dashscope", type="lost_answer", times=1)
    made = await scene.submit(FAMILIES["dashscope"])

    async def was_sent() -> bool:
        async with scene.database.reading() as session:
            calls = (await steps.attempts_of(session, [made])).get(made, [])
        return [(one.sent_at is not None, one.provider_job_id) for one in calls] == [(True, None)]

    await eventually(was_sent)
    scene.arm()
    await again(lambda: scene.client.cancel(made))


def canceling(cloud: str) -> Callable[[Scene], Awaitable[None]]:
    """A job that would run for ever."""

    async def play(scene: Scene) -> None:
        await scene.fault(cloud, type="stuck")
        made = await scene.submit(FAMILIES[cloud])
        await scene.until(made, lambda one: bool(one.steps[0].attempts and one.steps[0].attempts[0].provider_job_id))
        scene.arm()
        await again(lambda: scene.client.cancel(made))

    return play


async def _decide(call: Callable[[], Awaitable[object]]) -> None:
    """A decision that was written down, and whose answer was lost, is no longer there to be made."""
    try:
        await again(call)
    except ClientError as error:
        if error.problem is None or error.problem.code not in ("not_dead_lettered", "already_finished"):
            raise


SCENARIOS = {
    "polled": Scenario(one_call("fal")),
    "polled, with a list": Scenario(one_call("dashscope")),
    "polled, with a key": Scenario(one_call("comfyui")),
    "progress": Scenario(progress),
    "at once": Scenario(one_call("volcengine ark at once")),
    "throttled": Scenario(one_call("stability at once", type="rate_limited", retry_after=1, times=1)),
    "failing": Scenario(one_call("luma", type="fails"), frozenset({FAILED})),
    "lost and found": Scenario(one_call("dashscope", type="lost_answer", times=1)),
    "lost and known": Scenario(one_call("comfyui", type="lost_answer", times=1)),
    "called back": Scenario(one_call("kling")),
    "on the engine": Scenario(on_the_engine, jobs=0),
    "with a picture": Scenario(with_a_picture, jobs=0),
    "probing": Scenario(probing),
    "told": Scenario(told, jobs=0),
    "looked at": Scenario(looked_at, jobs=0),
    "counted": Scenario(counted, jobs=0),
    "restarted": Scenario(restarted, jobs=0),
    "kept up": Scenario(kept_up, jobs=0),
    "parking": Scenario(parking, frozenset({FAILED})),
    "retrying": Scenario(retrying, frozenset({SUCCEEDED, FAILED}), jobs=2),
    "retrying many": Scenario(retrying_many, frozenset({SUCCEEDED, FAILED}), jobs=2),
    "expiring": Scenario(expiring, frozenset({FAILED})),
    "canceling": Scenario(canceling("vidu"), frozenset({CANCELED})),
    "canceling in vain": Scenario(canceling("luma"), frozenset({CANCELED})),
    "canceling unheard": Scenario(canceling_unheard, frozenset({CANCELED})),
}

#: Where the cloud can be asked what came of a call.
TOLD_BY_THE_CLOUD = frozenset(
    {"polled, with a list", "polled, with a key", "lost and found", "lost and known", "canceling unheard"}
)

#: Around what is paid for: a cloud has a list, a key that it remembers, or neither.
OF_A_PAID_CALL = ("polled", "polled, with a list", "polled, with a key")

#: Which scenario comes past which points, where it is not `polled`.
PASSED_BY = {
    "api.cancel": "canceling",
    "api.decide": "retrying",
    "api.decide_many": "retrying many",
    "api.probe": "looked at",
    "assets.upload": "with a picture",
    "callbacks.verify": "called back",
    "callbacks.wake": "called back",
    "calls.answered": "at once",
    "calls.given_up": "canceling",
    "calls.sent": "canceling",
    "calls.withdrawn": "throttled",
    "circuits.failed": "lost and found",
    "circuits.probe": "probing",
    "deliveries.begin": "told",
    "deliveries.conclude": "told",
    "deliveries.send": "told",
    "dispatch.cancel": "canceling",
    "dispatch.resolve": "retrying",
    "dispatch.tell": "told",
    "engine.run": "on the engine",
    "limits.pause": "throttled",
    "limits.state": "looked at",
    "limits.take": "counted",
    "providers.cancel": "canceling",
    "providers.find": "lost and found",
    "providers.find_to_cancel": "canceling unheard",
    "providers.poll_canceled": "canceling in vain",
    "providers.submit_again": "lost and known",
    "records.expire": "expiring",
    "records.fail_attempt": "failing",
    "records.park": "parking",
    "records.progress": "progress",
    "records.resume": "retrying",
    "storage.check": "looked at",
    "storage.delete": "kept up",
    "storage.fetch": "with a picture",
    "storage.read": "with a picture",
    "temporal.connect": "restarted",
    "temporal.describe": "looked at",
    "upkeep.attempts": "kept up",
    "upkeep.deliveries": "kept up",
    "upkeep.expire": "kept up",
    "upkeep.rows": "kept up",
    "upkeep.runs": "kept up",
}


def scenarios_of(point: str) -> Sequence[str]:
    """The names of the scenarios in which a process dies there."""
    name = point.rpartition(".")[0]
    return OF_A_PAID_CALL if name in _PAYING else (PASSED_BY.get(name, "polled"),)


_PAYING = frozenset({"calls.sending", "providers.submit", "calls.accepted"})

#: Where a cloud with a list never got the call that counts as sent: for so many seconds it is asked whether it did.
LOOKED_FOR = {
    ("calls.sending.after", "polled, with a list"): 60.0,
    ("providers.submit.before", "polled, with a list"): 60.0,
}
