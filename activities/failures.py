"""GenPulse errors to Temporal failures and back; the only such place."""

from __future__ import annotations

from temporalio import exceptions
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType

from genpulse.errors import DeadlineExceeded, GenPulseError, OutcomeUnknown, ProviderUnavailable
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

OUTCOME_UNKNOWN = OutcomeUnknown.code
DEADLINE_EXCEEDED = DeadlineExceeded.code
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
    """What was written down before, and may not have reached Temporal."""
    return ApplicationError(known.message, known, type=known.code, non_retryable=True)


def fault_of(error: Exception) -> GenerationFault:
    """What a generation shows of a failure that reached its workflow."""
    cause = error.cause if isinstance(error, ActivityError) else error
    ran_out = isinstance(error, ActivityError) and error.retry_state is RetryState.TIMEOUT
    if ran_out and isinstance(cause, ApplicationError):
        return _out_of_time(cause)
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return GenerationFault.model_validate(cause.details[0])
    if isinstance(cause, exceptions.TimeoutError):
        return _timed_out(cause)
    if isinstance(cause, ApplicationError) and cause.type == DeadlineExceeded.code:
        return _plain(DeadlineExceeded(cause.message))
    return GenerationFault(code="internal", message=INTERNAL, retryable=False, provider=None, details={})


def _out_of_time(last: ApplicationError) -> GenerationFault:
    """It would have been tried again, but not before the deadline."""
    if last.type == OUTCOME_UNKNOWN:
        return _plain(OutcomeUnknown(last.message))
    return _plain(DeadlineExceeded(f"The deadline passed before the step was done. At last: {last.message}"))


def _timed_out(cause: exceptions.TimeoutError) -> GenerationFault:
    if cause.type in (TimeoutType.SCHEDULE_TO_CLOSE, TimeoutType.SCHEDULE_TO_START):
        return _plain(DeadlineExceeded("The deadline passed before the step was done."))
    return _plain(ProviderUnavailable("The workers of this step were lost again and again."))


def _plain(error: GenPulseError) -> GenerationFault:
    return fault(error, None)
