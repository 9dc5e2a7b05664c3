"""Kling: every model."""

from __future__ import annotations

import pytest

from genpulse.catalog import load_catalog
from genpulse.errors import (
    UnknownModel,
)
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import Operation
from genpulse.simulator import Settings
from tests.clouds import Files
from tests.unit.kling.shared import (
    LIVING,
    SPECS,
    World,
    call,
    every_operation,
    full_call,
)


@pytest.mark.parametrize("every", [False, True], ids=["least", "everything"])
@pytest.mark.parametrize(("spec", "operation"), list(every_operation()))
async def test_every_model_makes_what_is_asked_for(
    world: World, files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    asked = full_call(spec, operation, files, every=every)
    if spec.name == "speech":  # it is in the answer
        world.simulator.change(Settings(seconds_per_job=0))
    if spec.name == "video-extend":
        first = await world.made(call("kling-3.0"))
        asked = call(spec.name, operation, dict(asked.input), options={"video_id": first.parameters["video_id"]})
        world.simulator.jobs[next(iter(world.simulator.jobs))].key = None
    state = await world.made(asked)
    assert len(state.outputs) == asked.input.get("count", 1)
    assert state.usage == {"units": 3.0}
    fetched = await world.http.get(str(state.outputs[0].url))
    kind = fetched.headers["Content-Type"].partition("/")[0]
    assert (fetched.status_code, kind) == (200, spec.operations[operation].output)
    assert world.simulator.find_jobs(key=asked.key) or spec.name == "speech"


@pytest.mark.parametrize("name", sorted(SPECS.keys() - LIVING.keys()))
def test_retired_models_name_their_successors(name: str) -> None:
    catalog = load_catalog({}, ["kling"])
    assert SPECS[name].successor in {spec.id for spec in LIVING.values()}
    with pytest.raises(UnknownModel, match=str(SPECS[name].successor)):
        catalog.get(f"kling/{name}")
