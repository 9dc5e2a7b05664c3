"""Contracts of webhooks: which events there are, where they go, what is sent, and what became of it.

The signing is that of the Standard Webhooks specification.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, HttpUrl, SecretStr

from genpulse.schemas.states import GenerationStatus, Operation
from genpulse.schemas.strict import Flag, Strict, Whole

MAX_WEBHOOKS = 20
MAX_OVERLAP_SECONDS = 7 * 24 * 3600
DEFAULT_OVERLAP_SECONDS = 24 * 3600

SECRET_PREFIX = "whsec_"  # noqa: S105 - public
SECRET_BYTES = range(24, 65)
#: For the document: what `signing_key` takes, 24 to 64 bytes in base64, whose padding may be left out.
_BASE64 = (
    "([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?|([A-Za-z0-9+/]{4}){21}([A-Za-z0-9+/]{2}(==)?)?"
)
SECRET_FORM = f"^{SECRET_PREFIX}({_BASE64})$"

GenerationEvent = Literal[
    "generation.queued",
    "generation.running",
    "generation.canceling",
    "generation.succeeded",
    "generation.failed",
    "generation.canceled",
    "generation.dead_lettered",
]
"""A generation has entered that status."""

WebhookEvent = Literal[GenerationEvent, "webhook.disabled", "credits.low"]
"""What an endpoint can ask for. `webhook.disabled` is about the tenant's other endpoints, `credits.low` its balance."""

EventType = Literal[WebhookEvent, "webhook.ping"]
"""All that is ever sent."""

DisabledBecause = Literal["gone", "failing", "requested"]
"""It answered 410; it failed for days; somebody switched it off."""

DeliveryStatus = Literal["pending", "delivered", "failed"]


def event_of(status: GenerationStatus) -> str:
    """The type of the event that a generation has entered this status."""
    return f"generation.{status.value}"


def signing_key(secret: str) -> bytes:
    """The bytes to sign with. Raises ValueError for what is no secret of the specification."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if encoded == secret or len(key) not in SECRET_BYTES:
        raise ValueError(f"a secret is `{SECRET_PREFIX}` and 24 to 64 random bytes in base64")
    return key


def _well_formed(secret: SecretStr) -> SecretStr:
    signing_key(secret.get_secret_value())
    return secret


SigningSecret = Annotated[
    SecretStr, Field(max_length=100, json_schema_extra={"pattern": SECRET_FORM}), AfterValidator(_well_formed)
]


# What callers send ----------------------------------------------------------------------------------------------------


class RequestWebhook(Strict):
    """Where the events of one generation go; without `events`, all of them.

    They are signed with `secret`, which is not shown again, or else with the tenant's secret for requests.
    """

    url: HttpUrl
    events: list[GenerationEvent] = Field(default_factory=list, max_length=20)
    secret: SigningSecret | None = Field(None, exclude=True)


class WebhookCreate(Strict):
    """An endpoint for the events of all generations; without `events`, all of them. `secret` is made if left out."""

    url: HttpUrl
    events: list[WebhookEvent] = Field(default_factory=list, max_length=20)
    description: str = Field("", max_length=500)
    secret: SigningSecret | None = Field(None, exclude=True)


class WebhookUpdate(Strict):
    """What to change; the rest stays. `enabled: true` has an endpoint get events again."""

    url: HttpUrl | None = None
    events: list[WebhookEvent] | None = Field(None, max_length=20)
    description: str | None = Field(None, max_length=500)
    enabled: Flag | None = None


class SecretRotation(Strict):
    """A new secret, made if left out. Until the overlap is over the former one signs too."""

    secret: SigningSecret | None = Field(None, exclude=True)
    overlap_seconds: Whole = Field(DEFAULT_OVERLAP_SECONDS, ge=0, le=MAX_OVERLAP_SECONDS)


# What callers get -----------------------------------------------------------------------------------------------------


class Webhook(BaseModel):
    """An endpoint. `generation_id` is null unless it came with one request; no `events` means all of them.

    `failing_since` is when the tries began to fail of which none has succeeded since.
    """

    id: str
    object: Literal["webhook"]
    url: str
    events: list[WebhookEvent]
    description: str
    generation_id: str | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: DisabledBecause | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime


class WebhookWithSecret(Webhook):
    """The same, with the secret that its events are signed with; shown this once."""

    secret: str


class RequestSecret(BaseModel):
    """What the events of webhooks that come with a request are signed with, where those have no secret of their own."""

    object: Literal["webhook_secret"]
    secret: str
    previous_secret_until: datetime | None


class DeliveryAttempt(BaseModel):
    """One try. `error` says what was wrong, `answer` is how the receiver's began."""

    number: int
    started_at: datetime
    duration_ms: int | None
    status_code: int | None
    error: str | None
    answer: str | None


class Delivery(BaseModel):
    """One event on its way to one endpoint. Its id is the header `webhook-id`, the same in every try."""

    id: str
    object: Literal["delivery"]
    webhook_id: str
    generation_id: str | None
    type: EventType
    status: DeliveryStatus
    attempts: list[DeliveryAttempt]
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class DeliveryDetail(Delivery):
    """The same, with what is sent."""

    payload: dict[str, Any]


# What receivers get ---------------------------------------------------------------------------------------------------


class EventFault(BaseModel):
    """Why a generation failed, in short."""

    code: str
    message: str


class GenerationFacts(BaseModel):
    """A generation as an event tells of it. Of two events, the one with the higher `version` is the later one."""

    id: str
    object: Literal["generation"] = "generation"
    status: GenerationStatus
    version: int
    operation: Operation
    model: str
    error: EventFault | None
    metadata: dict[str, str]


class WebhookFacts(BaseModel):
    """An endpoint as an event tells of it; not its URL, which may hold what other receivers must not know."""

    id: str
    object: Literal["webhook"] = "webhook"
    disabled_reason: DisabledBecause | None = None


class CreditsFacts(BaseModel):
    """A balance as an event tells of it: it has fallen to `low_balance` or below."""

    object: Literal["credits"] = "credits"
    available: int
    held: int
    low_balance: int


class Message(BaseModel):
    """The body that is sent; fixed when the event happens."""

    type: str
    timestamp: datetime
    data: GenerationFacts | WebhookFacts | CreditsFacts


# What travels through Temporal ----------------------------------------------------------------------------------------


class DeliveryTicket(BaseModel):
    """Input of DeliveryWorkflow. `round` counts how often a person asked for it again; a ping is tried `once`."""

    delivery_id: str
    round: int = 0
    once: bool = False


class DeliveryOrder(BaseModel):
    """One try: of which round, since when that lasts, and how many seconds after it another one follows, if any."""

    delivery_id: str
    round: int
    since: datetime
    next_in: float | None


class DeliveryOutcome(BaseModel):
    """What came of a try. While it is `pending` the next one is due in so many seconds."""

    status: DeliveryStatus
    note: str
    wait_seconds: float | None = None


class DeliveryResult(BaseModel):
    """Result of DeliveryWorkflow."""

    status: DeliveryStatus
