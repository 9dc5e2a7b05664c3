"""ComfyUI: what the server refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from genpulse.errors import (
    GenPulseError,
    OutcomeUnknown,
    ProviderFailed,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Credentials, Finished, Job
from genpulse.providers.comfyui import Comfyui
from genpulse.simulator.clouds.comfyui import Comfyui as Simulated
from genpulse.simulator.jobs import State
from tests.clouds import World, simulated
from tests.unit.comfyui.shared import CLIP, DIFFUSION, PICTURE, Workflow, call, changed, ended, node


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
