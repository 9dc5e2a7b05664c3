"""Contracts of a planned generation: what is stored at submission and what travels through Temporal (ids, no media)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from genpulse.schemas.credits import Quote
from genpulse.schemas.generations import MAX_DEADLINE_SECONDS, Adaption, GenerationFault
from genpulse.schemas.shares import Share
from genpulse.schemas.states import Billing, GenerationStatus, Operation, Priority


class Choice(BaseModel):
    """A model that may do a step, and the queue of the workers that run it."""

    model: str
    queue: str


class Fallback(Choice):
    """A model that may take a step over, with the input as it takes it."""

    input: dict[str, Any]


def options_for(model: str, named: str, options: dict[str, Any]) -> dict[str, Any]:
    """The provider options of a step for a model that does it: they are in the terms of the named one's provider."""
    return options if model.partition("/")[0] == named.partition("/")[0] else {}


class PlannedStep(BaseModel):
    """One model call, resolved: its model is known and its media inputs point somewhere."""

    id: str
    operation: Operation
    model: str
    queue: str
    input: dict[str, Any]
    provider_options: dict[str, Any]
    fallbacks: list[Fallback] = []
    quotes: dict[str, Quote] = {}
    """By model; those without a price have none."""
    unpriced_options: list[str] = []
    """Provider options of which nobody knows what they make of the price."""

    @property
    def unpriced(self) -> list[tuple[str, str]]:
        """What of it has no price, and so is for unlimited accounts alone: its place in the step, and in words."""
        models = [("model", self.model)]
        models += [(f"fallbacks.{index}", one.model) for index, one in enumerate(self.fallbacks)]
        options = [(f"provider_options.{one}", f"The option `{one}` of {self.model}") for one in self.unpriced_options]
        return [(field, model) for field, model in models if model not in self.quotes] + options


class Plan(BaseModel):
    """The steps that will run, in order, and what was added to make them run."""

    steps: list[PlannedStep]
    adaptions: list[Adaption]


class StepTicket(BaseModel):
    """One step as the workflow sees it: the model that does it, and those that may when it cannot, in turn."""

    position: int
    id: str
    operation: Operation
    model: str
    queue: str
    fallbacks: list[Choice] = []


class Parking(BaseModel):
    """A generation that cannot go on by itself: at which step, in which round, why, and how long it waits."""

    generation_id: str
    position: int
    round: int
    fault: GenerationFault
    kept_until: datetime


class GenerationTicket(BaseModel):
    """Input of GenerationWorkflow; inputs and prompts stay in the database.

    `start_seconds` and `run_seconds` are how long each step may wait for its turn, and how long it may then take;
    `kept_seconds` is how long a dead letter waits for a person. `weight` is the tenant's share where several wait.
    """

    generation_id: str
    tenant_id: str
    deadline_at: datetime
    steps: list[StepTicket]
    round: int = 0
    start_seconds: float = MAX_DEADLINE_SECONDS
    run_seconds: float = MAX_DEADLINE_SECONDS
    kept_seconds: float = MAX_DEADLINE_SECONDS
    weight: float = 1.0
    priority: Priority = Priority.NORMAL
    parked: Parking | None = None
    """It begins as the dead letter that it was, because its workflow is gone."""


class Resolution(BaseModel):
    """What a person decided about a dead letter.

    It is for the parking of that `round`; without one, for whichever the generation is in. Without `choices` the failed
    step is tried with the models that it had; without `deadline_at` it has as long again as it had at first.
    """

    action: Literal["retry", "discard"]
    round: int | None = None
    choices: list[Choice] = []
    deadline_at: datetime | None = None


class Resumption(BaseModel):
    """A dead letter that goes on, from that step."""

    generation_id: str
    position: int
    round: int
    deadline_at: datetime


class StepOrder(BaseModel):
    """Input of every activity that works on a step."""

    generation_id: str
    tenant_id: str
    position: int
    model: str
    total: int
    """Steps in the generation, for its overall progress."""
    has_next: bool = False
    """Whether another model can take over."""
    round: int = 0
    """How often a person had the generation go on: attempts of earlier rounds are over."""
    called_back: bool = False
    """Whether the cloud has called back about this step before."""
    weight: float = 1.0
    priority: Priority = Priority.NORMAL

    @property
    def share(self) -> Share:
        """For whom it takes its turn."""
        return Share(tenant=self.tenant_id, weight=self.weight, priority=self.priority)


class StepOutcome(BaseModel):
    """Ids of the assets that a step made."""

    outputs: list[str]


class Acceptance(BaseModel):
    """What came of a call to a cloud: the outputs themselves, or a job to wait for."""

    outcome: StepOutcome | None = None


class Cancellation(BaseModel):
    """What became of a call that is not waited for any more; `unknown` where a job may exist that nobody can find."""

    billing: Billing
    unknown: bool = False

    @classmethod
    def uncertain(cls) -> Cancellation:
        return cls(billing=Billing.POSSIBLE, unknown=True)


class GenerationResult(BaseModel):
    """Result of GenerationWorkflow: ids of the assets of the last step."""

    generation_id: str
    outputs: list[str]


class Ending(BaseModel):
    """How a generation ended."""

    generation_id: str
    status: GenerationStatus
    fault: GenerationFault | None = None
