"""What the platforms of Baidu Cloud have in common, though each says everything in its own words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from pydantic import ValidationError

from genpulse.simulator.core import Cloud
from genpulse.simulator.jobs import Job
from genpulse.simulator.wire import Call, Refusal, Route


class Area(ABC):
    """One platform: the paths that begin in one of its ways. The methods are those of a cloud."""

    prefixes: ClassVar[tuple[str, ...]]

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    @property
    def now(self) -> float:
        return self.cloud.world.clock.now()

    @abstractmethod
    def routes(self) -> Sequence[Route]: ...

    @abstractmethod
    def authenticate(self, call: Call) -> None: ...

    @abstractmethod
    def invalid(self, call: Call, error: ValidationError) -> Refusal: ...

    @abstractmethod
    def not_found(self, call: Call) -> Refusal: ...

    @abstractmethod
    def throttled(self, call: Call) -> Refusal: ...

    @abstractmethod
    def broken(self, call: Call, status: int) -> Refusal: ...

    def job(self, call: Call, id: str, kind: str) -> Job:  # noqa: A002
        """One of this kind; an id of another kind is not known."""
        job = self.cloud.job(call, id)
        if job.extra["kind"] != kind:
            raise self.not_found(call)
        return job


def place(error: ValidationError) -> tuple[str, str]:
    """Where the first mistake is, and what it is."""
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])) or "body", first["msg"]
