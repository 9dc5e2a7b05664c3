"""Every error that GenPulse raises on purpose.

GenPulseError
├── InvalidRequest       400/422   MalformedRequest UnknownModel InvalidInput ModelNotPriced AdaptionRequired
│                                  UnsafeUrl MediaRejected IdempotencyKeyReused
├── AccessError          401–404   Unauthenticated Forbidden NotFound
├── Conflict             409       AlreadyFinished NotDeadLettered WebhookDisabled KeyInactive LimitReached
│                                  SecretUnreadable
├── LimitError           402–429   InsufficientCredits SpendLimitReached PayloadTooLarge
│                                  RangeNotSatisfiable RateLimited
├── ProviderError        502–504   ContentBlocked ProviderRejected ProviderFailed JobMissing ProviderAuthFailed
│                                  ProviderQuotaSpent ProviderThrottled ProviderUnavailable OutcomeUnknown
│                                  AssetUnavailable DeadlineExceeded
├── EngineError          503       OutOfMemory ModelUnavailable
├── DependencyDown       503
└── InvariantBroken      500       never retried, always alerts

A leaf fixes `code` (stable, documented in docs/errors.md), the HTTP `status`, and whether trying the same thing again
can help. Two places translate: `api/problems.py` to HTTP, `activities/failures.py` to Temporal.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GenPulseError(Exception):
    """Base of the tree; `message` is public, `details` holds what a caller needs to act on it.

    `field` is the path of the offending input as the caller wrote it, for example `steps.0.input.width`. Whether trying
    again may help is the class's to say, unless an instance knows better.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: bool = False

    def __init_subclass__(
        cls, *, code: str = "", status: int = 0, retryable: bool = False, branch: bool = False
    ) -> None:
        super().__init_subclass__()
        if branch:
            return
        if not code or not status:
            raise TypeError(f"{cls.__name__} needs a code and a status")
        cls.code, cls.status, cls.retryable = code, status, retryable

    def __init__(
        self, message: str, *, field: str | None = None, retryable: bool | None = None, **details: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.details = details
        if retryable is not None:
            self.retryable = retryable


class InvalidRequest(GenPulseError, branch=True):
    """The request itself is wrong; sending it again unchanged cannot succeed."""


class MalformedRequest(InvalidRequest, code="malformed_request", status=400):
    """A header or body that cannot be read at all."""


class UnknownModel(InvalidRequest, code="unknown_model", status=422):
    """No such model in the catalogue, or one past its retirement."""


class InvalidInput(InvalidRequest, code="invalid_input", status=422):
    """A field that is missing, unknown to the model, or outside its limits."""


class ModelNotPriced(InvalidRequest, code="model_not_priced", status=422):
    """A model without a price, asked for by a tenant that pays with credits."""


class AdaptionRequired(InvalidRequest, code="adaption_required", status=422):
    """The request needs an added step or conversion, and the caller forbade it with `adapt: false`."""


class UnsafeUrl(InvalidRequest, code="unsafe_url", status=422):
    """A URL that leads to a private, local or otherwise reserved address."""


class MediaRejected(InvalidRequest, code="media_rejected", status=422):
    """Content that is no supported image, video or audio, is damaged, or exceeds a limit."""


class IdempotencyKeyReused(InvalidRequest, code="idempotency_key_reused", status=422):
    """The key came before with another body."""


class AccessError(GenPulseError, branch=True):
    """The caller may not do this, or may not know whether it exists."""


class Unauthenticated(AccessError, code="unauthenticated", status=401):
    """No key, or an unknown one."""


class Forbidden(AccessError, code="forbidden", status=403):
    """A valid key without the scope, or a link whose signature is wrong or expired."""


class NotFound(AccessError, code="not_found", status=404):
    """Nothing of that id belongs to the caller."""


class Conflict(GenPulseError, branch=True):
    """The object's state does not allow this."""


class AlreadyFinished(Conflict, code="already_finished", status=409):
    """The generation has ended."""


class NotDeadLettered(Conflict, code="not_dead_lettered", status=409):
    """The generation does not wait for a decision."""


class WebhookDisabled(Conflict, code="webhook_disabled", status=409):
    """Nothing is sent to the endpoint until it is enabled again."""


class KeyInactive(Conflict, code="key_inactive", status=409):
    """The key works no more, or another one goes on in its place already."""


class LimitReached(Conflict, code="limit_reached", status=409):
    """There are as many of these as there may be."""


class SecretUnreadable(Conflict, code="secret_unreadable", status=409):
    """A stored secret cannot be opened with the server's key."""


class LimitError(GenPulseError, branch=True):
    """A limit of the caller or of the service was met."""


class InsufficientCredits(LimitError, code="insufficient_credits", status=402):
    """The balance does not cover the upper bound of the cost."""


class SpendLimitReached(LimitError, code="spend_limit_reached", status=429, retryable=True):
    """What the tenant may spend a day would be exceeded; the answer says when the next one begins."""


class PayloadTooLarge(LimitError, code="payload_too_large", status=413):
    """The body is larger than the service accepts."""


class RangeNotSatisfiable(LimitError, code="range_not_satisfiable", status=416):
    """The asked byte range lies outside the content."""


class RateLimited(LimitError, code="rate_limited", status=429, retryable=True):
    """Too many requests; the answer says when to come back."""


class ProviderError(GenPulseError, branch=True):
    """A generation could not be made."""


class ContentBlocked(ProviderError, code="content_blocked", status=502):
    """The provider refused the content."""


class ProviderRejected(ProviderError, code="provider_rejected", status=502):
    """The provider refused the request as malformed."""


class ProviderFailed(ProviderError, code="provider_failed", status=502, retryable=True):
    """The provider accepted the job and failed at it."""


class JobMissing(ProviderError, code="provider_failed", status=502, retryable=True):
    """The provider does not know the job; right after it was accepted that may pass."""


class ProviderAuthFailed(ProviderError, code="provider_auth", status=502):
    """The provider does not accept our credentials."""


class ProviderQuotaSpent(ProviderError, code="provider_quota", status=502):
    """The account at the provider has no balance or quota left."""


class ProviderThrottled(ProviderError, code="provider_throttled", status=503, retryable=True):
    """The provider asks to come back later."""


class ProviderUnavailable(ProviderError, code="provider_unavailable", status=503, retryable=True):
    """The provider cannot be reached or is down."""


class CircuitOpen(ProviderError, code="provider_unavailable", status=503):
    """The provider has failed again and again, and is left alone for a while."""


class OutcomeUnknown(ProviderError, code="outcome_unknown", status=502):
    """A paid request was sent and its answer lost; it is never simply sent again."""


class AssetUnavailable(ProviderError, code="asset_unavailable", status=502):
    """An input or output file is gone or cannot be fetched."""


class DeadlineExceeded(ProviderError, code="deadline_exceeded", status=504):
    """The generation's deadline passed."""


class EngineError(GenPulseError, branch=True):
    """The local engine could not serve."""


class OutOfMemory(EngineError, code="engine_out_of_memory", status=503):
    """The device has too little memory for this request, even after freeing what could be freed."""


class ModelUnavailable(EngineError, code="provider_unavailable", status=503):
    """The model's files are missing or cannot be loaded on this worker."""


class DependencyDown(GenPulseError, code="dependency_down", status=503, retryable=True):
    """Database, storage, Temporal or Redis does not answer."""


class InvariantBroken(GenPulseError, code="internal", status=500):
    """Something that must never happen has happened."""
