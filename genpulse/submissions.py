"""Accepting a generation: one transaction that writes everything, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse import ledger, places
from genpulse.db import Database, utc_now
from genpulse.errors import AlreadyFinished, IdempotencyKeyReused, InvariantBroken, NotFound
from genpulse.failpoints import Failpoint
from genpulse.ids import new_id
from genpulse.ledger import Bound
from genpulse.models import GenerationRow, IdempotencyRow, StepRow, WebhookRow, metadata
from genpulse.pricing import held_for
from genpulse.repositories import deliveries, generations, idempotency, webhooks
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.plans import Plan
from genpulse.schemas.states import GenerationStatus, StepStatus

#: Of the tables and not of the classes: without the detour through the unit of work an acceptance costs a third less.
_INTO_GENERATION = insert(metadata.tables[GenerationRow.__tablename__])
_INTO_STEP = insert(metadata.tables[StepRow.__tablename__])


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A request that is ready to be written down. `traceparent` continues the caller's trace in the workflow.

    `webhook_secret` is that of the request's webhook, sealed, where it has one of its own.
    `generation`, `steps` and `webhook` are the rows that it makes, so that an answer needs no reading back.
    """

    tenant_id: str
    request: GenerationCreate
    plan: Plan
    request_id: str
    idempotency_key: str | None = None
    fingerprint: str = ""
    traceparent: str | None = None
    webhook_secret: str | None = None
    api_key_id: str | None = None

    @cached_property
    def generation(self) -> GenerationRow:
        return _generation_row(self)

    @cached_property
    def steps(self) -> list[StepRow]:
        return _step_rows(self.generation.id, self.plan)

    @property
    def bound(self) -> Bound:
        """The most that it may cost."""
        return Bound(
            credits=sum(held_for(step.quotes.values()) for step in self.plan.steps), unpriced=list(self._unpriced())
        )

    def _unpriced(self) -> Iterator[tuple[str, str]]:
        """What has no price, by its place in the request: what was added or chosen, by that of what it is for."""
        wanted = {step.id: step for step in self.request.as_steps()}
        prefixes = {step.id: f"steps.{index}." for index, step in enumerate(self.request.steps or ())}
        causes = {one.added_step: one.step for one in self.plan.adaptions if one.added_step is not None}
        for step in self.plan.steps:
            asked = wanted.get(step.id)
            for field, what in step.unpriced:
                is_named = asked is not None and (asked.fallbacks or not field.startswith("fallbacks."))
                yield prefixes.get(causes.get(step.id, step.id), "") + (field if is_named else "model"), what

    @cached_property
    def webhook(self) -> WebhookRow | None:
        return _webhook_row(self)


def fingerprint(body: Any) -> str:
    """SHA-256 of a request's canonical JSON; equal for bodies that mean the same."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


async def find_replay(session: AsyncSession, tenant_id: str, key: str, body_fingerprint: str) -> str | None:
    """The generation that this key made before. Raises IdempotencyKeyReused when it came with another body."""
    known = await idempotency.get(session, tenant_id, key)
    if known is None:
        return None
    if known.fingerprint != body_fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came before with another body. Use a new key for a new generation.",
            field="Idempotency-Key",
        )
    return known.generation_id


@Failpoint("submissions.accept")
async def accept(database: Database, submission: Submission) -> str:
    """Write a generation down and return its id; that of an earlier request with the same key, where there is one.

    What it may cost is held. Raises InsufficientCredits, SpendLimitReached, ModelNotPriced.
    """
    try:
        async with database.transaction() as session:
            return await _insert(session, submission)
    except IntegrityError:
        if submission.idempotency_key is None:
            raise
        return await _winner(database, submission, submission.idempotency_key)


async def _winner(database: Database, submission: Submission, key: str) -> str:
    """Another request with this key was first, perhaps a moment ago."""
    async with database.reading() as session:
        generation_id = await find_replay(session, submission.tenant_id, key, submission.fingerprint)
    if generation_id is None:
        raise InvariantBroken("The key was taken, and is not.")
    return generation_id


async def _insert(session: AsyncSession, submission: Submission) -> str:
    row = submission.generation
    await session.execute(_INTO_GENERATION, [row.model_dump()])
    await session.execute(_INTO_STEP, [step.model_dump() for step in submission.steps])
    if submission.idempotency_key is not None:
        record = IdempotencyRow(
            tenant_id=row.tenant_id,
            key=submission.idempotency_key,
            fingerprint=submission.fingerprint,
            generation_id=row.id,
            created_at=row.created_at,
        )
        await idempotency.add(session, record)
    if submission.webhook is not None:
        await webhooks.add(session, submission.webhook)
    await deliveries.announce(session, row.tenant_id, generations.facts_of(row, row.id, row.status))
    # Last, because it locks the tenant's account until the end.
    account = await ledger.hold(session, row.tenant_id, row.id, submission.bound)
    if not await places.take_place(session, account, row.id):
        row.admitted_at = None
    return row.id


def _generation_row(submission: Submission) -> GenerationRow:
    request, plan, now = submission.request, submission.plan, utc_now()
    named = request.operation or plan.steps[-1].operation
    return GenerationRow(
        id=new_id("gen"),
        tenant_id=submission.tenant_id,
        status=GenerationStatus.QUEUED,
        operation=named,
        model=request.model or plan.steps[-1].model,
        priority=request.priority,
        request=request.model_dump(mode="json", exclude_none=True),
        adaptions=[adaption.model_dump(mode="json") for adaption in plan.adaptions],
        labels=request.metadata,
        idempotency_key=submission.idempotency_key,
        api_key_id=submission.api_key_id,
        request_id=submission.request_id,
        traceparent=submission.traceparent,
        created_at=now,
        admitted_at=now,
        deadline_at=now + timedelta(seconds=request.deadline_seconds),
    )


def _step_rows(generation_id: str, plan: Plan) -> list[StepRow]:
    return [
        StepRow(
            generation_id=generation_id,
            position=position,
            step_id=step.id,
            operation=step.operation,
            model=step.model,
            queue=step.queue,
            status=StepStatus.QUEUED,
            input=step.input,
            provider_options=step.provider_options,
            fallbacks=[choice.model_dump() for choice in step.fallbacks],
            quotes={model: quote.model_dump(mode="json") for model, quote in step.quotes.items()},
            held=held_for(step.quotes.values()),
        )
        for position, step in enumerate(plan.steps)
    ]


def _webhook_row(submission: Submission) -> WebhookRow | None:
    wanted, generation = submission.request.webhook, submission.generation
    if wanted is None:
        return None
    return WebhookRow(
        id=new_id("whk"),
        tenant_id=submission.tenant_id,
        generation_id=generation.id,
        url=str(wanted.url),
        events=list(wanted.events),
        secret=submission.webhook_secret,
        created_at=generation.created_at,
    )


async def request_cancel(session: AsyncSession, tenant_id: str, generation_id: str) -> None:
    """Ask for a generation to be cancelled; the dispatcher carries it on, now or when Temporal is back.

    Repeating it, or cancelling a cancelled one, is harmless. Raises AlreadyFinished for one that ended otherwise.
    """
    event = ("status", {"status": GenerationStatus.CANCELING})
    row = await generations.get(session, tenant_id, generation_id)
    if row is None:
        raise NotFound(f"There is no generation {generation_id}.")
    if row.status in (GenerationStatus.CANCELING, GenerationStatus.CANCELED):
        return
    asked = await generations.enter(
        session, generation_id, GenerationStatus.CANCELING, event, cancel_requested_at=utc_now()
    )
    if not asked:
        raise AlreadyFinished(f"{generation_id} has {row.status} already; there is nothing to cancel.")
