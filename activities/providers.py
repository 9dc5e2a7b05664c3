"""Running one step at a cloud: sent once, waited for without holding anything, its outputs fetched at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from temporalio import activity

from activities.failures import OUTCOME_UNKNOWN, fault, recorded, to_temporal
from activities.pacing import LOOK_AGAIN, alive, insist, interval, later, outlast, to_its_end
from genpulse.errors import (
    AlreadyFinished,
    AssetUnavailable,
    CircuitOpen,
    DependencyDown,
    GenPulseError,
    JobMissing,
    MediaRejected,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.failpoints import Failpoint
from genpulse.providers.base import Finished, Job, Media, ModelCall, Pending
from genpulse.schemas.generations import media_references
from genpulse.schemas.plans import Acceptance, Cancellation, StepOrder, StepOutcome
from genpulse.schemas.states import MEDIA_FIELDS, Billing, MediaKind

if TYPE_CHECKING:
    from genpulse.assets import Assets, Staged
    from genpulse.calls import Call, Calls
    from genpulse.catalog import Catalog
    from genpulse.circuits import Circuits
    from genpulse.limits import Limiter
    from genpulse.links import CloudLinks
    from genpulse.providers.registry import Account, Accounts
    from genpulse.records import Records, StepWork
    from genpulse.schemas.catalog import ImageRules, ModelSpec

T = TypeVar("T")

#: How long after sending a lost call is looked for, and a job may be missing: clouds' lists and nodes lag behind.
_SETTLING = timedelta(seconds=60)
#: No deadline is later.
_LINKED_FOR = timedelta(days=7)
#: How long files that cannot be fetched are tried for: longer where the cloud keeps them longer.
_FETCHED_FOR = timedelta(days=1)
_SUBMITTING, _POLLING = Failpoint("providers.submit"), Failpoint("providers.poll")
_SUBMITTING_AGAIN, _FINDING = Failpoint("providers.submit_again"), Failpoint("providers.find")
_CANCELING, _FINDING_TO_CANCEL = Failpoint("providers.cancel"), Failpoint("providers.find_to_cancel")
_POLLING_CANCELED = Failpoint("providers.poll_canceled")
_MOST_ATTEMPTS = 4  # at a cloud that could not be reached or was down
_THROTTLED = 10.0  # seconds, where the cloud does not say
_PROBED_BY_ANOTHER = timedelta(seconds=5)
#: Lost on our own side, or unknown at the cloud's: no end of an attempt.
_NO_END = (AlreadyFinished, DependencyDown, OutcomeUnknown)
_NEXT_WOULD_FAIL = (ProviderUnavailable, ProviderAuthFailed, ProviderQuotaSpent)


@dataclass(frozen=True)
class ProviderActivities:
    """Steps at clouds."""

    calls: Calls
    records: Records
    assets: Assets
    catalog: Catalog
    accounts: Accounts
    limiter: Limiter
    circuits: Circuits
    links: CloudLinks
    now: Callable[[], datetime]

    @activity.defn(name="providers.submit")
    async def submit(self, order: StepOrder) -> Acceptance:
        """Send the call, once. Waiting for a turn is Temporal's: the activity fails and comes back when it is there."""
        async with self._failing(order, attempts=_MOST_ATTEMPTS):
            call = await self.calls.open(order)
            if call.work.outputs:
                return Acceptance(outcome=await self._done(order, call))
            if call.failed is not None:
                raise recorded(call.failed)
            if call.is_accepted:
                return Acceptance()
            account = self.accounts.of(order.model)
            with TemporaryDirectory(prefix="genpulse-call-") as scratch:
                return await self._send(order, call, account, Path(scratch))

    async def _send(self, order: StepOrder, call: Call, account: Account, folder: Path) -> Acceptance:
        if call.sent_at is not None:
            with _still_unknown(account):
                return await self._settle(order, call, account, folder)
        request = await self._request(order, call, folder)
        await self._pass_circuit(order, call, account)
        return await to_its_end(self._pay(order, call, account, request, folder))

    async def _pay(
        self, order: StepOrder, call: Call, account: Account, request: ModelCall, folder: Path
    ) -> Acceptance:
        try:
            await self.calls.sending(order, call, account=account.name, endpoint=account.endpoint)
        except AlreadyFinished as error:  # another worker was faster, or it is called off: to be looked at again
            raise later(error.message, LOOK_AGAIN) from error
        try:
            async with _SUBMITTING:
                answer = await account.provider.submit(request)
        except OutcomeUnknown as error:
            await self.circuits.failed(account.name, error.message)
            # Next time it is found to have been sent, and is asked for instead.
            raise later(error.message, LOOK_AGAIN, unless=OUTCOME_UNKNOWN) from error
        except GenPulseError as error:
            await self._withdraw(order, call, account, error)
            raise
        await self.circuits.worked(account.name)
        async with self._in_flight(account, call):
            return await self._accept(order, call, account, answer, folder)

    async def _pass_circuit(self, order: StepOrder, call: Call, account: Account) -> None:
        """Wait for a turn, unless the account has failed so often that it is left alone."""
        circuit = await self.circuits.of(account.name)
        if circuit.state == "open":
            raise _left_alone(order, account, circuit.left)
        await self._turn(order, call, account)
        if circuit.state == "half_open" and not await self.circuits.probe(account.name, call.key):
            await self.limiter.release(account.name, call.key)
            raise _left_alone(order, account, _PROBED_BY_ANOTHER)

    async def _turn(self, order: StepOrder, call: Call, account: Account) -> None:
        permit = await self.limiter.acquire(account.name, call.key, account.limits, share=order.share)
        if permit.wait:
            raise later("Waiting for a turn at the provider.", permit.wait)

    async def _accept(
        self, order: StepOrder, call: Call, account: Account, answer: Job | Finished, folder: Path
    ) -> Acceptance:
        if isinstance(answer, Job):
            await insist(lambda: self.calls.accepted(order, call, answer))
            return Acceptance()
        if not answer.outputs:
            raise ProviderFailed(f"{account.name} says that it is done, but gave no file.")
        if any(output.content is not None or output.headers for output in answer.outputs):
            return await insist(lambda: self._take(order, call, account, answer, folder))
        await insist(lambda: self.calls.answered(order, call, answer))
        try:
            return await self._take(order, call, account, answer, folder)
        except (AssetUnavailable, DependencyDown) as error:  # fetched again by `poll`, as those of a job are
            raise later(error.message, LOOK_AGAIN) from error

    async def _take(self, order: StepOrder, call: Call, account: Account, answer: Finished, folder: Path) -> Acceptance:
        return Acceptance(outcome=await self._collect(order, call, account, answer, folder))

    async def _withdraw(self, order: StepOrder, call: Call, account: Account, error: GenPulseError) -> None:
        """The cloud has refused the call, for certain: it may be sent again, and takes no place in flight."""
        await insist(lambda: self.calls.withdrawn(order, call))
        await self.limiter.release(account.name, call.key)
        if isinstance(error, _NEXT_WOULD_FAIL):
            await self.circuits.failed(account.name, error.message)
        elif isinstance(error, ProviderError):
            await self.circuits.worked(account.name)
        if isinstance(error, ProviderThrottled):
            seconds = error.details.get("retry_after") or _THROTTLED
            await self.limiter.pause(account.name, seconds)
            raise later(error.message, timedelta(seconds=seconds)) from error

    async def _settle(self, order: StepOrder, call: Call, account: Account, folder: Path) -> Acceptance:
        """It was sent, and nobody knows what came of it: ask the cloud, and never make a second job."""
        request = await self._request(order, call, folder)
        if account.provider.remembers_key(request):
            await self._turn(order, call, account)
            try:
                async with _SUBMITTING_AGAIN:
                    answer = await account.provider.submit(request)
            except OutcomeUnknown as error:  # lost again; to ask once more is harmless here
                raise later(error.message, LOOK_AGAIN, unless=OUTCOME_UNKNOWN) from error
            return await self._accept(order, call, account, answer, folder)
        if account.provider.can_find(request):
            assert call.sent_at is not None
            async with _FINDING:
                job = await account.provider.find(request, sent_at=call.sent_at)
            if job is not None:
                await self.calls.accepted(order, call, job)
                return Acceptance()
            if self.now() - call.sent_at < _SETTLING:
                why = "Looking for the job of a call whose answer was lost."
                raise later(why, LOOK_AGAIN, unless=OUTCOME_UNKNOWN)
        raise _unknown(account)

    async def _request(self, order: StepOrder, call: Call, folder: Path) -> ModelCall:
        work, spec = call.work, self.catalog.get(order.model)
        rules = spec.operations[work.operation].images
        staged = await self.assets.stage(work, rules, folder)
        media: dict[str, list[Media]] = {}
        for where, path in staged.files.items():
            url = await self._url(order, work, staged, where, rules)
            media.setdefault(where.partition(".")[0], []).append(await self.assets.as_media(path, url=url))
        return ModelCall(
            model=spec.name,
            operation=work.operation,
            wire=spec.wire_of(work.operation),
            input={name: value for name, value in work.input.items() if name not in media},
            media=media,
            options=work.options,
            key=call.key,
            callback_url=self.links.callback(spec.provider, order.generation_id, self.now() + _LINKED_FOR),
        )

    async def _url(
        self, order: StepOrder, work: StepWork, staged: Staged, where: str, rules: Mapping[str, ImageRules]
    ) -> str | None:
        """Where the cloud may fetch an input itself. Images are sent along instead, to whoever takes them so."""
        name = where.partition(".")[0]
        if MEDIA_FIELDS[name] is MediaKind.IMAGE and not (name in rules and rules[name].by_url_only):
            return None
        source = work.sources.get(where)
        if where in staged.fitted:
            source = await self.assets.upload(staged.files[where], order.tenant_id)
        if source is not None:
            return self.links.asset(source.id, self.now() + _LINKED_FOR)
        url: str | None = dict(media_references(work.input))[where].get("url")
        return url

    @activity.defn(name="providers.poll")
    async def poll(self, order: StepOrder) -> StepOutcome:
        """Ask for the job, and fetch what it made. Until then it fails, and comes back as often as the model merits."""
        async with self._failing(order):
            call = await self.calls.resume(order)
            if call.work.outputs:
                return await self._done(order, call)
            if call.failed is not None:
                raise recorded(call.failed)
            account, spec = self.accounts.of(order.model), self.catalog.get(order.model)
            async with self._in_flight(account, call):
                state = call.answer or await self._ask(order, call, account, spec)
                return await self._fetch(order, call, account, state)

    async def _done(self, order: StepOrder, call: Call) -> StepOutcome:
        """The step has succeeded before; whoever wrote that down may not have come to give the place back."""
        await self._free_place(order)
        return StepOutcome(outputs=list(call.work.outputs))

    async def _fetch(self, order: StepOrder, call: Call, account: Account, state: Finished) -> StepOutcome:
        with TemporaryDirectory(prefix="genpulse-call-") as scratch:
            try:
                return await self._collect(order, call, account, state, Path(scratch))
            except AssetUnavailable as error:
                kept = timedelta(seconds=self.catalog.get(order.model).result_seconds or 0)
                if self._age(call) > max(kept, _FETCHED_FOR):
                    raise
                raise later(error.message, LOOK_AGAIN) from error  # a fresh answer may bring fresh links

    async def _ask(self, order: StepOrder, call: Call, account: Account, spec: ModelSpec) -> Finished:
        """The finished job; anything else raises."""
        assert call.job_id is not None
        job = Job(id=call.job_id, handle=call.handle)
        request = self._about(order, call)
        again = interval(self._age(call), spec, called_back=order.called_back)
        try:
            async with _POLLING:
                state = await account.provider.poll(job, request)
        except (ProviderUnavailable, ProviderThrottled) as error:
            raise later(error.message, again) from error
        except JobMissing as error:
            if self._age(call) < _SETTLING:
                raise later(error.message, again) from error
            raise
        if isinstance(state, Pending) or (not state.outputs and self._age(call) < _SETTLING):
            await self._keep_place(order, call, account)
            if isinstance(state, Pending) and state.fraction is not None:
                await self.records.progress(order, call.work.step_id, state.fraction)
            raise later("The provider is working on it.", again)
        if not state.outputs:
            raise ProviderFailed(f"{account.name} says that it is done, but gave no file.")
        return state

    async def _keep_place(self, order: StepOrder, call: Call, account: Account) -> None:
        if not await self.limiter.keep(account.name, call.key) and await self.calls.is_over(order, call):
            # It was given up while its cloud was asked, and nobody would give the place back.
            await self.limiter.release(account.name, call.key)
            raise AlreadyFinished("The call has been given up.")

    def _about(self, order: StepOrder, call: Call) -> ModelCall:
        """The call as it is asked about: without its files."""
        spec, operation = self.catalog.get(order.model), call.work.operation
        return ModelCall(
            model=spec.name, operation=operation, wire=spec.wire_of(operation), input=call.work.input, key=call.key
        )

    async def _collect(
        self, order: StepOrder, call: Call, account: Account, state: Finished, folder: Path
    ) -> StepOutcome:
        paths = [await account.fetch(output, folder / f"output-{i}") for i, output in enumerate(state.outputs)]
        try:
            rows = await self.assets.ingest_outputs(paths, order)
        except MediaRejected as error:
            raise self._unusable(call, account, state, error) from error
        parameters = dict(state.parameters)
        if len(rows) < call.work.input.get("count", 1):  # some were refused, or the cloud chose to make fewer
            parameters["count"] = len(rows)
        made = await self.records.finish_step(order, rows, parameters=parameters, adaptions=[], usage=dict(state.usage))
        await self.limiter.release(account.name, call.key)
        return StepOutcome(outputs=made)

    def _unusable(self, call: Call, account: Account, state: Finished, error: MediaRejected) -> GenPulseError:
        """An error page with status 200, half a file: asked for again, for a while."""
        why = f"{account.name} gave a file that cannot be used: {error.message}"
        for_good = any(output.content is not None for output in state.outputs)
        late = call.sent_at is not None and self._age(call) > _SETTLING
        return ProviderFailed(why) if for_good or late else AssetUnavailable(why)

    @activity.defn(name="providers.cancel")
    async def cancel(self, order: StepOrder) -> Cancellation:
        """Tell the cloud to stop, and write down what it bills all the same.

        Afterwards nothing is sent any more, and the job takes no place in flight.
        """
        async with alive():
            try:
                return await self._cancel(order)
            except GenPulseError as error:
                raise to_temporal(error, order.model.partition("/")[0]) from error

    async def _cancel(self, order: StepOrder) -> Cancellation:
        call = await self.calls.sent(order)
        if call is None:
            await self._leave_turn(order)
            return Cancellation(billing=Billing.NONE)
        account = self.accounts.of(order.model)
        job = await self._job_of(order, call, account)
        billing, usage = await self._stop(order, call, account, job)
        await self.calls.given_up(order, call, billing, usage)
        await self.limiter.release(account.name, call.key)
        return Cancellation(billing=billing, unknown=job is None and call.answer is None)

    async def _leave_turn(self, order: StepOrder) -> None:
        """What waited to be sent keeps nobody waiting any more. Where that cannot be said, its turn lapses."""
        with suppress(DependencyDown):
            await self._free_place(order)

    async def _free_place(self, order: StepOrder) -> None:
        key = await self.calls.key_of(order)
        if key is not None:
            await self.limiter.release(self.accounts.of(order.model).name, key)

    async def _job_of(self, order: StepOrder, call: Call, account: Account) -> Job | None:
        """The job of a call that was sent; looked for at the cloud, where its answer was lost."""
        if call.job_id is not None:
            return Job(id=call.job_id, handle=call.handle)
        request = self._about(order, call)
        if call.answer is not None or not account.provider.can_find(request):
            return None
        assert call.sent_at is not None
        async with _FINDING_TO_CANCEL:
            job = await account.provider.find(request, sent_at=call.sent_at)
        if job is None and self._age(call) < _SETTLING:
            raise ProviderUnavailable("The job is not in the provider's list yet.")
        return job

    async def _stop(
        self, order: StepOrder, call: Call, account: Account, job: Job | None
    ) -> tuple[Billing, Mapping[str, int | float] | None]:
        """Cancel the job and look at it once more: what the cloud bills, and what it says that it does."""
        if job is None:
            return (Billing.FULL, call.answer.usage) if call.answer else (Billing.POSSIBLE, None)
        async with _CANCELING:
            await account.provider.cancel(job)
        try:
            async with _POLLING_CANCELED:
                state = await account.provider.poll(job, self._about(order, call))
        except ProviderError:
            return Billing.POSSIBLE, None  # it has stopped, or cannot be asked; its terms say what that costs
        if isinstance(state, Finished):
            return Billing.FULL, state.usage
        return (Billing.POSSIBLE if account.provider.can_cancel else Billing.FULL), None

    def _age(self, call: Call) -> timedelta:
        assert call.sent_at is not None
        return self.now() - call.sent_at

    @asynccontextmanager
    async def _in_flight(self, account: Account, call: Call) -> AsyncIterator[None]:
        """A job that has failed takes no place in flight any more."""
        try:
            yield
        except _NO_END:
            raise
        except GenPulseError:
            await self.limiter.release(account.name, call.key)
            raise

    @asynccontextmanager
    async def _failing(self, order: StepOrder, *, attempts: int = 1) -> AsyncIterator[None]:
        """Failures as Temporal and the record of the attempt see them.

        What may pass is tried again as a new attempt, up to `attempts`; after that the workflow decides.
        """
        provider = order.model.partition("/")[0]
        async with alive():
            try:
                yield
            except _NO_END as error:
                raise to_temporal(error, provider) from error
            except GenPulseError as error:
                failed = fault(error, provider)
                number = await outlast(lambda: self.records.fail_attempt(order, failed))
                # A job that failed may have been paid for: whether another follows is the workflow's to say.
                final = number >= attempts or isinstance(error, ProviderFailed)
                raise to_temporal(error, provider, final=final) from error


@contextmanager
def _still_unknown(account: Account) -> Iterator[None]:
    """Whatever goes wrong while a call is settled must not end its attempt: that alone keeps it from being repeated."""
    try:
        yield
    except (ProviderThrottled, ProviderUnavailable, DependencyDown) as error:
        wait = timedelta(seconds=error.details.get("retry_after") or _THROTTLED)
        why = f"Settling a call whose answer was lost: {error.message}"
        raise later(why, wait, unless=OUTCOME_UNKNOWN) from error
    except (AlreadyFinished, OutcomeUnknown):
        raise
    except GenPulseError as error:
        raise _unknown(account) from error


def _unknown(account: Account) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"The answer of {account.name} was lost, and it cannot be told whether the job was accepted. Look for it at "
        "the provider; it is not sent again by itself."
    )


def _left_alone(order: StepOrder, account: Account, wait: timedelta) -> Exception:
    """What becomes of a call while nothing is sent: the next model takes it, or it waits."""
    why = f"{account.name} has failed again and again, and is left alone for a while."
    return CircuitOpen(why) if order.has_next else later(why, wait)
