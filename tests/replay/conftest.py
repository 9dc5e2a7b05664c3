"""The house and the server of the workflow tests, which act out what is recorded here."""

from __future__ import annotations

from tests.workflows.conftest import house, temporal

__all__ = ["house", "temporal"]
