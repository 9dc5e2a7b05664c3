"""A simulated job: what was asked for, how far it is by the clock, what it made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from genpulse.simulator.clock import Clock
from genpulse.simulator.media import Media, render

_QUEUED_SHARE = 0.25
"""Of a job's duration: so much it waits, the rest it runs."""


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in {State.QUEUED, State.RUNNING}


class Failure(StrEnum):
    """Why a job fails; a cloud says it in its own codes."""

    CONTENT = "content"
    INTERNAL = "internal"


@dataclass(frozen=True)
class File:
    """One output: where it is, and what was asked for."""

    url: str
    media: Media
    exact: bool

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    @property
    def content_type(self) -> str:
        return self.media.format.content_type

    def read(self) -> bytes:
        """The bytes; smaller than asked for, unless exact ones are wanted."""
        return render(self.media if self.exact else self.media.small())


@dataclass
class Delivery:
    """One attempt to call back: when, about which state, and the receiver's status (none: no answer)."""

    at: float
    state: State
    status: int | None


@dataclass(kw_only=True)
class Job:
    """Its state follows from the clock and from the faults that it was born with."""

    id: str
    cloud: str
    clock: Clock = field(repr=False)
    seconds: float
    base_url: str
    """The cloud's address as the caller wrote it; URLs in answers start with it."""
    model: str = ""
    prompt: str | None = None
    key: str | None = None
    """The caller's own: an idempotency key, client token or external id."""
    body: dict[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    media: tuple[Media, ...] = ()
    exact_media: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    """What only this cloud knows."""

    stuck: bool = False
    failure: Failure | None = None
    empty: bool = False
    hidden_calls: int = 0
    detour: list[State] = field(default_factory=list)
    callback_copies: int = 1
    callbacks_reversed: bool = False

    created_at: float = field(init=False)
    cancelled_at: float | None = field(default=None, init=False)
    deliveries: list[Delivery] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.created_at = self.clock.now()

    @property
    def started_at(self) -> float:
        return self.created_at + self.seconds * _QUEUED_SHARE

    @property
    def due_at(self) -> float | None:
        """When it ends by itself; never when it is stuck."""
        return None if self.stuck else self.created_at + self.seconds

    @property
    def ended_at(self) -> float | None:
        return (self.cancelled_at or self.due_at) if self.state.ended else None

    @property
    def state(self) -> State:
        if self.cancelled_at is not None:
            return State.CANCELLED
        now = self.clock.now()
        if now < self.started_at:
            return State.QUEUED
        if self.due_at is None or now < self.due_at:
            return State.RUNNING
        return State.FAILED if self.failure else State.SUCCEEDED

    def poll(self) -> State:
        """The state that a poll is told: the true one, but for a job that is to go backwards once."""
        state = self.state
        return self.detour.pop(0) if self.detour and state is not State.QUEUED else state

    def cancel(self) -> bool:
        """End it now; false when it has ended already."""
        if self.state.ended:
            return False
        self.cancelled_at = self.clock.now()
        return True

    @property
    def files(self) -> tuple[File, ...]:
        if self.empty:
            return ()
        return tuple(
            File(f"{self.base_url}/media/{self.id}/{number}.{media.format}", media, self.exact_media)
            for number, media in enumerate(self.media)
        )
