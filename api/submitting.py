"""From a request to a generation that is written down, and its answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from api.inputs import planned
from api.services import Services
from genpulse import telemetry
from genpulse.errors import DependencyDown
from genpulse.models import GenerationRow
from genpulse.schemas.generations import Generation, GenerationCreate
from genpulse.schemas.states import FINAL, GenerationStatus
from genpulse.security import Caller
from genpulse.submissions import Submission, accept, find_replay, fingerprint
from genpulse.views import Parts, Views, find_generation

_SETTLED = FINAL | {GenerationStatus.DEAD_LETTERED}


@dataclass(frozen=True)
class Submitted:
    """The generation; `replayed` when an earlier request with the same key had made it."""

    generation: Generation
    replayed: bool


@dataclass(frozen=True)
class Submitter:
    """Works for one caller in one request."""

    services: Services
    views: Views
    caller: Caller
    request_id: str

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    async def submit(self, request: GenerationCreate, key: str | None) -> Submitted:
        """Accept a request, or find what it made when its key came before."""
        webhook = request.webhook
        secret = self.services.endpoints.accept(webhook, self.tenant_id) if webhook is not None else None
        body = fingerprint(request.model_dump(mode="json", exclude_unset=True)) if key else ""
        if key and (made := await self._made_by(key, body)):
            return await self._replay(made)
        submission = Submission(
            tenant_id=self.tenant_id,
            plan=await planned(self.services, self.caller, request),
            request=request,
            request_id=self.request_id,
            idempotency_key=key,
            fingerprint=body,
            traceparent=telemetry.traceparent(),
            webhook_secret=secret,
            api_key_id=self.caller.key_id,
        )
        return await self._accept(submission)

    async def wait(self, generation: Generation, seconds: int) -> Generation:
        """The generation once it has ended, or waits for a person, or as it is after so many seconds.

        It has been accepted: when the database fails now, the answer is the last that is known.
        """
        ends_at = asyncio.get_running_loop().time() + seconds
        try:
            row, parts = await self._read(generation.id)
            while row.status not in _SETTLED and await self._changed(row, ends_at):
                row, parts = await self._read(generation.id)
        except DependencyDown:
            return generation
        return self.views.generation(row, parts)

    async def _accept(self, submission: Submission) -> Submitted:
        row = submission.generation
        accepted = await accept(self.services.database, submission)
        if accepted != row.id:  # another request with this key was faster
            return await self._replay(accepted)
        self.services.dispatcher.notify()
        self.services.metrics.count_accepted(row.operation, row.model)
        return Submitted(await self._answer(submission), replayed=False)

    async def _answer(self, submission: Submission) -> Generation:
        """What was just accepted; of one that waits for a place the database knows how many go before."""
        row = submission.generation
        if row.admitted_at is None:
            with suppress(DependencyDown):  # it is accepted all the same
                return self.views.generation(*await self._read(row.id))
        return self.views.generation(row, Parts(submission.steps))

    async def _made_by(self, key: str, body: str) -> str | None:
        async with self.services.database.reading() as session:
            return await find_replay(session, self.tenant_id, key, body)

    async def _replay(self, generation_id: str) -> Submitted:
        row, parts = await self._read(generation_id)
        return Submitted(self.views.generation(row, parts), replayed=True)

    async def _read(self, generation_id: str) -> tuple[GenerationRow, Parts]:
        async with self.services.database.reading() as session:
            return await find_generation(session, self.tenant_id, generation_id)

    async def _changed(self, row: GenerationRow, ends_at: float) -> bool:
        try:
            # Around the waiting alone: a query that is cut off would cost its connection.
            async with asyncio.timeout_at(ends_at):
                return await self.services.watch.newer(row.id, row.version)
        except TimeoutError:
            return False
