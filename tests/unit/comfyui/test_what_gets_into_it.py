"""ComfyUI: what gets into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from genpulse.catalog import Catalog
from genpulse.errors import (
    InvalidInput,
)
from genpulse.planning import plan_generation
from genpulse.providers.base import Job, Media, ModelCall
from genpulse.providers.comfyui import Comfyui
from genpulse.providers.comfyui.graph import Graph
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.states import MediaKind, Operation
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World
from tests.unit.comfyui.shared import CLIP, DIFFUSION, PICTURE, SPEC, Workflow, call, node


async def test_values_go_into_the_nodes_of_that_title(world: World[Comfyui]) -> None:
    size = {"width": 128, "height": 96}
    await world.made(call(DIFFUSION, prompt="a fox", negative_prompt="a dog", seed=7, workflow_inputs={"size": size}))
    sent = world.sent()["prompt"]
    assert sent["2"]["inputs"]["text"] == "a fox"
    assert sent["3"]["inputs"]["text"] == "a dog"
    assert sent["5"]["inputs"]["seed"] == 7
    assert sent["4"]["inputs"] == {"width": 128, "height": 96, "batch_size": 1}
    assert DIFFUSION["2"]["inputs"]["text"] == "", "the caller's own is left as it was"


async def test_every_node_of_a_title_gets_the_value(world: World[Comfyui]) -> None:
    twice = PICTURE | {
        "3": node("PrimitiveString", "INPUT_prompt", value=""),
        "4": node("PrimitiveString", "INPUT_prompt", value=""),
    }
    await world.made(call(twice, prompt="a fox"))
    assert [world.sent()["prompt"][key]["inputs"]["value"] for key in "34"] == ["a fox", "a fox"]


async def test_files_are_uploaded_and_named_as_the_server_says(world: World[Comfyui], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    await world.made(call(CLIP, {"image": [picture]}))
    (upload,) = world.simulator.uploads.values()
    assert upload.content == picture.path.read_bytes()
    assert world.sent()["prompt"]["1"]["inputs"]["image"] == upload.name
    await world.made(call(CLIP, {"image": [picture]}, key="another"))
    assert next(iter(world.simulator.uploads.values())).name == upload.name, "the same file has the same name"
    assert len(world.simulator.uploads) == 1


async def test_a_name_that_the_server_changes_is_the_one_that_is_used(world: World[Comfyui], files: Files) -> None:
    await world.made(call(CLIP, {"image": [files[MediaKind.IMAGE]]}))
    (upload,) = world.simulator.uploads.values()
    world.simulator.uploads["comfyui", upload.id] = replace(upload, content=b"another")
    await world.made(call(CLIP, {"image": [files[MediaKind.IMAGE]]}, key="another"))
    assert world.sent()["prompt"]["1"]["inputs"]["image"] == upload.name.replace(".png", " (1).png")


async def test_a_mask_is_uploaded_too(world: World[Comfyui], files: Files) -> None:
    masked = {
        "1": node("LoadImage", "INPUT_image", image=""),
        "2": node("LoadImageMask", "INPUT_mask", image="", channel="red"),
        "3": node("MaskToImage", mask=["2", 0]),
        "4": node("SaveImage", images=["3", 0]),
        "5": node("SaveImage", images=["1", 0]),
    }
    picture = files[MediaKind.IMAGE]
    await world.made(call(masked, {"image": [picture], "mask": [picture]}))
    sent = world.sent()["prompt"]
    assert sent["2"]["inputs"] == {"image": sent["1"]["inputs"]["image"], "channel": "red"}


@pytest.mark.parametrize(
    ("kind", "suffix"), [("image/jpeg", ".jpg"), ("audio/mpeg", ".mp3"), ("audio/wav", ".wav"), ("video/webm", ".webm")]
)
async def test_uploads_are_named_as_nodes_expect(world: World[Comfyui], files: Files, kind: str, suffix: str) -> None:
    file = Media(path=files[MediaKind.IMAGE].path, media_type=kind)
    await world.account().submit(call(CLIP, {"image": [file]}))
    (upload,) = world.simulator.uploads.values()
    assert upload.name.endswith(suffix)


async def test_nothing_is_uploaded_for_a_workflow_that_has_no_place_for_it(world: World[Comfyui], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    error = await world.refused(call(CLIP, {"image": [picture], "reference_images": [picture]}))
    assert (type(error), error.field) == (InvalidInput, "input.reference_images.0")
    assert world.simulator.uploads == {}


async def test_several_pictures_are_numbered(world: World[Comfyui], files: Files) -> None:
    two = PICTURE | {
        "3": node("LoadImage", "INPUT_reference_image_1", image=""),
        "4": node("LoadImage", "INPUT_reference_image_2", image=""),
    }
    await world.made(call(two, {"reference_images": [files[MediaKind.IMAGE]] * 2}))
    first, second = (world.sent()["prompt"][key]["inputs"]["image"] for key in "34")
    assert first == second != "", "the same picture is one file"


@pytest.mark.parametrize(
    ("name", "inputs", "wanted"),
    [
        ("guidance", {"seed": 1, "steps": 20, "cfg": 7.0}, "cfg"),
        ("strength", {"seed": 1, "steps": 20, "denoise": 1.0}, "denoise"),
        ("seed", {"noise_seed": 1, "add_noise": True}, "noise_seed"),
        ("steps", {"seed": 1, "steps": 20}, "steps"),
        ("fps", {"frame_rate": 8, "loop_count": 0}, "frame_rate"),
        ("prompt", {"text": "", "weight": 1}, "text"),
        ("prompt", {"anything": ""}, "anything"),
        ("width", {"value": 1, "unit": "px"}, "value"),
    ],
)
def test_which_input_of_a_node_a_field_is(name: str, inputs: dict[str, Any], wanted: str) -> None:
    graph = Graph({"1": node("Any", f"INPUT_{name}", model=["2", 0], **inputs)})
    graph.fill(name, 5, f"input.{name}")
    assert graph.body()["1"]["inputs"] == {"model": ["2", 0], **inputs, wanted: 5}


def test_a_field_is_not_put_into_an_input_that_only_looks_free() -> None:
    graph = Graph({"1": node("KSampler", "INPUT_sampler", seed=1, steps=20, sampler_name="euler")})
    with pytest.raises(InvalidInput, match="seed, steps, sampler_name"):
        graph.fill("sampler", "dpmpp_2m", "input.workflow_inputs.sampler")


async def test_width_and_height_go_into_one_node(world: World[Comfyui]) -> None:
    await world.made(call(DIFFUSION, width=128, height=96))
    assert world.sent()["prompt"]["4"]["inputs"] == {"width": 128, "height": 96, "batch_size": 1}


@pytest.mark.parametrize("name", ["prompt", "prompt_id", "client_id"])
async def test_what_a_run_is_found_by_is_not_the_callers(world: World[Comfyui], name: str) -> None:
    error = await world.refused(replace(call(), options={name: "mine"}))
    assert (type(error), error.field) == (InvalidInput, f"provider_options.{name}")
    assert world.simulator.find_jobs() == []


async def test_options_join_what_is_sent(world: World[Comfyui]) -> None:
    asked = ModelCall(
        model="workflow",
        operation=Operation.COMFY_WORKFLOW,
        wire={},
        input={"workflow": PICTURE},
        options={"extra_data": {"preview_method": "none"}},
        key="k",
    )
    job = await world.account().submit(asked)
    assert isinstance(job, Job)
    assert world.sent() == {
        "prompt": PICTURE,
        "extra_data": {"preview_method": "none"},
        "prompt_id": job.id,
        "client_id": job.id,
    }


@pytest.mark.parametrize(
    ("workflow", "given", "field", "words"),
    [
        ({"nodes": [], "links": []}, {}, "input.workflow", "Workflow, Export (API)"),
        ({"last_node_id": 3, "nodes": [{"id": 3}]}, {}, "input.workflow", "Export (API)"),
        ({}, {}, "input.workflow", "no nodes"),
        ({"1": {"inputs": {}}}, {}, "input.workflow.1", "class_type"),
        ({"1": "x"}, {}, "input.workflow.1", "class_type"),
        ({"1": node("SaveImageWebsocket")}, {}, "input.workflow.1", "use SaveImage"),
        (PICTURE, {"prompt": "a fox"}, "input.prompt", "its titles are INPUT_size"),
        ({"1": node("EmptyImage")}, {"prompt": "a fox"}, "input.prompt", "it has no INPUT_ titles"),
        (PICTURE, {"workflow_inputs": {"colour": 1}}, "input.workflow_inputs.colour", "INPUT_colour"),
        (PICTURE, {"workflow_inputs": {"size": 64}}, "input.workflow_inputs.size", "width, height, batch_size"),
        (PICTURE, {"workflow_inputs": {"size": {"widht": 64}}}, "input.workflow_inputs.size.widht", "no input `widht`"),
    ],
)
async def test_what_is_wrong_with_a_workflow_is_told_by_field(
    world: World[Comfyui], workflow: Workflow, given: dict[str, Any], field: str, words: str
) -> None:
    error = await world.refused(call(workflow, **given))
    assert isinstance(error, InvalidInput)
    assert error.field == field
    assert words in error.message
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"workflow": {"nodes": [], "links": []}}, "workflow"),
        ({"workflow": {"1": {}}}, "workflow.1"),
        ({"workflow": PICTURE, "prompt": "a fox"}, "prompt"),
        ({"workflow": PICTURE, "workflow_inputs": {"size": {"widht": 1}}}, "workflow_inputs.size.widht"),
        ({"workflow": CLIP, "reference_images": [{"asset": f"ast_{'0' * 26}"}]}, "reference_images.0"),
        ({"workflow": CLIP, "mask": {"asset": f"ast_{'0' * 26}"}}, "mask"),
    ],
)
def test_what_is_wrong_with_a_workflow_is_told_when_it_is_submitted(given: dict[str, Any], field: str) -> None:
    step = {"model": SPEC.id, "operation": "comfy-workflow", "input": given}
    for path, request in (("", step), ("steps.0.", {"steps": [{"id": "main"} | step]})):
        with pytest.raises(InvalidInput) as error:
            plan_generation(GenerationCreate.model_validate(request), Catalog([SPEC]))
        assert error.value.field == f"{path}input.{field}"
    right = step | {"input": {"workflow": CLIP, "image": {"asset": f"ast_{'0' * 26}"}}}
    assert plan_generation(GenerationCreate.model_validate(right), Catalog([SPEC])).steps
