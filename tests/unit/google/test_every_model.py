"""Google: every model."""

from __future__ import annotations

import pytest

from genpulse.providers.google import Google
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import Operation
from tests.clouds import Files, World
from tests.unit.google.shared import (
    ALL,
    STARTS,
    bytes_of,
    filled,
)


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Google], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        content = await bytes_of(world, output)
        starts = STARTS[str(spec.operations[operation].output)]
        assert any(start in content[:12] for start in starts)
