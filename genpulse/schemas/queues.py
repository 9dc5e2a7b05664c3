"""Task queues: workers are scaled queue by queue."""

from __future__ import annotations

WORKFLOW_QUEUE = "gp-workflows"
"""Workflow code and quick database steps."""

ENGINE_QUEUE = "gp-gpu"
"""Local inference: one step at a time on the device."""

FAKE_QUEUE = "gp-fake"
"""`local/fake`, for load tests."""

PROVIDER_QUEUE = "gp-providers"
"""Calls to clouds: many at once, each of them short."""

QUEUES = (WORKFLOW_QUEUE, ENGINE_QUEUE, FAKE_QUEUE, PROVIDER_QUEUE)
