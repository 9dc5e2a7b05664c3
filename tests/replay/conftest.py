"""What the tests of the workflows stand on: they act out what is recorded here."""

from __future__ import annotations

from tests.workflows.conftest import house, temporal
from tests.workflows.test_webhooks import post, receiver

__all__ = ["house", "post", "receiver", "temporal"]
