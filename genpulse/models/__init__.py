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
from genpulse.models.tenants import (
    ApiKeyRow,
    CreditAccountRow,
    CreditLotRow,
    CreditTransactionRow,
    TenantRow,
)

__all__ = [
    "ApiKeyRow",
    "AssetRow",
    "AttemptRow",
    "CircuitRow",
    "CreditAccountRow",
    "CreditLotRow",
    "CreditTransactionRow",
    "DeliveryAttemptRow",
    "DeliveryRow",
    "EventRow",
    "GenerationRow",
    "IdempotencyRow",
    "StepRow",
    "TenantRow",
    "WebhookRow",
    "WebhookSecretRow",
    "metadata",
]
