"""Task queues: workers are scaled queue by queue."""

from __future__ import annotations

WORKFLOW_QUEUE = "gp-workflows"
"""Workflow code and quick database steps."""

ENGINE_QUEUE = "gp-gpu"
"""Local inference: one step at a time on the device."""

FAKE_QUEUE = "gp-fake"
"""`local/fake`, for load tests."""

PROVIDER_QUEUES = "gp-provider-*"
"""Stands for the queues of all clouds that there are accounts at."""

WEBHOOK_QUEUE = "gp-webhooks"
"""Events on their way to their receivers: many at once, each of them up to twenty seconds."""

UPKEEP_QUEUE = "gp-upkeep"
"""Reconciliation, retention and the sweep of storage: long work that nobody waits for."""

QUEUES = (WORKFLOW_QUEUE, ENGINE_QUEUE, FAKE_QUEUE, PROVIDER_QUEUES, WEBHOOK_QUEUE, UPKEEP_QUEUE)


def provider_queue(cloud: str) -> str:
    """Calls to one cloud: many at once, each of them short."""
    return PROVIDER_QUEUES.replace("*", cloud)
