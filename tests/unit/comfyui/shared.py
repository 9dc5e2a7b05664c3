"""ComfyUI: what its tests have in common."""

from __future__ import annotations

import copy
from typing import Any

import httpx

from genpulse.catalog.clouds import cloud_models
from genpulse.providers.base import Credentials, Media, ModelCall
from genpulse.providers.comfyui import Comfyui
from genpulse.schemas.states import Operation

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


def ended(history: dict[str, Any]) -> Comfyui:
    """A server at which a run has ended so."""

    def answer(request: httpx.Request) -> httpx.Response:
        empty: dict[str, Any] = {"queue_running": [], "queue_pending": []}
        return httpx.Response(200, json=empty if request.url.path == "/queue" else {"run": history})

    return Comfyui("http://sim", Credentials(api_key="k"), httpx.AsyncClient(transport=httpx.MockTransport(answer)))
