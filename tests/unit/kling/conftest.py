"""Kling: what its tests ask for by name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.kling.shared import (
    World,
    a_world,
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made
