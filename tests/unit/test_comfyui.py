"""ComfyUI: its client against the simulated server, what gets into a workflow, every error, files, and progress."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
import websockets

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
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.comfyui import Comfyui
from genpulse.schemas.states import MediaKind, Operation
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.clouds.comfyui import Comfyui as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import World, input_files, simulated

(SPEC,) = cloud_models(["comfyui"])
Files = dict[MediaKind, Media]
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


@pytest.fixture
async def world() -> AsyncIterator[World[Comfyui]]:
    async with simulated(Simulated, Comfyui) as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return input_files(tmp_path_factory.mktemp("inputs"))


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


async def refused(world: World[Comfyui], asked: ModelCall) -> GenPulseError:
    with pytest.raises(GenPulseError) as error:
        await world.made(asked)
    return error.value


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


async def test_a_run_that_was_cached_is_done_at_once(world: World[Comfyui]) -> None:
    job = await world.account().submit(call())
    assert isinstance(await world.account().poll(job, call()), Finished)


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


async def test_several_pictures_are_numbered(world: World[Comfyui], files: Files) -> None:
    two = PICTURE | {
        "3": node("LoadImage", "INPUT_reference_image_1", image=""),
        "4": node("LoadImage", "INPUT_reference_image_2", image=""),
    }
    await world.made(call(two, {"reference_images": [files[MediaKind.IMAGE]] * 2}))
    first, second = (world.sent()["prompt"][key]["inputs"]["image"] for key in "34")
    assert first
    assert second
    assert first != second


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
        ({"nodes": [], "links": []}, {}, "input.workflow", "Export (API)"),
        ({}, {}, "input.workflow", "no nodes"),
        ({"1": {"inputs": {}}}, {}, "input.workflow.1", "class_type"),
        ({"1": "x"}, {}, "input.workflow.1", "class_type"),
        ({"1": node("SaveImageWebsocket")}, {}, "input.workflow.1", "use SaveImage"),
        (PICTURE, {"prompt": "a fox"}, "input.prompt", "its titles are INPUT_size"),
        ({"1": node("EmptyImage")}, {"prompt": "a fox"}, "input.prompt", "it has no INPUT_ titles"),
        (PICTURE, {"workflow_inputs": {"colour": 1}}, "input.workflow_inputs.colour", "INPUT_colour"),
        (PICTURE, {"workflow_inputs": {"size": 64}}, "input.workflow_inputs.size", "width, height, batch_size"),
    ],
)
async def test_what_is_wrong_with_a_workflow_is_told_by_field(
    world: World[Comfyui], workflow: Workflow, given: dict[str, Any], field: str, words: str
) -> None:
    error = await refused(world, call(workflow, **given))
    assert isinstance(error, InvalidInput)
    assert error.field == field
    assert words in error.message
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


# What the server refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        (changed(PICTURE, "1", width=0), "node 1 (EmptyImage), input width: Value 0 smaller than min of 1"),
        (changed(PICTURE, "1", width=99999), "input width: Value 99999 bigger than max"),
        (changed(PICTURE, "1", width="wide"), "input width: Failed to convert"),
        (changed(DIFFUSION, "1", ckpt_name="other.safetensors"), "input ckpt_name: Value not in list"),
        (changed(PICTURE, "2", images=["9", 0]), "input images: Exception when validating inner node"),
        (changed(CLIP, "3", video=["1", 0]), "input video: Return type mismatch"),
        ({"1": PICTURE["1"], "2": node("SaveImage")}, "input images: Required input is missing"),
        ({"1": node("Unheard")}, "Node 'Unheard' not found. (node 1)"),
        ({"1": PICTURE["1"]}, "Prompt has no outputs"),
    ],
)
async def test_errors_of_nodes_are_told(world: World[Comfyui], workflow: Workflow, words: str) -> None:
    error = await refused(world, call(workflow))
    assert type(error) is ProviderRejected
    assert words in error.message


async def test_half_a_workflow_is_not_what_was_asked_for() -> None:
    half = PICTURE | {"3": node("EmptyImage", width=0), "4": node("SaveImage", images=["3", 0])}
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        error = await refused(world, call(half))
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
    entry = {"outputs": {}, "status": {"status_str": "error", "messages": messages}}

    def answer(request: httpx.Request) -> httpx.Response:
        empty: dict[str, Any] = {"queue_running": [], "queue_pending": []}
        return httpx.Response(200, json=empty if request.url.path == "/queue" else {"run": entry})

    cloud = Comfyui("http://sim", Credentials(), httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    with pytest.raises(kind) as error:
        await cloud.poll(Job(id="run"), call())
    assert words in error.value.message


async def test_no_paths_of_the_server_in_an_error(world: World[Comfyui]) -> None:
    world.fault(type="fails")
    error = await refused(world, call())
    assert type(error) is ProviderFailed
    assert "node 1 (EmptyImage)" in error.message
    assert "/srv" not in error.message


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


async def test_a_run_that_a_restart_has_lost_is_missing(world: World[Comfyui]) -> None:
    with pytest.raises(JobMissing, match="restarted"):
        await world.account().poll(Job(id="00000000-0000-4000-8000-000000000000"), call())


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


async def test_progress_is_told_on_the_socket() -> None:
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with served(simulator) as address, httpx.AsyncClient() as http:
        cloud = Comfyui(f"http://{address}/comfyui", Credentials(), http)
        job = await cloud.submit(call())
        assert isinstance(job, Job)
        assert await cloud.poll(job, call()) == Pending(), "it waits"
        clock.advance(4)
        state = await cloud.poll(job, call())
        assert isinstance(state, Pending)
        assert state.fraction is not None
        assert 0 < state.fraction < 1
        clock.advance(8)
        assert isinstance(await cloud.poll(job, call()), Finished)


async def test_the_socket_tells_a_run_and_shows_previews() -> None:
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
        await http.post("/prompt", json={"prompt": PICTURE, "client_id": "me"})
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
                told = json.loads(frame)
                kinds.append("end" if told["data"].get("node", "") is None else told["type"])
        assert kinds[:3] == ["execution_start", "execution_cached", "executing"]
        assert kinds[-3:] == ["executed", "execution_success", "end"]
        assert preview[:8] == b"\0\0\0\1\0\0\0\2"
        assert preview[8:12] == b"\x89PNG"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(theirs.recv(), 0.2)
