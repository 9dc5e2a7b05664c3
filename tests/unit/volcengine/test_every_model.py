"""Volcengine: every model."""

from __future__ import annotations

from typing import Any

import pytest

from genpulse.catalog import load_catalog
from genpulse.errors import (
    InvalidInput,
    ProviderRejected,
    UnknownModel,
)
from genpulse.planning import plan_generation
from genpulse.providers.volcengine import Volcengine
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.states import Operation
from tests.clouds import Files, World
from tests.unit.volcengine.shared import (
    ALL,
    call_of,
    full_call,
)


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_honours_every_field(
    world: World[Volcengine], files: Files, spec: ModelSpec, operation: Operation
) -> None:
    state = await world.made(full_call(spec, operation, files))
    (output,) = state.outputs
    assert output.url is not None
    answer = await world.http.get(output.url)
    assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))


async def test_flash_is_made_at_byteplus_alone(world: World[Volcengine]) -> None:
    with pytest.raises(ProviderRejected, match="not offered by Volcengine in China"):
        await world.account().submit(call_of("seedream-5-flash"))
    options = {"model": "dola-seedream-5-0-flash-260915"}
    assert (await world.made(call_of("seedream-5-flash", options=options))).outputs


@pytest.mark.parametrize(
    ("model", "successor"), [("seedance-1-5-pro", "seedance-2"), ("seedance-1-lite", "seedance-1-pro-fast")]
)
def test_what_is_gone_names_its_successor(model: str, successor: str) -> None:
    with pytest.raises(UnknownModel, match=f"Use volcengine/{successor}"):
        load_catalog({}, ["volcengine"]).get(f"volcengine/{model}")


@pytest.mark.parametrize(
    ("model", "given", "size"),
    [
        ("seedream-4-5", {"aspect_ratio": "16:9"}, (2730, 1536)),
        ("seedream-4-5", {"width": 2560, "height": 1440}, (2560, 1440)),
        ("seedream-4", {"resolution": "1K"}, (1024, 1024)),
        ("seedream-5-pro", {"resolution": "1.5K"}, (1536, 1536)),
        ("seedream-5-lite", {"resolution": "3K"}, (3072, 3072)),
        ("jimeng-3-1", {"width": 1536, "height": 512}, (1536, 512)),
    ],
)
def test_sizes_are_settled_before(model: str, given: dict[str, Any], size: tuple[int, int]) -> None:
    request = GenerationCreate.model_validate(
        {"model": f"volcengine/{model}", "operation": "text-to-image", "input": {"prompt": "x"} | given}
    )
    (step,) = plan_generation(request, load_catalog({}, ["volcengine"])).steps
    assert (step.input["width"], step.input["height"]) == size


@pytest.mark.parametrize(
    ("model", "given", "why"),
    [
        ("seedream-4-5", {"width": 1024, "height": 1024}, "at least 3,686,400 pixels"),
        ("seedream-4", {"width": 8000, "height": 400}, "at most 16 times"),
        ("jimeng-3-1", {"width": 2048, "height": 512}, "at most 3 times"),
        ("seedream-4", {"count": 2}, "at most 1"),
        ("seedream-4", {"negative_prompt": "x"}, "does not take `negative_prompt`"),
        ("seedream-5-pro", {"reference_images": [{"url": "https://a/b.png"}] * 11}, "at most 10 images; these are 11"),
    ],
)
def test_what_a_model_cannot_is_refused_by_name(model: str, given: dict[str, Any], why: str) -> None:
    request = GenerationCreate.model_validate(
        {"model": f"volcengine/{model}", "operation": "text-to-image", "input": {"prompt": "x"} | given}
    )
    with pytest.raises(InvalidInput, match=why):
        plan_generation(request, load_catalog({}, ["volcengine"]))


def test_a_sound_is_no_answer_to_whether_there_is_one() -> None:
    given = {"prompt": "x", "image": {"url": "https://a/b.png"}, "audio": {"url": "https://a/b.wav"}}
    request = GenerationCreate.model_validate(
        {"model": "volcengine/seedance-2", "operation": "image-to-video", "input": given}
    )
    with pytest.raises(InvalidInput, match="`audio` of volcengine/seedance-2 is true or false"):
        plan_generation(request, load_catalog({}, ["volcengine"]))
