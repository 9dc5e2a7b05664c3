"""What the tests of every cloud's client need: the simulated cloud, its clock, an account there, and input files."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from genpulse.providers.base import Credentials, Finished, Media, ModelCall, Provider
from genpulse.schemas.states import MediaKind
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.core import Cloud
from genpulse.simulator.faults import FAULTS
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from genpulse.simulator.wire import Kind

Client = TypeVar("Client", bound=Provider)


@dataclass
class World(Generic[Client]):
    """A simulated cloud, its clock, and an account there."""

    cloud: type[Cloud]
    client: Callable[[str, Credentials, httpx.AsyncClient], Client]
    simulator: Simulator
    clock: ManualClock
    http: httpx.AsyncClient

    @property
    def base_url(self) -> str:
        return f"http://sim/{self.cloud.name}{self.cloud.base_path}"

    def account(self, **credentials: Any) -> Client:
        """The account that the simulator knows, or another one."""
        given = credentials or asdict(self.cloud.credentials)
        return self.client(self.base_url, Credentials(**given), self.http)

    def fault(self, **values: object) -> None:
        """Put one fault in force: see `genpulse/simulator/faults.py`."""
        self.simulator.faults.put(self.cloud.name, FAULTS.validate_python([values]))

    async def made(self, call: ModelCall, account: Client | None = None) -> Finished:
        """What comes of a call in the end."""
        account = account or self.account()
        job = await account.submit(call)
        if isinstance(job, Finished):
            return job
        self.clock.advance(60)
        state = await account.poll(job, call)
        assert isinstance(state, Finished)
        return state

    def sent(self, kind: Kind = Kind.SUBMIT) -> Any:
        """The body of the last request of this kind."""
        return self.simulator.record.find(cloud=self.cloud.name, kind=kind)[-1].body


@asynccontextmanager
async def simulated(
    cloud: type[Cloud],
    client: Callable[[str, Credentials, httpx.AsyncClient], Client],
    *,
    callbacks: httpx.AsyncBaseTransport | None = None,
    seconds: float = 0,
) -> AsyncIterator[World[Client]]:
    """A world of its own for one test; its clock stands at the machine's time, which signatures carry."""
    clock = ManualClock(time.time())
    simulator = Simulator(Settings(seconds_per_job=seconds), clock=clock, transport=callbacks)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_simulator(simulator))) as http:
        yield World(cloud, client, simulator, clock, http)
    await simulator.aclose()


def input_files(folder: Path) -> dict[MediaKind, Media]:
    """One file of each kind; only the video is open to the cloud."""

    def a(form: Format, url: str | None = None) -> Media:
        path = folder / f"input.{form}"
        path.write_bytes(render(Made(form).small()))
        return Media(path=path, media_type=form.content_type, url=url)

    return {
        MediaKind.IMAGE: a(Format.PNG),
        MediaKind.VIDEO: a(Format.MP4, "https://files.example/input.mp4"),
        MediaKind.AUDIO: a(Format.WAV),
    }
