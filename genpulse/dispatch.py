"""Carries what was committed to Temporal: starts of workflows, cancellations, decisions; until each has arrived.

The database is the outbox. A start that is repeated finds the workflow by its id, so several dispatchers may run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import structlog
from opentelemetry import propagate, trace
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from genpulse.db import Database, utc_now
from genpulse.deadletters import remaining
from genpulse.errors import DependencyDown
from genpulse.failpoints import Failpoint
from genpulse.models import AttemptRow, DeliveryRow, GenerationRow, StepRow
from genpulse.records import Records
from genpulse.repositories import deliveries, generations, steps, tenants
from genpulse.schemas import attributes
from genpulse.schemas import states as s
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Choice, Ending, GenerationTicket, Parking, Resolution, StepTicket
from genpulse.schemas.queues import WORKFLOW_QUEUE
from genpulse.schemas.shares import Share, bounded
from genpulse.schemas.webhooks import DeliveryTicket
from genpulse.settings import BudgetSettings

WORKFLOW_TYPE = "GenerationWorkflow"
DELIVERY_TYPE = "DeliveryWorkflow"

_BATCH = 16  # read in one go, which holds up submissions meanwhile
_AT_ONCE = 4  # starts under way at once: enough to hide latency, too few to crowd out submissions
_RPC_TIMEOUT = timedelta(seconds=5)
_MAX_BACKOFF = 5.0
#: What a dependency's absence looks like: the database, an answer of Temporal's, its client that cannot connect.
_AWAY = (DependencyDown, RPCError, RuntimeError, OSError)
_SHARES = {s.Priority.HIGH: 2.0, s.Priority.NORMAL: 1.0, s.Priority.LOW: 0.1}  # of the tenant's weight

_MARKING = Failpoint("dispatch.mark")

log = structlog.get_logger(__name__)
tracer = trace.get_tracer(__name__)


class Dispatcher:
    """Looks for undelivered work every `interval`, and at once when told by `notify`.

    `min_age` leaves fresh submissions to the process that accepted them; a second, slower dispatcher elsewhere uses it
    to take over when that process died.
    """

    def __init__(
        self,
        database: Database,
        client: Callable[[], Awaitable[Client]],
        *,
        interval: timedelta = timedelta(seconds=1),
        min_age: timedelta = timedelta(0),
        budgets: BudgetSettings = BudgetSettings(),  # noqa: B008 - immutable
    ) -> None:
        self._database = database
        self._client = client
        self._records = Records(database)
        self._interval = interval.total_seconds()
        self._min_age = min_age
        self._budgets = budgets
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def notify(self) -> None:
        """Something was committed; look now."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled. A dependency that is down is waited for.

        So is whatever nobody foresaw: ended by it, this would deliver nothing any more, and nobody would notice.
        """
        backoff = self._interval
        while True:
            self._wake.clear()
            try:
                while await self.deliver():
                    pass
                backoff = self._interval
            except Exception as error:
                if isinstance(error, _AWAY):
                    log.warning("dispatch.waiting", reason=str(error), seconds=backoff)
                else:
                    log.exception("dispatch.failed", seconds=backoff)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._interval)

    async def deliver(self) -> bool:
        """Deliver a batch each of starts, cancellations, decisions and events. Return whether there may be more."""
        async with self._database.reading() as session:
            before = utc_now() - self._min_age
            rows = await generations.undispatched(session, before=before, limit=_BATCH)
            chains = await steps.of_generations(session, [row.id for row in rows]) if rows else {}
            begun = [row.id for row in rows if row.status is not s.GenerationStatus.QUEUED]
            sent = await steps.in_flight(session, begun) if begun else {}
            cancels = await generations.cancels_unsent(session, limit=_BATCH)
            decided = await generations.resolutions_unsent(session, limit=_BATCH)
            told = await deliveries.undispatched(session, before=before, limit=_BATCH)
            weights = await _weights(session, [*rows, *told])
        await self._deliver(
            [self._start(row, _resumed(chains[row.id], sent), weights[row.tenant_id]) for row in rows],
            generations.mark_dispatched,
            [row.id for row in rows],
        )
        await self._deliver([self._cancel(one) for one in cancels], generations.mark_cancel_sent, cancels)
        await self._deliver([self._resolve(row) for row in decided], generations.mark_resolution_sent, decided)
        await self._deliver([self._tell(row, weights[row.tenant_id]) for row in told], deliveries.mark_dispatched, told)
        return any(len(batch) == _BATCH for batch in (rows, cancels, decided, told))

    async def _deliver(
        self, calls: Sequence[Awaitable[None]], mark: Callable[..., Awaitable[None]], subjects: Sequence[object]
    ) -> None:
        """Make the calls; mark those that went through, then raise the first failure, if any."""
        if not calls:
            return
        results = await asyncio.gather(*calls, return_exceptions=True)
        done = [one for one, result in zip(subjects, results, strict=True) if result is None]
        if done:
            async with _MARKING, self._database.transaction() as session:
                await mark(session, done)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _start(self, row: GenerationRow, chain: Sequence[StepRow], weight: float) -> None:
        if row.cancel_requested_at is not None:  # it never ran, so nobody else will end it
            await self._records.finish(Ending(generation_id=row.id, status=s.GenerationStatus.CANCELED))
            return
        # A dead letter whose workflow is gone gets another one to wait in.
        is_parked = row.status is s.GenerationStatus.DEAD_LETTERED
        reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE if is_parked else WorkflowIDReusePolicy.REJECT_DUPLICATE
        async with self._slots:
            parent = propagate.extract({"traceparent": row.traceparent} if row.traceparent else {})
            with (
                tracer.start_as_current_span("generation.dispatch", context=parent),
                contextlib.suppress(WorkflowAlreadyStartedError),
            ):
                await self._start_workflow(row, chain, reuse, weight)
        log.info("generation.dispatched", generation_id=row.id, request_id=row.request_id)

    @Failpoint("dispatch.start")
    async def _start_workflow(
        self, row: GenerationRow, chain: Sequence[StepRow], reuse: WorkflowIDReusePolicy, weight: float
    ) -> None:
        client = await self._client()
        await client.start_workflow(
            WORKFLOW_TYPE,
            ticket_of(row, chain, self._budgets, weight=weight),
            id=row.id,
            task_queue=WORKFLOW_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=reuse,
            search_attributes=_search_attributes(row),
            priority=turn_of(Share(tenant=row.tenant_id, weight=weight, priority=row.priority)),
            static_summary=" → ".join(step.operation for step in chain),
            static_details="\n".join(
                f"{step.position + 1}. `{step.step_id}` {step.operation} on {step.model}" for step in chain
            ),
            rpc_timeout=_RPC_TIMEOUT,
        )

    @Failpoint("dispatch.cancel")
    async def _cancel(self, generation_id: str) -> None:
        client = await self._client()
        try:
            await client.get_workflow_handle(generation_id).cancel(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            # The workflow has ended meanwhile, or Temporal lost its data: either way nobody is left to end the row.
            await self._records.finish(Ending(generation_id=generation_id, status=s.GenerationStatus.CANCELED))
        log.info("generation.cancel_sent", generation_id=generation_id)

    @Failpoint("dispatch.resolve")
    async def _resolve(self, row: GenerationRow) -> None:
        """Tell the workflow what was decided. One that is gone is started again, where its generation is to go on."""
        client = await self._client()
        decided = Resolution.model_validate(row.resolution)
        try:
            await client.get_workflow_handle(row.id).signal("resolve", decided, rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if decided.action == "retry" and not row.status.is_final:
                await self._start_again(row, decided)
        log.info("generation.resolution_sent", generation_id=row.id, action=decided.action)

    async def _start_again(self, row: GenerationRow, decided: Resolution) -> None:
        async with self._database.reading() as session:
            chain = (await steps.of_generations(session, [row.id]))[row.id]
            weights = await _weights(session, [row])
        failed = remaining(chain)
        if failed is not None and decided.choices:  # another model was named for it
            failed.model, failed.queue = decided.choices[0].model, decided.choices[0].queue
        await self._start_workflow(row, chain, WorkflowIDReusePolicy.ALLOW_DUPLICATE, weights[row.tenant_id])

    @Failpoint("dispatch.tell")
    async def _tell(self, row: DeliveryRow, weight: float) -> None:
        """Start an event's way to its receiver; one that a person asked for again may be on its way, and is woken."""
        client = await self._client()
        again = row.round > 0
        async with self._slots:
            with contextlib.suppress(WorkflowAlreadyStartedError):
                await client.start_workflow(
                    DELIVERY_TYPE,
                    DeliveryTicket(delivery_id=row.id, round=row.round, once=row.type == "webhook.ping"),
                    id=row.id,
                    task_queue=WORKFLOW_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    id_reuse_policy=(
                        WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
                    ),
                    start_signal="redeliver" if again else None,
                    start_signal_args=[row.round] if again else [],
                    search_attributes=TypedSearchAttributes([SearchAttributePair(attributes.TENANT, row.tenant_id)]),
                    priority=turn_of(Share(tenant=row.tenant_id, weight=weight)),
                    static_summary=f"{row.type} to {row.webhook_id}",
                    rpc_timeout=_RPC_TIMEOUT,
                )


async def _weights(session: AsyncSession, rows: Sequence[GenerationRow | DeliveryRow]) -> Mapping[str, float]:
    """The shares of the rows' tenants."""
    ids = {row.tenant_id for row in rows}
    known = await tenants.weights(session, ids) if ids else {}
    return {tenant_id: bounded(known.get(tenant_id, 1.0)) for tenant_id in ids}


def turn_of(share: Share) -> Priority:
    """What Temporal's queues go by; a workflow's activities inherit it.

    Never Temporal's own priority: it goes before tenants, so that one who calls everything urgent would starve the
    others. Instead what is urgent, or is not, waits beside the tenant's other work, with a share that is bounded.
    """
    key = share.tenant if share.priority is s.Priority.NORMAL else f"{share.tenant}/{share.priority}"
    return Priority(fairness_key=key, fairness_weight=bounded(share.weight * _SHARES[share.priority]))


def ticket_of(
    row: GenerationRow, chain: Sequence[StepRow], budgets: BudgetSettings, *, weight: float = 1.0
) -> GenerationTicket:
    """What the workflow gets: of an accepted generation, or of one that goes on."""
    return GenerationTicket(
        generation_id=row.id,
        tenant_id=row.tenant_id,
        deadline_at=row.deadline_at,
        round=row.round,
        start_seconds=row.request.get("start_seconds", budgets.start_seconds),
        run_seconds=row.request.get("run_seconds", budgets.run_seconds),
        kept_seconds=timedelta(days=budgets.dead_letter_days).total_seconds(),
        weight=weight,
        priority=row.priority,
        parked=_parking(row, chain),
        steps=[
            StepTicket(
                position=step.position,
                id=step.step_id,
                operation=step.operation,
                model=step.model,
                queue=step.queue,
                fallbacks=[Choice(model=one["model"], queue=one["queue"]) for one in step.fallbacks],
            )
            for step in chain
        ],
    )


def _parking(row: GenerationRow, chain: Sequence[StepRow]) -> Parking | None:
    """How a dead letter is kept, for a workflow that begins with it."""
    failed = remaining(chain)
    if row.status is not s.GenerationStatus.DEAD_LETTERED or failed is None or row.kept_until is None:
        return None
    return Parking(
        generation_id=row.id,
        position=failed.position,
        round=row.round,
        fault=GenerationFault.model_validate(row.error),
        kept_until=row.kept_until,
    )


def _resumed(chain: Sequence[StepRow], sent: Mapping[tuple[str, int], AttemptRow]) -> Sequence[StepRow]:
    """The steps of a generation that goes on: a call that is under way is waited for before another model is tried."""
    for step in chain:
        if call := sent.get((step.generation_id, step.position)):
            choices = [{"model": step.model, "queue": step.queue}, *step.fallbacks]
            choices.sort(key=lambda one: one["model"] != f"{call.provider}/{call.model}")
            step.model, step.queue = choices[0]["model"], choices[0]["queue"]
            step.fallbacks = choices[1:]
    return chain


def _search_attributes(row: GenerationRow) -> TypedSearchAttributes:
    # Never `queued` first: that update would cost a tenth of all that a short generation costs.
    status = row.status if row.status is s.GenerationStatus.DEAD_LETTERED else s.GenerationStatus.RUNNING
    return TypedSearchAttributes(
        [
            SearchAttributePair(attributes.TENANT, row.tenant_id),
            SearchAttributePair(attributes.STATUS, status.value),
            SearchAttributePair(attributes.MODEL, row.model),
            SearchAttributePair(attributes.OPERATION, row.operation.value),
        ]
    )
