"""ComfyUI: what comes out."""

from __future__ import annotations

from typing import Any

import pytest

from genpulse.errors import (
    ProviderRejected,
)
from genpulse.providers.base import Finished, Job, Pending
from genpulse.providers.comfyui import Comfyui
from genpulse.schemas.states import MediaKind
from genpulse.simulator.clouds.comfyui import Comfyui as Simulated
from tests.clouds import Files, World, simulated
from tests.unit.comfyui.shared import CLIP, DIFFUSION, PICTURE, SOUND, Workflow, call, changed, ended, node


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
