"""Tables. Rows are read and written by `genpulse.repositories` alone."""

from genpulse.models.tables import (
    AssetRow,
    AttemptRow,
    CircuitRow,
    EventRow,
    GenerationRow,
    IdempotencyRow,
    StepRow,
    metadata,
)

__all__ = [
    "AssetRow",
    "AttemptRow",
    "CircuitRow",
    "EventRow",
    "GenerationRow",
    "IdempotencyRow",
    "StepRow",
    "metadata",
]
