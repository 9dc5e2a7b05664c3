"""Contracts of a planned generation: what is stored at submission and what travels through Temporal (ids, no media)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from genpulse.schemas.generations import Adaption, GenerationFault
from genpulse.schemas.states import GenerationStatus, Operation


class Choice(BaseModel):
    """A model that may do a step, and the queue of the workers that run it."""

    model: str
    queue: str


class Fallback(Choice):
    """A model that may take a step over, with the input as it takes it."""

    input: dict[str, Any]


class PlannedStep(BaseModel):
    """One model call, resolved: its model is known and its media inputs point somewhere."""

    id: str
    operation: Operation
    model: str
    queue: str
    input: dict[str, Any]
    provider_options: dict[str, Any]
    fallbacks: list[Fallback] = []


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


class GenerationTicket(BaseModel):
    """Input of GenerationWorkflow; inputs and prompts stay in the database."""

    generation_id: str
    tenant_id: str
    deadline_at: datetime
    steps: list[StepTicket]


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
    called_back: bool = False
    """Whether the cloud has called back about this step before."""


class StepOutcome(BaseModel):
    """Ids of the assets that a step made."""

    outputs: list[str]


class Acceptance(BaseModel):
    """What came of a call to a cloud: the outputs themselves, or a job to wait for."""

    outcome: StepOutcome | None = None


class GenerationResult(BaseModel):
    """Result of GenerationWorkflow: ids of the assets of the last step."""

    generation_id: str
    outputs: list[str]


class Ending(BaseModel):
    """How a generation ended."""

    generation_id: str
    status: GenerationStatus
    fault: GenerationFault | None = None
