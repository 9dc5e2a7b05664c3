"""What a running generation writes down: each method is one transaction, and may be repeated without harm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse import ledger, places
from genpulse.db import Database, utc_now
from genpulse.errors import AlreadyFinished, AssetUnavailable, InvariantBroken
from genpulse.failpoints import Failpoint
from genpulse.models import AssetRow, GenerationRow, StepRow
from genpulse.pricing import Made, used
from genpulse.repositories import assets, generations, steps, tenants
from genpulse.repositories.generations import Event
from genpulse.schemas.credits import Quote
from genpulse.schemas.generations import Adaption, GenerationFault, media_references
from genpulse.schemas.plans import Ending, GenerationResult, Parking, Resumption, StepOrder, options_for
from genpulse.schemas.states import GenerationStatus, Operation, StepStatus

_OPEN = (StepStatus.QUEUED, StepStatus.SUBMITTED, StepStatus.RUNNING)
_HANDED_OVER = (StepStatus.SUBMITTED, StepStatus.RUNNING)
#: Of an attempt that nobody closed, because it ran out of time and not into an error.
_GIVEN_UP = {
    "code": "provider_failed",
    "message": "It was given up, and another model has taken the step.",
    "retryable": False,
    "provider": None,
    "details": {},
}


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What there is to do for a step. `outputs` is filled, and nothing is left to do, once the step has succeeded.

    `sources` are the stored files that its media inputs refer to. A file that is given by URL has at most `input_bytes`
    where the tenant has such a limit.
    """

    step_id: str
    operation: Operation
    model: str
    input: dict[str, Any]
    options: dict[str, Any]
    sources: dict[str, AssetRow] = field(default_factory=dict)
    adapt: bool = True
    input_bytes: int | None = None
    outputs: Sequence[str] = ()


class Records:
    """Writes the state of running generations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @Failpoint("records.submit_step")
    async def submit_step(self, order: StepOrder) -> None:
        """The step is handed over to its workers; with the first one the generation runs.

        Raises AlreadyFinished when the generation has ended or is to be cancelled.
        """
        async with self._database.transaction() as session:
            started = _status(GenerationStatus.RUNNING)
            if not await generations.enter(session, order.generation_id, GenerationStatus.RUNNING, started):
                generation = await generations.get(session, order.tenant_id, order.generation_id)
                if generation is None or generation.status != GenerationStatus.RUNNING:
                    raise AlreadyFinished("The generation has ended or is being cancelled.")
            if await _move(session, order, StepStatus.SUBMITTED, of=[StepStatus.QUEUED]) is None:
                # What another model did of it has come to nothing: were the generation cancelled now, it would not pay.
                where = (session, order.generation_id, order.position)
                await steps.close_attempts(*where, other_than=order.model, status="failed", error=_GIVEN_UP)

    @Failpoint("records.begin_step")
    async def begin_step(self, order: StepOrder) -> StepWork:
        """A worker has taken the step up; opens an attempt. Raises AlreadyFinished when it need not be run any more."""
        async with self._database.transaction() as session:
            started = func.coalesce(col(StepRow.started_at), utc_now())
            step = await _move(session, order, StepStatus.RUNNING, of=_HANDED_OVER, started_at=started)
            if step is None:
                return await _done(session, order)
            provider, _, model = order.model.partition("/")
            number = await steps.open_attempt(
                session, order.generation_id, order.position, provider=provider, model=model, in_round=order.round
            )
            attempt = {"step": step.step_id, "number": number, "provider": provider, "model": model}
            await _touch(session, order, ("attempt", attempt | {"status": "running", "error": None}))
            return await _with_media(session, order, _work(step, order.model))

    @Failpoint("records.step_work")
    async def step_work(self, order: StepOrder) -> StepWork:
        """What there is to do for a step that was taken up before: nothing, if it has succeeded meanwhile.

        A worker whose cancellation has not reached it may finish a step beside the next one.
        Raises AlreadyFinished when it ended otherwise.
        """
        async with self._database.reading() as session:
            step = await _step(session, order)
            if step.status != StepStatus.RUNNING:
                return await _done(session, order)
            return await _with_media(session, order, _work(step, order.model))

    @Failpoint("records.progress")
    async def progress(self, order: StepOrder, step_id: str, fraction: float) -> None:
        """The step has come this far (0 to 1)."""
        overall = round((order.position + fraction) / order.total, 4)
        async with self._database.transaction() as session:
            if await _move(session, order, StepStatus.RUNNING, of=[StepStatus.RUNNING], progress=fraction):
                event = {"step": step_id, "step_progress": round(fraction, 4), "progress": overall}
                await _touch(session, order, ("progress", event), progress=overall)

    @Failpoint("records.finish_step")
    async def finish_step(
        self,
        order: StepOrder,
        outputs: Sequence[AssetRow],
        *,
        parameters: dict[str, Any],
        adaptions: Sequence[Adaption],
        usage: dict[str, Any] | None = None,
    ) -> list[str]:
        """The outputs are stored: the step has succeeded. Return their ids; those of an earlier call win."""
        done = {"progress": 1.0, "parameters": parameters, "finished_at": utc_now()}
        async with self._database.transaction() as session:
            step = await _move(session, order, StepStatus.SUCCEEDED, of=_HANDED_OVER, **done)
            if step is None:
                await _succeeded(session, order)
                return [asset.id for asset in await assets.output(session, order.generation_id, order.position)]
            await assets.add(session, outputs)
            await steps.close_attempts(session, order.generation_id, order.position, status="succeeded", usage=usage)
            await _charge(session, order, step, outputs)
            await self._announce_outputs(session, order, step, outputs, adaptions)
            return [asset.id for asset in outputs]

    async def _announce_outputs(
        self,
        session: AsyncSession,
        order: StepOrder,
        step: StepRow,
        outputs: Sequence[AssetRow],
        adaptions: Sequence[Adaption],
    ) -> None:
        overall = round((order.position + 1) / order.total, 4)
        events: list[Event] = [("output", _output_event(step.step_id, asset)) for asset in outputs]
        events.append(("progress", {"step": step.step_id, "step_progress": 1.0, "progress": overall}))
        values: dict[str, Any] = {"progress": overall}
        if adaptions:
            generation = await generations.get(session, order.tenant_id, order.generation_id)
            if generation is not None:
                values["adaptions"] = [*generation.adaptions, *(one.model_dump(mode="json") for one in adaptions)]
        await _touch(session, order, *events, **values)

    @Failpoint("records.fail_attempt")
    async def fail_attempt(self, order: StepOrder, fault: GenerationFault) -> int:
        """The running attempt failed; whether there is another is Temporal's to decide. Return how many there were."""
        error = fault.model_dump(mode="json")
        async with self._database.transaction() as session:
            step = await _step(session, order)
            if await steps.close_attempts(session, order.generation_id, order.position, status="failed", error=error):
                attempt = {"step": step.step_id, "status": "failed", "error": error}
                await generations.touch(session, order.generation_id, ("attempt", attempt))
            return await steps.count_attempts(
                session, order.generation_id, order.position, order.model, in_round=order.round
            )

    @Failpoint("records.park")
    async def park(self, parking: Parking) -> None:
        """The generation cannot go on by itself; what it has done stays, and somebody has to decide."""
        async with self._database.transaction() as session:
            await park(session, parking)

    @Failpoint("records.resume")
    async def resume(self, resumption: Resumption) -> None:
        """A dead letter goes on, from the step that it stood at. Where the API was told to, it does so already."""
        step, deadline_at = (resumption.generation_id, resumption.position), resumption.deadline_at
        async with self._database.transaction() as session:
            await go_on(session, *step, round=resumption.round, deadline_at=deadline_at)

    @Failpoint("records.expire")
    async def expire(self, ending: Ending) -> bool:
        """Nobody has decided in time, so the dead letter ends. Return False where somebody has, at the last moment."""
        async with self._database.transaction() as session:
            if await finish(session, ending, of=[GenerationStatus.DEAD_LETTERED]):
                return True
            return await generations.has_ended(session, ending.generation_id)

    @Failpoint("records.finish")
    async def finish(self, ending: Ending) -> GenerationResult:
        """The generation has ended; what had not ended in it ends with it."""
        async with self._database.transaction() as session:
            await finish(session, ending)
            made = await assets.outputs_of(session, [ending.generation_id])
            last = max((asset.position or 0 for asset in made), default=0)
            return GenerationResult(
                generation_id=ending.generation_id, outputs=[asset.id for asset in made if asset.position == last]
            )


async def park(session: AsyncSession, parking: Parking) -> None:
    """Keep a generation for a person, where it runs in that round."""
    error = parking.fault.model_dump(mode="json")
    parked = GenerationStatus.DEAD_LETTERED
    kept: dict[str, Any] = {
        "error": error,
        "parked_at": utc_now(),
        "kept_until": parking.kept_until,
        "resolution": None,
        "admitted_at": func.coalesce(col(GenerationRow.admitted_at), utc_now()),  # it waits for no place any more
    }
    event = ("status", {"status": parked, "error": error})
    await steps.lock(session, parking.generation_id)  # first, see `finish`
    # Of this round alone: when this is repeated, a person may have had it go on meanwhile.
    if await generations.enter(session, parking.generation_id, parked, event, in_round=parking.round, **kept):
        where = (session, parking.generation_id, parking.position)
        await steps.close_attempts(*where, status=StepStatus.FAILED, error=error)
        await steps.move(*where, StepStatus.FAILED, of=_HANDED_OVER, error=error)
        await places.leave_place(session, parking.generation_id)


async def go_on(
    session: AsyncSession,
    generation_id: str,
    position: int,
    *,
    to: GenerationStatus = GenerationStatus.RUNNING,
    **values: Any,
) -> bool:
    """Have a dead letter go on, with its failed step to be done. Return False where it is none."""
    parked = [GenerationStatus.DEAD_LETTERED]
    entered = await generations.enter(session, generation_id, to, _status(to), of=parked, error=None, **values)
    if entered:
        failed, fresh = [StepStatus.FAILED], {"error": None, "progress": 0.0}
        await steps.move(session, generation_id, position, StepStatus.QUEUED, of=failed, **fresh)
    return entered


async def discard(session: AsyncSession, ending: Ending, **values: Any) -> bool:
    """End a dead letter as failed. Return False where it is none."""
    return await finish(session, ending, of=[GenerationStatus.DEAD_LETTERED], **values)


async def finish(
    session: AsyncSession, ending: Ending, *, of: Iterable[GenerationStatus] | None = None, **values: Any
) -> bool:
    """End a generation, and what has not ended in it. Return False where it has ended, or is in none of those."""
    error = ending.fault.model_dump(mode="json") if ending.fault else None
    events = (_status(ending.status), ("done", {"status": ending.status, "error": error}))
    if ending.status == GenerationStatus.SUCCEEDED:
        values["progress"] = 1.0
    if ending.status != GenerationStatus.SUCCEEDED:
        # First, as by those who work on them, who may be at it still.
        await steps.lock(session, ending.generation_id)
    entered = await generations.enter(
        session, ending.generation_id, ending.status, *events, of=of, error=error, **values
    )
    if entered:
        if ending.status != GenerationStatus.SUCCEEDED:
            await _end_steps(session, ending, error)
        # Last, because it locks the tenant's account until the end.
        account = await ledger.settle(session, ending.generation_id, ending.status)
        if account is not None and account.in_flight is not None:
            await places.fill_places(session, account)
    return entered


async def _charge(session: AsyncSession, order: StepOrder, step: StepRow, outputs: Sequence[AssetRow]) -> None:
    """Write down what the step has cost; it is taken from the account when the generation ends."""
    if step.quotes and order.model in step.quotes:
        quote = Quote.model_validate(step.quotes[order.model])
        made = [Made(one.kind, one.width, one.height, one.duration) for one in outputs]
        charged, cost = used(quote.charge, made), used(quote.cost, made)
        await steps.add_charge(session, order.generation_id, order.position, charged=charged, cost=cost)


async def _end_steps(session: AsyncSession, ending: Ending, error: dict[str, Any] | None) -> None:
    outcome = StepStatus.FAILED if ending.status == GenerationStatus.FAILED else StepStatus.CANCELED
    now = utc_now()
    await steps.close_attempts(session, ending.generation_id, status=outcome, error=error)
    await steps.move_all(session, ending.generation_id, outcome, of=_HANDED_OVER, error=error, finished_at=now)
    await steps.move_all(session, ending.generation_id, StepStatus.CANCELED, of=_OPEN, finished_at=now)


async def _step(session: AsyncSession, order: StepOrder) -> StepRow:
    step = await steps.get(session, order.generation_id, order.position)
    if step is None:
        raise InvariantBroken(f"{order.generation_id} has no step {order.position}.")
    return step


async def _done(session: AsyncSession, order: StepOrder) -> StepWork:
    step = await _succeeded(session, order)
    made = await assets.output(session, order.generation_id, order.position)
    return _work(step, order.model, outputs=[asset.id for asset in made])


async def _succeeded(session: AsyncSession, order: StepOrder) -> StepRow:
    """The step, which is over. Raises AlreadyFinished when it ended otherwise than well."""
    step = await _step(session, order)
    if step.status != StepStatus.SUCCEEDED:
        raise AlreadyFinished(f"Step {step.step_id!r} is {step.status} already.")
    return step


async def _move(
    session: AsyncSession, order: StepOrder, to: StepStatus, *, of: Sequence[StepStatus], **values: Any
) -> StepRow | None:
    return await steps.move(session, order.generation_id, order.position, to, of=of, **values)


async def _touch(session: AsyncSession, order: StepOrder, *events: Event, **values: Any) -> None:
    if not await generations.touch(session, order.generation_id, *events, **values):
        raise AlreadyFinished("The generation has ended.")


async def _with_media(session: AsyncSession, order: StepOrder, work: StepWork) -> StepWork:
    """The same, with what is known of its media inputs."""
    media = dict(media_references(work.input))
    if not media:
        return work
    generation = await generations.get(session, order.tenant_id, order.generation_id)
    stored = {name: value for name, value in media.items() if "url" not in value}
    tenant = await tenants.get(session, order.tenant_id) if len(stored) < len(media) else None
    return replace(
        work,
        sources={name: await _source(session, order, value) for name, value in stored.items()},
        adapt=generation is None or generation.request.get("adapt", True),
        input_bytes=tenant.input_bytes if tenant else None,
    )


async def _source(session: AsyncSession, order: StepOrder, reference: dict[str, Any]) -> AssetRow:
    if "asset" in reference:
        uploaded = await assets.get(session, order.tenant_id, reference["asset"])
        if uploaded is None:
            raise AssetUnavailable(f"{reference['asset']} has been deleted.")
        return uploaded
    siblings = (await steps.of_generations(session, [order.generation_id]))[order.generation_id]
    position = next(step.position for step in siblings if step.step_id == reference["step"])
    index: int = reference["output"]
    made = await assets.output(session, order.generation_id, position)
    for asset in made:
        if asset.output_index == index:
            return asset
    raise AssetUnavailable(f"Output {index} of step {reference['step']!r} has been deleted.")


def _input(step: StepRow, model: str) -> dict[str, Any]:
    """The step's input as this model, or a fallback, takes it."""
    inputs: dict[str, dict[str, Any]] = {one["model"]: one["input"] for one in step.fallbacks if "input" in one}
    return step.input if model == step.model else inputs.get(model, step.input)


def _work(step: StepRow, model: str, *, outputs: Sequence[str] = ()) -> StepWork:
    return StepWork(
        step_id=step.step_id,
        operation=step.operation,
        model=model,
        input=_input(step, model),
        options=options_for(model, step.model, step.provider_options),
        outputs=outputs,
    )


def _status(status: GenerationStatus) -> Event:
    return ("status", {"status": status})


def _output_event(step_id: str, asset: AssetRow) -> dict[str, Any]:
    facts = asset.model_dump(
        include={"id", "kind", "media_type", "bytes", "width", "height", "duration", "fps"}, mode="json"
    )
    return {"step": step_id, "asset": facts}
