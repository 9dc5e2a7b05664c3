"""ComfyUI: its client against the simulated server, what gets into a workflow, every error, files, and progress."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from websockets.http11 import Request, Response

from genpulse.catalog import Catalog
from genpulse.catalog.clouds import cloud_models
from genpulse.errors import (
    GenPulseError,
    InvalidInput,
    JobMissing,
    OutcomeUnknown,
    ProviderFailed,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.planning import plan_generation
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.comfyui import Comfyui
from genpulse.providers.comfyui.answers import Queue
from genpulse.providers.comfyui.graph import Graph
from genpulse.providers.comfyui.progress import Progress
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.states import MediaKind, Operation
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.clouds.comfyui import Comfyui as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World, simulated, world_of

world = world_of(Simulated, Comfyui)
(SPEC,) = cloud_models(["comfyui"])
Workflow = dict[str, Any]


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


PICTURE: Workflow = {
    "1": node("EmptyImage", "INPUT_size", width=64, height=64, batch_size=1, color=0),
    "2": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
DIFFUSION: Workflow = {
    "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
    "2": node("CLIPTextEncode", "INPUT_prompt", text="", clip=["1", 1]),
    "3": node("CLIPTextEncode", "INPUT_negative_prompt", text="", clip=["1", 1]),
    "4": node("EmptyLatentImage", "INPUT_size", width=512, height=512, batch_size=1),
    "5": node(
        "KSampler",
        "INPUT_seed",
        model=["1", 0],
        seed=1,
        steps=20,
        cfg=7.0,
        sampler_name="euler",
        scheduler="normal",
        positive=["2", 0],
        negative=["3", 0],
        latent_image=["4", 0],
        denoise=1.0,
    ),
    "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
    "7": node("SaveImage", images=["6", 0]),
}
CLIP: Workflow = {
    "1": node("LoadImage", "INPUT_image", image=""),
    "2": node("CreateVideo", images=["1", 0], fps=8.0),
    "3": node("SaveVideo", video=["2", 0], format="auto", codec="auto"),
}
SOUND: Workflow = {
    "1": node("LoadAudio", "INPUT_audio", audio=""),
    "2": node("SaveAudioMP3", audio=["1", 0]),
}


def call(
    workflow: Any = PICTURE, media: dict[str, list[Media]] | None = None, *, key: str = "gen_1-0-1", **given: Any
) -> ModelCall:
    return ModelCall(
        model=SPEC.name,
        operation=Operation.COMFY_WORKFLOW,
        wire=SPEC.wire_of(Operation.COMFY_WORKFLOW),
        input={"workflow": workflow, **given},
        media=media or {},
        key=key,
    )


def changed(workflow: Workflow, key: str, **inputs: Any) -> Workflow:
    made = copy.deepcopy(workflow)
    made[key]["inputs"] |= inputs
    return made


# What comes out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workflow", "field", "kind"),
    [
        (PICTURE, None, "image/png"),
        (DIFFUSION, None, "image/png"),
        (CLIP, "image", "video/mp4"),
        (SOUND, "audio", "audio/mpeg"),
    ],
    ids=["picture", "diffusion", "clip", "sound"],
)
async def test_a_workflow_makes_what_it_saves(
    world: World[Comfyui], files: Files, workflow: Workflow, field: str | None, kind: str
) -> None:
    media = {field: [files[MediaKind(field)]]} if field else {}
    (output,) = (await world.made(call(workflow, media))).outputs
    assert output.url is not None
    assert (await world.http.get(output.url, headers=dict(output.headers))).headers["Content-Type"] == kind


async def test_previews_are_no_results(world: World[Comfyui]) -> None:
    both = PICTURE | {"3": node("PreviewImage", images=["1", 0]), "4": node("SaveImage", images=["1", 0])}
    state = await world.made(call(both))
    assert len(state.outputs) == 2
    assert all("type=output" in str(output.url) for output in state.outputs)


async def test_a_batch_is_several_files(world: World[Comfyui]) -> None:
    state = await world.made(call(changed(PICTURE, "1", batch_size=3) | {"3": node("SaveImage", images=["1", 0])}))
    assert len({output.url for output in state.outputs}) == 6


async def test_a_run_that_is_cached_is_done_at_once_and_gives_the_same_files() -> None:
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        first = await world.made(call())
        again = call(key="another")
        job = await world.account().submit(again)
        assert isinstance(job, Job)
        assert await world.account().poll(job, again) == first
        (file,) = first.outputs
        assert (await world.http.get(str(file.url))).content[:4] == b"\x89PNG"
        entry = (await world.http.get(f"{world.base_url}/history/{job.id}")).json()[job.id]
        assert entry["status"]["messages"][1][1]["nodes"] == ["1", "2"]
        other = call(changed(PICTURE, "1", width=32), key="third")
        job = await world.account().submit(other)
        assert isinstance(job, Job)
        assert await world.account().poll(job, other) == Pending()


def entry(*files: tuple[str, str], key: str = "images") -> dict[str, Any]:
    """The history of a run that has made these files."""
    items = [{"filename": name, "subfolder": "a b", "type": kind} for name, kind in files]
    return {"outputs": {"9": {key: items, "animated": [True], "text": ["done"]}}, "status": {"status_str": "success"}}


def ended(history: dict[str, Any]) -> Comfyui:
    """A server at which a run has ended so."""

    def answer(request: httpx.Request) -> httpx.Response:
        empty: dict[str, Any] = {"queue_running": [], "queue_pending": []}
        return httpx.Response(200, json=empty if request.url.path == "/queue" else {"run": history})

    return Comfyui("http://sim", Credentials(api_key="k"), httpx.AsyncClient(transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize("key", ["images", "gifs", "audio", "video", "result"])
@pytest.mark.parametrize(
    "name", ["a.png", "a.JPG", "a.webp", "a.gif", "a.mp4", "a.webm", "a.mov", "a.flac", "a.mp3", "a.opus", "a.wav"]
)
async def test_a_file_is_a_result_by_its_name(name: str, key: str) -> None:
    state = await ended(entry((name, "output"), ("b.png", "temp"), ("c.latent", "output"), key=key)).poll(
        Job(id="run"), call()
    )
    assert isinstance(state, Finished)
    (output,) = state.outputs
    assert output.url == f"http://sim/view?filename={name}&subfolder=a+b&type=output"
    assert output.headers == {"X-API-Key": "k"}


@pytest.mark.parametrize("file", [("a.png", "temp"), ("mesh.glb", "output")])
async def test_a_run_that_saves_nothing_of_use_says_what_it_made(file: tuple[str, str]) -> None:
    with pytest.raises(ProviderRejected, match=file[0]):
        await ended(entry(file)).poll(Job(id="run"), call())


# What gets into it ----------------------------------------------------------------------------------------------------


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


# What the server refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        (changed(PICTURE, "1", width=0), "node 1 (EmptyImage), input width: Value 0 smaller than min of 1"),
        (changed(PICTURE, "1", width=99999), "input width: Value 99999 bigger than max"),
        (changed(PICTURE, "1", width="wide"), "input width: Failed to convert"),
        (
            changed(DIFFUSION, "1", ckpt_name="other.safetensors"),
            "input ckpt_name: Value not in list (ckpt_name: 'other.safetensors' not in ['sd15.safetensors'",
        ),
        (changed(CLIP, "1", image="x.png"), "input image: Custom validation failed for node (image - Invalid image"),
        (changed(PICTURE, "2", images=["1"]), "input images: Bad linked input"),
        (changed(PICTURE, "2", images=["9", 0]), "input images: Exception when validating inner node"),
        (changed(CLIP, "3", video=["1", 0]), "input video: Return type mismatch"),
        ({"1": PICTURE["1"], "2": node("SaveImage")}, "input images: Required input is missing"),
        ({"1": node("Unheard")}, "Node 'Unheard' not found. (node 1)"),
        ({"1": PICTURE["1"]}, "Prompt has no outputs"),
    ],
)
async def test_errors_of_nodes_are_told(world: World[Comfyui], workflow: Workflow, words: str) -> None:
    error = await world.refused(call(workflow))
    assert type(error) is ProviderRejected
    assert words in error.message


async def test_half_a_workflow_is_not_what_was_asked_for() -> None:
    half = PICTURE | {"3": node("EmptyImage", width=0), "4": node("SaveImage", images=["3", 0])}
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        error = await world.refused(call(half))
        assert type(error) is ProviderRejected
        assert "node 3 (EmptyImage), input width" in error.message
        (job,) = world.simulator.find_jobs()
        assert job.state is State.CANCELLED


def answering(status: int, body: object) -> Comfyui:
    """A server whose queue and history are empty, and that answers anything else like this."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/queue":
            return httpx.Response(200, json={"queue_running": [], "queue_pending": []})
        if request.method == "GET":
            return httpx.Response(200, json={})
        return httpx.Response(status, json=body) if not isinstance(body, str) else httpx.Response(status, text=body)

    return Comfyui("http://sim", Credentials(), httpx.AsyncClient(transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, "500 Internal Server Error", ProviderRejected),
        (502, {"error": "proxy"}, OutcomeUnknown),
        (429, "slow down", ProviderThrottled),
        (413, "too large", ProviderRejected),
        (500, {"error": "proxy"}, OutcomeUnknown),
        (400, {"error": {"type": "invalid_prompt", "message": "Cannot execute"}, "node_errors": {}}, ProviderRejected),
        (400, {"error": "just text"}, ProviderRejected),
        (200, {}, OutcomeUnknown),
        (200, "<html>", OutcomeUnknown),
    ],
)
async def test_answers_to_a_run(status: int, body: object, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(status, body).submit(call())
    assert type(error.value) is kind


@pytest.mark.parametrize(
    ("messages", "kind", "words"),
    [
        (
            [["execution_error", {"node_id": "5", "node_type": "KSampler", "exception_message": "bad\n"}]],
            ProviderFailed,
            "node 5 (KSampler): bad",
        ),
        (
            [
                [
                    "execution_error",
                    {"node_id": "5", "node_type": "KSampler", "exception_type": "torch.OutOfMemoryError"},
                ]
            ],
            ProviderFailed,
            "torch.OutOfMemoryError",
        ),
        ([["execution_interrupted", {"node_id": "5"}]], ProviderRejected, "interrupted"),
        ([], ProviderFailed, "the run failed"),
    ],
)
async def test_how_a_run_ends(messages: list[Any], kind: type[GenPulseError], words: str) -> None:
    with pytest.raises(kind) as error:
        await ended({"outputs": {}, "status": {"status_str": "error", "messages": messages}}).poll(
            Job(id="run"), call()
        )
    assert words in error.value.message


async def test_no_paths_of_the_server_in_an_error(world: World[Comfyui]) -> None:
    world.fault(type="fails")
    error = await world.refused(call())
    assert type(error) is ProviderFailed
    assert "node 1 (EmptyImage)" in error.message
    assert error.details == {"node": "1", "exception": "RuntimeError"}
    assert "/srv" not in error.message


async def test_half_a_workflow_that_cannot_be_stopped_is_refused_all_the_same() -> None:
    wrong = {"class_type": "X", "errors": [{"type": "x", "message": "no", "details": "y"}]}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/prompt":
            return httpx.Response(200, json={"prompt_id": "run", "node_errors": {"3": wrong}})
        if request.method == "POST":
            return httpx.Response(503)
        empty: dict[str, Any] = {"queue_running": [], "queue_pending": []}
        return httpx.Response(200, json=empty if request.url.path == "/queue" else {})

    cloud = Comfyui("http://sim", Credentials(), httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    with pytest.raises(ProviderRejected, match=r"node 3 \(X\), input y: no"):
        await cloud.submit(call())


@pytest.mark.parametrize("status", [500, 502])
async def test_a_server_that_stumbles_while_a_run_is_asked_for(world: World[Comfyui], status: int) -> None:
    job = await world.account().submit(call())
    assert isinstance(job, Job)
    world.fault(type="server_error", status=status, kinds=["poll"], times=1)
    with pytest.raises(ProviderUnavailable):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)


# Once, and no more ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 8], ids=["ended", "waiting"])
async def test_a_repeated_call_finds_its_run(seconds: float) -> None:
    async with simulated(Simulated, Comfyui, seconds=seconds) as world:
        world.fault(type="lost_answer", times=1)
        with pytest.raises(OutcomeUnknown):
            await world.account().submit(call())
        job = await world.account().submit(call())
        (made,) = world.simulator.find_jobs()
        assert isinstance(job, Job)
        assert job.id == made.id
        assert world.account().remembers_key(call())
        assert (await world.account().submit(call(key="another"))) != job


async def test_a_run_that_a_restart_has_lost_is_missing() -> None:
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        job = await world.account().submit(call())
        assert isinstance(job, Job)
        assert await world.account().poll(job, call()) == Pending()
        world.simulator.jobs.clear()
        with pytest.raises(JobMissing, match="restarted"):
            await world.account().poll(job, call())


async def test_the_server_runs_an_id_twice_if_it_is_told_to(world: World[Comfyui]) -> None:
    body = {"prompt": PICTURE, "prompt_id": "00000000-0000-4000-8000-000000000000"}
    for _ in range(3):
        assert (await world.http.post(f"{world.base_url}/prompt", json=body)).is_success
    assert len(world.simulator.find_jobs()) == 3, "a call that is sent again is a second run"


async def test_a_server_that_is_down(world: World[Comfyui]) -> None:
    world.fault(type="server_error", times=1)
    with pytest.raises(ProviderUnavailable):
        await world.account().submit(call())
    assert world.simulator.find_jobs() == []


@pytest.mark.parametrize("seconds_gone", [0, 4], ids=["queued", "running"])
@pytest.mark.parametrize("newer", [True, False], ids=["by id", "by queue and interrupt"])
async def test_a_run_is_cancelled(seconds_gone: float, newer: bool) -> None:
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        if not newer:
            app = _without_jobs(world)
            world.http = httpx.AsyncClient(transport=app)
        job = await world.account().submit(call())
        assert isinstance(job, Job)
        world.clock.advance(seconds_gone)
        await world.account().cancel(job)
        assert world.simulator.jobs["comfyui", job.id].state is State.CANCELLED
        await world.account().cancel(job)


def _without_jobs(world: World[Comfyui]) -> httpx.AsyncBaseTransport:
    """An older server: it has no `/api/jobs`."""
    inner = httpx.ASGITransport(create_simulator(world.simulator))

    class Older(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "/api/jobs" in request.url.path:
                return httpx.Response(405)
            return await inner.handle_async_request(request)

    return Older()


# How far it is --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(simulator: Simulator) -> AsyncIterator[str]:
    """A real server: the socket of progress needs one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(create_simulator(simulator), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(10):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def running(
    workflow: Workflow, address: str, clock: ManualClock, http: httpx.AsyncClient
) -> AsyncIterator[tuple[Comfyui, Job]]:
    """A run that has begun, at a server of one's own."""
    cloud = Comfyui(f"http://{address}/comfyui", Credentials(), http)
    job = await cloud.submit(call(workflow))
    assert isinstance(job, Job)
    assert await cloud.poll(job, call()) == Pending(), "it waits"
    clock.advance(2)
    yield cloud, job


async def told(cloud: Comfyui, job: Job) -> float:
    """The next share that is told of."""
    async with asyncio.timeout(10):
        while True:
            state = await cloud.poll(job, call())
            assert isinstance(state, Pending)
            if state.fraction is not None:
                return state.fraction
            await asyncio.sleep(0.02)


async def test_progress_is_told_on_the_socket_however_rare_steps_are() -> None:
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with (
        served(simulator) as address,
        httpx.AsyncClient() as http,
        running(DIFFUSION, address, clock, http) as (cloud, job),
    ):
        assert await cloud.poll(job, call()) == Pending(), "nothing has happened since we listen"
        fractions = []
        for _ in range(5):
            clock.advance(1)  # and no more until the next: whoever listens for a moment only would miss it
            fractions.append(await told(cloud, job))
            assert await cloud.poll(job, call()) == Pending(), "each is told once"
        assert fractions == sorted(fractions)
        assert 0 < fractions[0] < fractions[-1] < 1
        clock.advance(8)
        assert isinstance(await cloud.poll(job, call()), Finished)


async def test_workers_that_ask_for_one_run_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpulse.providers.comfyui.progress._LISTEN_SECONDS", 1.2)
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with (
        served(simulator) as address,
        httpx.AsyncClient() as http,
        running(DIFFUSION, address, clock, http) as (cloud, job),
    ):
        other = Comfyui(f"http://{address}/comfyui", Credentials(), http)
        for one in (cloud, other, cloud):
            await one.poll(job, call())
            clock.advance(0.9)
            assert 0 < await told(one, job) < 1


@pytest.mark.parametrize("kind", ["refused", "closed", "noise"])
async def test_a_socket_that_is_of_no_use_keeps_nothing_back(kind: str) -> None:
    async def noise(socket: websockets.ServerConnection) -> None:
        for frame in (
            "{",
            b"\0\0\0\1",
            '{"type": "progress_state"}',
            '{"type": "progress_state", "data": {"nodes": 1}}',
        ):
            await socket.send(frame if kind == "noise" else "")
        await socket.close()

    async with websockets.serve(noise, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        progress = Progress(f"http://127.0.0.1:{1 if kind == 'refused' else port}", {})
        assert await progress.of("run", nodes=3) is None
        assert await progress.of("run", nodes=3) is None


@pytest.mark.parametrize(
    ("nodes", "total", "share"),
    [
        ({"1": {"value": 1, "max": 1, "state": "finished"}}, 4, 0.25),
        ({"1": {"value": 1, "max": 1}, "2": {"value": 5, "max": 20, "state": "running"}}, 5, 0.25),
        ({"1": {"value": 0, "max": 0, "state": "finished"}, "2": {"value": 3, "max": 2}}, 0, 1.0),
        ({}, 0, 0.0),
    ],
)
async def test_a_share_is_of_all_nodes_that_run(nodes: dict[str, Any], total: int, share: float) -> None:
    async def tell(socket: websockets.ServerConnection) -> None:
        for run_id in ("another", "run"):
            data = {"prompt_id": run_id, "nodes": nodes if run_id == "run" else {"9": {"value": 1, "max": 9}}}
            await socket.send(json.dumps({"type": "progress_state", "data": data}))
        await socket.wait_closed()

    async with websockets.serve(tell, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert await Progress(f"http://127.0.0.1:{port}", {}).of("run", nodes=total) == share


def test_the_nodes_that_run_are_those_behind_the_outputs() -> None:
    idle = DIFFUSION | {"8": node("EmptyImage"), "9": node("SaveImage", images=["8", 0])}
    item = [0, "run", idle, {}, ["7"]]
    assert Queue(queue_running=[item], queue_pending=[]).nodes("run") == 7
    assert Queue(queue_running=[item], queue_pending=[]).nodes("another") == 0
    assert Queue(queue_running=[[0, "run"]], queue_pending=[]).nodes("run") == 0


@pytest.mark.parametrize("with_metadata", [False, True])
async def test_the_socket_tells_a_run_and_shows_previews(with_metadata: bool) -> None:
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with (
        served(simulator) as address,
        httpx.AsyncClient(base_url=f"http://{address}/comfyui") as http,
        websockets.connect(f"ws://{address}/comfyui/ws?clientId=me", proxy=None) as ours,
        websockets.connect(f"ws://{address}/comfyui/ws?clientId=you", proxy=None) as theirs,
    ):
        for one in (ours, theirs):
            assert json.loads(await one.recv())["type"] == "status"
        if with_metadata:
            await ours.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            assert json.loads(await ours.recv())["type"] == "feature_flags"
        await http.post("/prompt", json={"prompt": DIFFUSION, "client_id": "me"})
        clock.advance(4)
        kinds: list[str] = []
        preview = b""
        async with asyncio.timeout(10):
            while not kinds or kinds[-1] != "end":
                frame = await ours.recv()
                if isinstance(frame, bytes):
                    preview = frame
                    clock.advance(8)
                    continue
                message = json.loads(frame)
                kinds.append("end" if message["data"].get("node", "") is None else message["type"])
        assert kinds[:5] == ["execution_start", "execution_cached", "progress_state", "executing", "progress"]
        assert kinds[-3:] == ["executed", "execution_success", "end"]
        assert preview[:4] == (b"\0\0\0\4" if with_metadata else b"\0\0\0\1")
        assert b"\x89PNG" in preview
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(theirs.recv(), 0.2)


async def test_the_socket_is_not_led_elsewhere() -> None:
    met: list[str] = []

    async def silent(socket: websockets.ServerConnection) -> None:
        await socket.wait_closed()

    async def elsewhere(connection: websockets.ServerConnection, request: Request) -> Response:
        met.append(request.path)
        return connection.respond(200, "")

    async with websockets.serve(silent, "127.0.0.1", 0, process_request=elsewhere) as other:
        port = next(iter(other.sockets)).getsockname()[1]

        def redirect(connection: websockets.ServerConnection, _request: Request) -> Response:
            answer = connection.respond(302, "")
            answer.headers["Location"] = f"ws://127.0.0.1:{port}/ws"
            return answer

        async with websockets.serve(silent, "127.0.0.1", 0, process_request=redirect) as server:
            here = next(iter(server.sockets)).getsockname()[1]
            progress = Progress(f"http://127.0.0.1:{here}", {"X-API-Key": "secret"})
            assert await progress.of("run", nodes=1) is None
    assert met == []
