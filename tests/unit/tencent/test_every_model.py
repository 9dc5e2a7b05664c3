"""Tencent Cloud: every model."""

from __future__ import annotations

import pytest

from genpulse.providers.tencent import Tencent
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import Operation
from tests.clouds import Files, World
from tests.unit.tencent.shared import (
    ALL,
    filled,
)


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Tencent], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        if output.content is None:
            assert output.url is not None
            answer = await world.http.get(output.url)
            assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))
        else:
            assert output.content[:3] in (b"\xff\xd8\xff", b"\x89PN")
