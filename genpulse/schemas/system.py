"""Contracts of `GET /v1/system`: what an operator sees of a running installation."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class WorkerState(BaseModel):
    """A process that asks for work, and when it last did."""

    identity: str
    last_seen_at: datetime


class QueueState(BaseModel):
    """A task queue: what waits in it, about, and who takes work from it. Null where Temporal does not answer."""

    name: str
    depth: int | None
    oldest_seconds: float | None
    workers: list[WorkerState] | None


class CircuitState(BaseModel):
    """The circuit breaker of an account; `failures` are those in a row."""

    state: Literal["closed", "open", "half_open"]
    failures: int
    opened_until: datetime | None
    last_error: str | None


class LimitsState(BaseModel):
    """What is allowed to an account; null is unlimited."""

    rate: float | None
    burst: int
    concurrency: int | None


class ProviderState(BaseModel):
    """An account at a cloud. `in_flight` counts the jobs that have been sent and have not ended.

    `paused_seconds` is for how long nothing is sent because the cloud said so; null where each worker counts by itself.
    """

    name: str
    endpoint: str
    circuit: CircuitState
    limits: LimitsState
    in_flight: int
    paused_seconds: float | None


class Dependency(BaseModel):
    """One server that this one needs. `reason` is null while it is up."""

    status: Literal["up", "down"]
    latency_ms: float
    reason: str | None


class System(BaseModel):
    """Everything at a glance; `generations` counts those that have not ended, by status."""

    object: Literal["system"] = "system"
    version: str
    generations: dict[str, int]
    queues: list[QueueState]
    providers: list[ProviderState]
    dependencies: dict[str, Dependency]
