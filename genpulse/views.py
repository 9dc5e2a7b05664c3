"""Rows as answers: what callers see of generations and assets, with links that work for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.errors import NotFound
from genpulse.links import content_path, poster_path
from genpulse.models import AssetRow, AttemptRow, EventRow, GenerationRow, StepRow
from genpulse.repositories import assets, generations, steps
from genpulse.schemas.assets import Asset
from genpulse.schemas.generations import Adaption, Attempt, Cost, DeadLetter, Generation, GenerationFault, Links, Step
from genpulse.schemas.states import GenerationStatus
from genpulse.settings import TemporalSettings
from genpulse.signing import LinkSigner


@dataclass(frozen=True)
class Parts:
    """What belongs to one generation, in order."""

    steps: Sequence[StepRow]
    attempts: Sequence[AttemptRow] = ()
    outputs: Sequence[AssetRow] = ()
    queue_position: int | None = None


async def find_generation(session: AsyncSession, tenant_id: str, generation_id: str) -> tuple[GenerationRow, Parts]:
    """A generation of the tenant, with its parts. Raises NotFound."""
    row = await generations.get(session, tenant_id, generation_id)
    if row is None:
        raise NotFound(f"There is no generation {generation_id}.")
    parts = (await load_parts(session, [generation_id]))[generation_id]
    if row.status is GenerationStatus.QUEUED and row.admitted_at is None:
        parts = replace(parts, queue_position=1 + await generations.count_ahead(session, row))
    return row, parts


async def load_parts(session: AsyncSession, generation_ids: Sequence[str]) -> dict[str, Parts]:
    """The parts of these generations, in three queries however many there are."""
    if not generation_ids:
        return {}
    chains = await steps.of_generations(session, generation_ids)
    attempts = await steps.attempts_of(session, generation_ids)
    outputs: dict[str, list[AssetRow]] = {}
    for asset in await assets.outputs_of(session, generation_ids):
        outputs.setdefault(asset.generation_id or "", []).append(asset)
    return {one: Parts(chains[one], attempts.get(one, ()), outputs.get(one, ())) for one in generation_ids}


@dataclass(frozen=True, kw_only=True)
class Views:
    """Words rows for one request. `base_url` is where its links begin, without a slash at the end."""

    base_url: str
    signer: LinkSigner
    expires_at: datetime
    temporal: TemporalSettings

    def generation(self, row: GenerationRow, parts: Parts) -> Generation:
        chain = [self._step(step, parts) for step in parts.steps]
        return Generation(
            id=row.id,
            object="generation",
            status=row.status,
            operation=row.operation,
            model=row.model,
            progress=row.progress,
            queue_position=parts.queue_position,
            steps=chain,
            adaptions=[Adaption.model_validate(one) for one in row.adaptions],
            outputs=chain[-1].outputs,
            error=_fault(row.error),
            dead_letter=_dead_letter(row),
            cost=_cost(row, parts.steps),
            priority=row.priority,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            deadline_at=row.deadline_at,
            idempotency_key=row.idempotency_key,
            metadata=row.labels,
            links=self._links(row.id),
        )

    def asset(self, row: AssetRow) -> Asset:
        return Asset(
            id=row.id,
            object="asset",
            kind=row.kind,
            media_type=row.media_type,
            bytes=row.bytes,
            sha256=row.sha256,
            width=row.width,
            height=row.height,
            duration=row.duration,
            fps=row.fps,
            url=self._signed(content_path(row.id)),
            poster_url=self._signed(poster_path(row.id)) if row.poster_sha256 else None,
            created_at=row.created_at,
        )

    def event(self, row: EventRow) -> dict[str, Any]:
        """The data of an event; that of an `output` gets a link to the file, which must not be stored: it expires."""
        if row.type != "output":
            return row.data
        return row.data | {"asset": row.data["asset"] | {"url": self._signed(content_path(row.data["asset"]["id"]))}}

    def _step(self, row: StepRow, parts: Parts) -> Step:
        return Step(
            id=row.step_id,
            operation=row.operation,
            model=row.model,
            status=row.status,
            progress=row.progress,
            attempts=[
                Attempt.model_validate(one, from_attributes=True)
                for one in parts.attempts
                if one.position == row.position
            ],
            parameters=row.parameters or {},
            outputs=[self.asset(one) for one in parts.outputs if one.position == row.position],
            error=_fault(row.error),
            started_at=row.started_at,
            finished_at=row.finished_at,
        )

    def _links(self, generation_id: str) -> Links:
        own = f"{self.base_url}/v1/generations/{generation_id}"
        run = f"{self.temporal.ui_url.rstrip('/')}/namespaces/{self.temporal.namespace}/workflows/{generation_id}"
        return Links(
            self=own,
            events=f"{own}/events",
            cancel=f"{own}/cancel",
            temporal=run if self.temporal.ui_url else None,
        )

    def _signed(self, path: str) -> str:
        return f"{self.base_url}{path}?{self.signer.sign(path, self.expires_at)}"


def _cost(row: GenerationRow, chain: Sequence[StepRow]) -> Cost:
    """What is held until it has ended; from then on, what it has cost."""
    held, charged = sum(step.held for step in chain), sum(step.charged for step in chain)
    if row.status.is_final:
        return Cost(held=0, charged=charged, unit="credit")
    return Cost(held=held, charged=0, unit="credit")


def _dead_letter(row: GenerationRow) -> DeadLetter | None:
    if row.status is not GenerationStatus.DEAD_LETTERED or row.parked_at is None or row.kept_until is None:
        return None
    return DeadLetter(since=row.parked_at, until=row.kept_until)


def _fault(error: dict[str, Any] | None) -> GenerationFault | None:
    return GenerationFault.model_validate(error) if error is not None else None
