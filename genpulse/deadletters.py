"""Deciding about dead letters: what a person says is written down first, and then carried to the workflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from genpulse import ledger, places
from genpulse.catalog import Catalog
from genpulse.db import utc_now
from genpulse.errors import AlreadyFinished, InvariantBroken, NotDeadLettered, NotFound
from genpulse.ledger import Bound
from genpulse.models import GenerationRow, StepRow
from genpulse.planning import plan_takeover
from genpulse.planning.quoting import quoted_step
from genpulse.pricing import held_for
from genpulse.records import discard, go_on
from genpulse.repositories import generations, steps
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Choice, Ending, Fallback, PlannedStep, Resolution, options_for
from genpulse.schemas.states import GenerationStatus, StepStatus
from genpulse.schemas.tenants import ALL_MODELS

Decide = Callable[[AsyncSession, GenerationRow], Awaitable[None]]
"""Carries out what was decided about one dead letter."""


async def decide(session: AsyncSession, tenant_id: str, generation_id: str, how: Decide) -> None:
    """Decide about a dead letter. Raises NotFound, AlreadyFinished, NotDeadLettered."""
    row = await generations.get(session, tenant_id, generation_id)
    if row is None:
        raise NotFound(f"There is no generation {generation_id}.")
    if row.status.is_final:
        raise AlreadyFinished(f"{generation_id} has {row.status} already; submit it again instead.")
    if row.status is not GenerationStatus.DEAD_LETTERED:
        raise NotDeadLettered(f"{generation_id} is {row.status}; only what is dead_lettered waits for a decision.")
    await how(session, row)


def retrying(catalog: Catalog, model: str | None = None, *, allowed: Container[str] = ALL_MODELS) -> Decide:
    """It goes on from the step that failed, with as much time as it had at first; with `model` instead of its own.

    It waits for a place among what its tenant may have under way, like any other. Raises UnknownModel, Forbidden for
    one that is not `allowed`, InvalidInput where it cannot take the step, and, where it is dearer than what is held,
    what `ledger.hold` raises.
    """

    async def retry(session: AsyncSession, row: GenerationRow) -> None:
        step = await _failed_step(session, row)
        adaptions, taking_over = list(row.adaptions), None
        if model is None:
            choices = [Choice(model=step.model, queue=step.queue)]
            choices += [Choice.model_validate(one) for one in step.fallbacks]
        else:
            taking_over, fitted = plan_takeover(
                catalog, _planned(step), model, adapt=row.request.get("adapt", True), path="model", allowed=allowed
            )
            adaptions += [one.model_dump(mode="json") for one in fitted]
            others = [one for one in step.fallbacks if one["model"] != model]
            await steps.set_fallbacks(session, row.id, step.position, [taking_over.model_dump(), *others])
            choices = [Choice(model=taking_over.model, queue=taking_over.queue)]
        deadline_at = utc_now() + timedelta(seconds=row.request["deadline_seconds"])
        decided = Resolution(action="retry", round=row.round, choices=choices, deadline_at=deadline_at)
        told = {"resolution": decided.model_dump(mode="json"), "resolution_sent_at": None, "adaptions": adaptions}
        fresh = {"round": row.round + 1, "deadline_at": deadline_at, "admitted_at": utc_now()}
        if not await go_on(session, row.id, step.position, to=GenerationStatus.QUEUED, **fresh, **told):
            raise NotDeadLettered(f"Somebody else has decided about {row.id} already.")
        # Last, because both lock the tenant's account until the end.
        if taking_over is not None:
            await _hold_more(session, catalog, row, step, taking_over)
        await places.return_to_place(session, row.id)

    return retry


async def _hold_more(
    session: AsyncSession, catalog: Catalog, row: GenerationRow, step: StepRow, taking_over: Fallback
) -> None:
    """What the other model may cost beyond what is held for the step already."""
    other = {
        "model": taking_over.model,
        "input": taking_over.input,
        "provider_options": options_for(taking_over.model, step.model, step.provider_options),
    }
    quoted = quoted_step(catalog, _planned(step).model_copy(update=other))
    held = max(step.held, held_for(quoted.quotes.values()))
    kept = {model: quote.model_dump(mode="json") for model, quote in quoted.quotes.items()}
    await steps.requote(session, row.id, step.position, {**(step.quotes or {}), **kept}, held=held)
    if quoted.unpriced or held > step.held:
        await ledger.hold(session, row.tenant_id, row.id, Bound(credits=held - step.held, unpriced=quoted.unpriced))


async def discarding(session: AsyncSession, row: GenerationRow) -> None:
    """It ends as failed, with the reason for which it was kept."""
    decided = Resolution(action="discard", round=row.round)
    fault = GenerationFault.model_validate(row.error)
    ending = Ending(generation_id=row.id, status=GenerationStatus.FAILED, fault=fault)
    told = {"resolution": decided.model_dump(mode="json"), "resolution_sent_at": None}
    if not await discard(session, ending, **told):
        raise NotDeadLettered(f"Somebody else has decided about {row.id} already.")


def remaining(chain: Sequence[StepRow]) -> StepRow | None:
    """The first step that has not succeeded."""
    return next((step for step in chain if step.status is not StepStatus.SUCCEEDED), None)


def _planned(step: StepRow) -> PlannedStep:
    return PlannedStep(
        id=step.step_id,
        operation=step.operation,
        model=step.model,
        queue=step.queue,
        input=step.input,
        provider_options=step.provider_options,
    )


async def _failed_step(session: AsyncSession, row: GenerationRow) -> StepRow:
    step = remaining((await steps.of_generations(session, [row.id]))[row.id])
    if step is None:
        raise InvariantBroken(f"{row.id} is a dead letter, and every step of it has succeeded.")
    return step
