"""What brings a process past each failpoint, and how it may end when the process dies there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from genpulse.circuits import FAILURES_TO_OPEN, Circuits
from genpulse.client import Client, ClientError, Unreachable
from genpulse.db import Database, utc_now
from genpulse.repositories import circuits, deliveries, webhooks
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import GenerationStatus
from genpulse.security import DEFAULT_TENANT
from tests.faults.conftest import eventually
from tests.integration.conftest import png
from tests.matrix import FAMILIES
from tests.servers.receiver import Receiver

T = TypeVar("T")

FAKE: dict[str, Any] = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}
SUCCEEDED, FAILED, CANCELED = GenerationStatus.SUCCEEDED, GenerationStatus.FAILED, GenerationStatus.CANCELED


@dataclass
class Scene:
    """A running stack, and the point at which one of its processes is to die. `arm` makes it so, from then on."""

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
            sent = await deliveries.page(session, webhook.id, limit=9)
        ids = {one.id for one in scene.receiver.received if one.event["data"]["id"] == made}
        return [(one.id, one.status) for one in sent] == [(one, "delivered") for one in ids]

    scene.awaited.append(has_arrived)


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


async def canceling(scene: Scene) -> None:
    await scene.fault("vidu", type="stuck")
    made = await scene.submit(FAMILIES["vidu"])
    await scene.until(made, lambda one: bool(one.steps[0].attempts and one.steps[0].attempts[0].provider_job_id))
    scene.arm()
    await again(lambda: scene.client.cancel(made))


async def _decide(call: Callable[[], Awaitable[object]]) -> None:
    """A decision that was written down, and whose answer was lost, is no longer there to be made."""
    try:
        await again(call)
    except ClientError as error:
        if error.problem is None or error.problem.code not in ("not_dead_lettered", "already_finished"):
            raise


SCENARIOS = {
    "polled": Scenario(one_call("dashscope")),
    "progress": Scenario(one_call("runway")),
    "at once": Scenario(one_call("volcengine ark at once")),
    "throttled": Scenario(one_call("stability at once", type="rate_limited", retry_after=1, times=1)),
    "failing": Scenario(one_call("luma", type="fails"), frozenset({FAILED})),
    "lost and found": Scenario(one_call("dashscope", type="lost_answer", times=1)),
    "called back": Scenario(one_call("kling")),
    "on the engine": Scenario(on_the_engine, jobs=0),
    "with a picture": Scenario(with_a_picture, jobs=0),
    "probing": Scenario(probing),
    "told": Scenario(told, jobs=0),
    "parking": Scenario(parking, frozenset({FAILED})),
    "retrying": Scenario(retrying, frozenset({SUCCEEDED, FAILED}), jobs=2),
    "expiring": Scenario(expiring, frozenset({FAILED})),
    "canceling": Scenario(canceling, frozenset({CANCELED})),
}

#: Which scenario comes past which points, where it is not `polled`.
PASSED_BY = {
    "api.cancel": "canceling",
    "api.decide": "retrying",
    "assets.upload": "with a picture",
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
    "providers.cancel": "canceling",
    "providers.find": "lost and found",
    "records.expire": "expiring",
    "records.fail_attempt": "failing",
    "records.park": "parking",
    "records.progress": "progress",
    "records.resume": "retrying",
    "storage.fetch": "with a picture",
}


def scenario_of(point: str) -> Scenario:
    return SCENARIOS[PASSED_BY.get(point.rpartition(".")[0], "polled")]
