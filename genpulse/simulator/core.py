"""The simulated world, and what a cloud in it is.

How to write a cloud: one file in `clouds/` with a subclass of `Cloud`, its credentials in `credentials.py`, and its
name in `clouds/__init__.py`. The file holds only what is that cloud's:

- `routes()`: `Route(method, path, handler, kind)`, paths as they follow `/<name>`. A handler is `async`, takes a `Call`
  and returns a Starlette response. `kind` is what faults and records know the call as; where one path serves all, it is
  a function of the call. Starlette's own routes (WebSockets) may stand among them: nothing here touches those.
- `authenticate(call)`: raise a `Refusal` unless the credentials and signatures are right; `world.clock` is the time.
- `invalid`, `not_found`, `throttled`, `broken`: the cloud's own words for what every cloud has to say.
- A submission reads its body (`call.read(Model)`; a `ValidationError` goes to `invalid`), says what comes out (`Media`)
  and calls `create`. A cloud that answers with the result then awaits `finish(job)`. `created_with` finds the job that
  was made with a caller's key.
- A poll takes its job with `job(call, id)` and its state with `job.poll()`; anything else looks at `job.state`.
  Outputs are `job.files`, which may be empty; why it failed is `job.failure`; times are `job.created_at` and the like.
- `cancel(job)` ends a job and calls back. `callback(job, state)` makes one signed post, or None where it makes none.

Faults, the record, media under `/media/` and calling back are common to all clouds and need nothing from them.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, ValidationError
from starlette.routing import BaseRoute

from genpulse.simulator.callbacks import Callback, Callbacks
from genpulse.simulator.clock import Clock
from genpulse.simulator.credentials import Credentials
from genpulse.simulator.faults import Faults
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.media import Media
from genpulse.simulator.record import Record
from genpulse.simulator.wire import Call, Ending, HangUp, Refusal, Route


class Settings(BaseModel):
    """How the simulated models behave."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds_per_job: NonNegativeFloat = 2.0
    speed: PositiveFloat = 1.0
    """A job takes its seconds divided by this."""
    exact_media: bool = False
    """Files have the size and length that was asked for, and not a small one of the same shape."""


@dataclass(frozen=True)
class Upload:
    """A file that a caller sent."""

    id: str
    name: str
    content_type: str
    content: bytes
    created_at: float


class Simulator:
    """One world, shared by all clouds."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._initial = self.settings = settings or Settings()
        self.clock = clock or Clock()
        self.callbacks = Callbacks(transport)
        self.faults = Faults()
        self.record = Record()
        self.jobs: dict[tuple[str, str], Job] = {}
        self.uploads: dict[tuple[str, str], Upload] = {}

    def find_jobs(self, *, cloud: str | None = None, key: str | None = None) -> list[Job]:
        """Those of a cloud; those made with a key or for a prompt."""
        return [
            job
            for job in self.jobs.values()
            if cloud in {None, job.cloud} and (key is None or key in {job.key, job.prompt, job.id})
        ]

    def change(self, settings: Settings) -> None:
        """Take over those that are set; jobs that exist keep theirs."""
        self.settings = self.settings.model_copy(update=settings.model_dump(exclude_unset=True))

    def reset(self) -> None:
        """Begin anew, with the settings of the beginning."""
        self.callbacks.drop()
        self.faults.clear()
        self.record.clear()
        self.jobs.clear()
        self.uploads.clear()
        self.settings = self._initial

    async def aclose(self) -> None:
        await self.callbacks.aclose()


class Cloud(ABC):
    """One cloud; a file in `clouds/` derives from it."""

    name: ClassVar[str]
    credentials: ClassVar[Credentials]
    base_path: ClassVar[str] = ""
    """What follows `/<name>` in the base URL that clients are given, such as a version."""
    media_lifetime: ClassVar[float | None] = None
    """Seconds after which outputs are gone."""

    def __init__(self, world: Simulator) -> None:
        self.world = world

    @abstractmethod
    def routes(self) -> Sequence[Route | BaseRoute]: ...

    @abstractmethod
    def authenticate(self, call: Call) -> None:
        """Raise unless the caller may."""

    @abstractmethod
    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        """The body is not what the model asks for."""

    @abstractmethod
    def not_found(self, call: Call) -> Refusal:
        """No such job, or no such path."""

    @abstractmethod
    def throttled(self, call: Call) -> Refusal:
        """Too many requests."""

    @abstractmethod
    def broken(self, call: Call, status: int) -> Refusal:
        """The cloud itself fails, with this 5xx."""

    def callback(self, job: Job, state: State) -> Callback | None:  # noqa: ARG002 - for those that call back
        """What is posted to the job's `callback_url` when it gets to this state."""
        return None

    def create(self, call: Call, *, media: Sequence[Media], id: str | None = None, **details: Any) -> Job:  # noqa: A002
        """A new job, as the faults in force want it; `details` are fields of `Job`."""
        settings = self.world.settings
        job = Job(
            id=id or str(uuid.uuid4()),
            cloud=self.name,
            clock=self.world.clock,
            seconds=settings.seconds_per_job / settings.speed,
            base_url=call.base_url,
            media=tuple(media),
            exact_media=settings.exact_media,
            **details,
        )
        self.world.faults.of_job(job)
        self.world.jobs[self.name, job.id] = job
        if job.callback_url is not None:
            self.world.callbacks.follow(job, self.callback)
        return job

    def created_with(self, key: str) -> Job | None:
        """The job that was made with a caller's key, if one was."""
        return next((job for job in self.world.find_jobs(cloud=self.name) if job.key == key), None)

    def job(self, call: Call, id: str) -> Job:  # noqa: A002
        job = self.world.jobs.get((self.name, id))
        if job is None:
            raise self.not_found(call)
        if job.hidden_calls:
            job.hidden_calls -= 1
            raise self.not_found(call)
        return job

    def jobs(self) -> list[Job]:
        """All of this cloud, newest first."""
        return self.world.find_jobs(cloud=self.name)[::-1]

    def cancel(self, job: Job) -> bool:
        """End a job now and call back; false when it has ended already."""
        if not job.cancel():
            return False
        if job.callback_url is not None:
            self.world.callbacks.send(job, State.CANCELLED, self.callback)
        return True

    async def finish(self, job: Job) -> State:
        """Wait for a job's end; a stuck one never answers."""
        if job.due_at is None:
            raise Refusal.by(HangUp(Ending.SILENT))
        await self.world.clock.sleep_until(job.due_at)
        return job.state

    def store(self, *, name: str, content_type: str, content: bytes) -> Upload:
        """Keep a caller's file; it is served under `/media/uploads/<id>/<name>`."""
        upload = Upload(str(uuid.uuid4()), name, content_type, content, self.world.clock.now())
        self.world.uploads[self.name, upload.id] = upload
        return upload
