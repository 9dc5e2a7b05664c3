"""Tables. Rows are read and written by `genpulse.repositories` alone."""

from genpulse.models.tables import (
    AssetRow,
    AttemptRow,
    CircuitRow,
    DeliveryAttemptRow,
    DeliveryRow,
    EventRow,
    GenerationRow,
    IdempotencyRow,
    StepRow,
    WebhookRow,
    WebhookSecretRow,
    metadata,
)

__all__ = [
    "AssetRow",
    "AttemptRow",
    "CircuitRow",
    "DeliveryAttemptRow",
    "DeliveryRow",
    "EventRow",
    "GenerationRow",
    "IdempotencyRow",
    "StepRow",
    "WebhookRow",
    "WebhookSecretRow",
    "metadata",
]
