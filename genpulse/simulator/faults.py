"""What can go wrong at a cloud, and when it does next."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, TypeAdapter

from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.wire import Kind

EVERY_CLOUD = "*"
_API = frozenset(Kind) - {Kind.MEDIA}


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    times: PositiveInt | None = None
    """It strikes so often and is gone; without it, until faults are cleared."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How many of the calls, or jobs, that it could strike it does strike: by chance, but not by another each time."""
    seed: int = 0
    """Begins the chance: with the same one, the n-th that it could strike is struck in every run, or in none."""


class _CallFault(_Fault):
    """Strikes a request."""

    kinds: frozenset[Kind] = _API


class Latency(_CallFault):
    type: Literal["latency"]
    seconds: NonNegativeFloat


class RateLimited(_CallFault):
    """429 in the cloud's words; with `retry_after`, also with that header."""

    type: Literal["rate_limited"]
    retry_after: float | None = None


class ServerError(_CallFault):
    """5xx as the cloud words it or, with `html`, as a proxy before it does, which may even say 200."""

    type: Literal["server_error"]
    status: Annotated[int, Field(ge=200, le=599)] = 503
    html: bool = False


class LostAnswer(_CallFault):
    """The request is served, then the connection closes without an answer."""

    type: Literal["lost_answer"]
    kinds: frozenset[Kind] = frozenset({Kind.SUBMIT})


class SlowAnswer(_CallFault):
    """The request is served at once, its answer comes late."""

    type: Literal["slow_answer"]
    kinds: frozenset[Kind] = frozenset({Kind.SUBMIT})
    seconds: NonNegativeFloat


class ConnectionReset(_CallFault):
    """The connection is reset before anything happens."""

    type: Literal["connection_reset"]


class Hung(_CallFault):
    """Nothing happens, and no answer comes until the caller gives up or, with `seconds`, the connection is closed."""

    type: Literal["hung"]
    seconds: NonNegativeFloat | None = None


class Malformed(_CallFault):
    """The request is served; half of the answer's body comes."""

    type: Literal["malformed"]


class ExpiredMedia(_CallFault):
    """Result URLs are gone."""

    type: Literal["expired_media"]
    kinds: frozenset[Kind] = frozenset({Kind.MEDIA})
    status: Literal[403, 404, 410] = 403


class _JobFault(_Fault, ABC):
    """Strikes a job when it is created."""

    @abstractmethod
    def strike(self, job: Job) -> None: ...


class Stuck(_JobFault):
    """Runs for ever."""

    type: Literal["stuck"]

    def strike(self, job: Job) -> None:
        job.stuck = True


class Fails(_JobFault):
    type: Literal["fails"]
    code: Failure = Failure.INTERNAL

    def strike(self, job: Job) -> None:
        job.failure = self.code


class NoOutputs(_JobFault):
    """Succeeds, and has made nothing."""

    type: Literal["no_outputs"]

    def strike(self, job: Job) -> None:
        job.empty = True


class HiddenAtFirst(_JobFault):
    """The first calls about it find no such job."""

    type: Literal["hidden_at_first"]
    calls: PositiveInt = 1

    def strike(self, job: Job) -> None:
        job.hidden_calls = self.calls


class Backwards(_JobFault):
    """Once it runs, polls are told running, then queued, then the truth."""

    type: Literal["backwards"]
    _DETOUR: ClassVar = (State.RUNNING, State.QUEUED)

    def strike(self, job: Job) -> None:
        job.detour = list(self._DETOUR)


class DuplicatedCallbacks(_JobFault):
    type: Literal["duplicated_callbacks"]
    copies: PositiveInt = 2

    def strike(self, job: Job) -> None:
        job.callback_copies = self.copies


class ReorderedCallbacks(_JobFault):
    """The callbacks of one job come in reverse."""

    type: Literal["reordered_callbacks"]

    def strike(self, job: Job) -> None:
        job.callbacks_reversed = True


CallFault = (
    Latency | RateLimited | ServerError | LostAnswer | SlowAnswer | ConnectionReset | Hung | Malformed | ExpiredMedia
)
JobFault = Stuck | Fails | NoOutputs | HiddenAtFirst | Backwards | DuplicatedCallbacks | ReorderedCallbacks
Fault = CallFault | JobFault
FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Annotated[Fault, Field(discriminator="type")]])


@dataclass
class Armed:
    """A fault in force, and what it has done."""

    fault: Fault
    struck: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.fault.seed)  # noqa: S311 - to be repeated, not to be secret

    @property
    def spent(self) -> bool:
        return self.struck == self.fault.times

    def strikes(self) -> bool:
        """Whether it strikes now; asked once for each that it could strike."""
        if self.fault.share < 1 and self._chance.random() >= self.fault.share:
            return False
        self.struck += 1
        return True


class Faults:
    """Those in force, for each cloud and for every cloud."""

    def __init__(self) -> None:
        self._armed: dict[str, list[Armed]] = {}

    def put(self, cloud: str, faults: list[Fault]) -> None:
        """Replace those of a cloud, or those of every cloud (`*`)."""
        self._armed[cloud] = [Armed(fault) for fault in faults]

    def clear(self) -> None:
        self._armed.clear()

    def all(self) -> Mapping[str, list[Armed]]:
        """By cloud, spent ones too."""
        return self._armed

    def of_call(self, cloud: str, kind: Kind) -> tuple[float, CallFault | None]:
        """What strikes this request: a delay, and the first fault that decides how it ends."""
        delay, decisive = 0.0, None
        for armed in self._in_force(cloud):
            fault = armed.fault
            if isinstance(fault, JobFault) or kind not in fault.kinds:
                continue
            if isinstance(fault, Latency):
                delay += fault.seconds if armed.strikes() else 0.0
            elif decisive is None and armed.strikes():
                decisive = fault
        return delay, decisive

    def of_job(self, job: Job) -> None:
        """Let a new job have what is in force."""
        for armed in self._in_force(job.cloud):
            if isinstance(armed.fault, JobFault) and armed.strikes():
                armed.fault.strike(job)

    def _in_force(self, cloud: str) -> list[Armed]:
        both = [*self._armed.get(cloud, ()), *self._armed.get(EVERY_CLOUD, ())]
        return [armed for armed in both if not armed.spent]
