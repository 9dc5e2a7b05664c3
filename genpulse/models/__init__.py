"""Tables. Rows are read and written by `genpulse.repositories` alone."""

from genpulse.models.tables import AssetRow, AttemptRow, EventRow, GenerationRow, IdempotencyRow, StepRow, metadata

__all__ = ["AssetRow", "AttemptRow", "EventRow", "GenerationRow", "IdempotencyRow", "StepRow", "metadata"]
