"""What the tests of every cloud's client need: the simulated cloud, its clock, an account there, calls, and files."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import pytest
from PIL import Image

from genpulse.catalog.clouds import cloud_models
from genpulse.errors import GenPulseError
from genpulse.providers.base import Credentials, Finished, Media, ModelCall, Output, Provider
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MediaKind, Operation
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.core import Cloud
from genpulse.simulator.faults import FAULTS
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from genpulse.simulator.wire import Kind

Client = TypeVar("Client", bound=Provider)
Files = dict[MediaKind, Media]


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

    async def refused(self, call: ModelCall, account: Client | None = None) -> GenPulseError:
        """The error that a call ends with."""
        with pytest.raises(GenPulseError) as error:
            await self.made(call, account)
        return error.value

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


def world_of(cloud: type[Cloud], client: Callable[[str, Credentials, httpx.AsyncClient], Client]) -> Any:
    """A module's fixture `world`: one for each test, whose jobs are done at once."""

    @pytest.fixture
    async def world() -> AsyncIterator[World[Client]]:
        async with simulated(cloud, client) as made:
            yield made

    return world


class Calls:
    """Makes calls of one cloud's models, as the catalogue has them.

    A test may leave out the model and the operation: they are the ones given here, or the model's first operation.
    `given` are fields of every call's input.
    """

    def __init__(self, cloud: str, model: str = "", operation: Operation | None = None, **given: Any) -> None:
        self.specs = {spec.name: spec for spec in cloud_models([cloud])}
        self._model = model
        self._operation = operation
        self._given = given

    def __call__(
        self,
        model: str = "",
        operation: Operation | None = None,
        media: dict[str, list[Media]] | None = None,
        *,
        options: dict[str, Any] | None = None,
        callback_url: str | None = None,
        key: str = "gen_1-0-1",
        **given: Any,
    ) -> ModelCall:
        spec = self.specs[model or self._model]
        operation = operation or self._operation or next(iter(spec.operations))
        return ModelCall(
            model=spec.name,
            operation=operation,
            wire=spec.wire_of(operation),
            input=self._given | given,
            media=media or {},
            options=options or {},
            key=key,
            callback_url=callback_url,
        )


def operations_of(specs: Iterable[ModelSpec]) -> list[tuple[ModelSpec, Operation]]:
    """Every model with each of its operations."""
    return [(spec, operation) for spec in specs for operation in spec.operations]


def always(status: int, body: object, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Whatever is sent with it is answered with this."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body, headers=headers))
    return httpx.AsyncClient(transport=transport)


def input_file(folder: Path, made: Made, url: str | None = None) -> Media:
    path = folder / f"input.{made.format}"
    path.write_bytes(render(made))
    return Media(path=path, media_type=made.format.content_type, url=url)


def input_files(folder: Path) -> Files:
    """One file of each kind; only the video is open to the cloud."""
    return {
        MediaKind.IMAGE: input_file(folder, Made(Format.PNG).small()),
        MediaKind.VIDEO: input_file(folder, Made(Format.MP4).small(), "https://files.example/input.mp4"),
        MediaKind.AUDIO: input_file(folder, Made(Format.WAV).small()),
    }


def opened(output: Output) -> Image.Image:
    """A picture that came with the answer."""
    assert output.content is not None
    return Image.open(io.BytesIO(output.content))
