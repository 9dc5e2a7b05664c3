"""GenPulse errors to Temporal failures and back; the only such place."""

from __future__ import annotations

from typing import Literal

from temporalio import exceptions
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType

from genpulse.errors import (
    AssetUnavailable,
    DeadlineExceeded,
    GenPulseError,
    OutcomeUnknown,
    ProviderFailed,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.schemas.generations import GenerationFault

#: Codes that a generation's error may carry (docs/errors.md); any other error of ours is a wrong input or our fault.
_PUBLIC = frozenset(
    {
        "invalid_input",
        "content_blocked",
        "provider_auth",
        "provider_quota",
        "provider_throttled",
        "provider_unavailable",
        "provider_rejected",
        "provider_failed",
        "outcome_unknown",
        "asset_unavailable",
        "engine_out_of_memory",
        "deadline_exceeded",
        "insufficient_credits",
        "internal",
    }
)
_AS_INPUT = frozenset({"media_rejected", "unsafe_url", "unknown_model", "adaption_required"})

#: What lies in no request: the same may succeed once an account, a provider or a worker is well again.
_NOBODY_ASKED_FOR = frozenset(
    {
        "provider_auth",
        "provider_quota",
        "provider_throttled",
        "provider_unavailable",
        "outcome_unknown",
        "engine_out_of_memory",
        "internal",
    }
)

Spent = Literal["deadline", "start", "run"]
"""A budget of time: the caller's deadline, how long a step may wait for its turn, how long it may then take."""

_SPENT: dict[Spent, tuple[type[GenPulseError], str]] = {
    "deadline": (DeadlineExceeded, "The deadline passed before the step was done."),
    "start": (ProviderThrottled, "The step's turn did not come within its time to start."),
    "run": (ProviderFailed, "The step was not done within its time to run."),
}

OUTCOME_UNKNOWN = OutcomeUnknown.code
INTERNAL = "Something went wrong on our side. The generation's id is all that support needs."


def fault(error: GenPulseError, provider: str | None) -> GenerationFault:
    """What a generation shows of an error."""
    details = dict(error.details)
    if error.field is not None:
        details["field"] = error.field
    code = "invalid_input" if error.code in _AS_INPUT else error.code if error.code in _PUBLIC else "internal"
    return GenerationFault(
        code=code, message=error.message, retryable=error.retryable, provider=provider, details=details
    )


def to_temporal(error: GenPulseError, provider: str | None, *, final: bool = False) -> ApplicationError:
    """An activity's failure. Temporal tries again unless the error says that this cannot help, or it is `final`."""
    return ApplicationError(
        error.message, fault(error, provider), type=error.code, non_retryable=final or not error.retryable
    )


def recorded(known: GenerationFault) -> ApplicationError:
    """A failure that is known already, for good."""
    return ApplicationError(known.message, known, type=known.code, non_retryable=True)


def unknown(known: GenerationFault) -> ApplicationError:
    """The same, where a job may exist that nobody could find."""
    why = f"{known.message} Whether the provider accepted the job cannot be told; look for it there."
    return recorded(known.model_copy(update={"code": OUTCOME_UNKNOWN, "message": why, "retryable": False}))


def out_of_time(spent: Spent, at_last: str = "") -> GenerationFault:
    """What a step ends with that has used up this budget of time."""
    made, why = _SPENT[spent]
    return _plain(made(f"{why} At last: {at_last}" if at_last else why, budget=spent))


def ran_out(error: ActivityError) -> bool:
    """Whether it ended because its time was up, and not because of what it did."""
    return error.retry_state is RetryState.TIMEOUT or (
        isinstance(error.cause, exceptions.TimeoutError) and error.cause.type is not TimeoutType.HEARTBEAT
    )


def can_wait(error: ActivityError | ApplicationError) -> bool:
    """Whether a person may have it go on later: its tries are spent, or what is wrong lies in nobody's request.

    Who has set a limit to the time wants to hear that it is over.
    """
    known = fault_of(error)
    if "budget" in known.details:
        return False
    if isinstance(error, ActivityError) and error.retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED:
        return True
    return known.code in _NOBODY_ASKED_FOR or (known.code == AssetUnavailable.code and known.retryable)


def fault_of(error: Exception, *, spent: Spent = "deadline") -> GenerationFault:
    """What a generation shows of a failure that reached its workflow; `spent` is what bounded the activity's time."""
    cause = error.cause if isinstance(error, ActivityError) else error
    ended_by_time = isinstance(error, ActivityError) and error.retry_state is RetryState.TIMEOUT
    if isinstance(cause, ApplicationError):
        if ended_by_time and cause.type == OUTCOME_UNKNOWN:
            return _plain(OutcomeUnknown(cause.message))
        if ended_by_time:
            return out_of_time(spent, cause.message)
        if cause.details and isinstance(cause.details[0], dict | GenerationFault):
            return GenerationFault.model_validate(cause.details[0])
    if isinstance(cause, exceptions.TimeoutError):
        return _timed_out(cause, spent)
    return GenerationFault(code="internal", message=INTERNAL, retryable=False, provider=None, details={})


def spent_on_engine(error: ActivityError, *, waiting: Spent) -> Spent:
    """Which budget an activity of the engine has used up; `waiting` is the one that bounded its start."""
    if not isinstance(error.cause, exceptions.TimeoutError):
        return "deadline"
    ended: dict[TimeoutType | None, Spent] = {TimeoutType.SCHEDULE_TO_START: waiting, TimeoutType.START_TO_CLOSE: "run"}
    return ended.get(error.cause.type, "deadline")


def _timed_out(cause: exceptions.TimeoutError, spent: Spent) -> GenerationFault:
    if cause.type is TimeoutType.HEARTBEAT:
        return _plain(ProviderUnavailable("The workers of this step were lost again and again."))
    return out_of_time(spent)


def _plain(error: GenPulseError) -> GenerationFault:
    return fault(error, None)
