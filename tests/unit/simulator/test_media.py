"""What the simulated clouds make: real files, small, and the same each time."""

from __future__ import annotations

import io

import av
import pytest
from PIL import Image

from genpulse.simulator.media import Format, Media, render
from tests.simulated import World


@pytest.mark.parametrize("form", list(Format))
def test_media_are_real_and_small(form: Format) -> None:
    content = render(Media(form, 1024, 512, 5.0).small())
    if form.is_image:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert image.size == (256, 128)
            return
    with av.open(io.BytesIO(content), "r") as container:
        frames = list(container.decode(container.streams[0]))
    assert frames
    if form is Format.MP4:
        assert isinstance(frames[0], av.VideoFrame)
        assert (frames[0].width, frames[0].height, len(frames)) == (256, 128, 8)


def test_media_are_reproducible() -> None:
    render.cache_clear()
    first = render(Media(Format.MP4))
    render.cache_clear()
    assert render(Media(Format.MP4)) == first
    assert render(Media(Format.MP4, variant=1)) != first


async def test_exact_media_have_the_size_that_was_asked_for(world: World) -> None:
    await world.client.put("/_control/settings", json={"exact_media": True, "seconds_per_job": 0})
    job = (await world.submit(image_size={"width": 400, "height": 300}, output_format="png")).json()
    url = (await world.get(job["response_url"])).json()["images"][0]["url"]
    with Image.open(io.BytesIO((await world.get(url)).content)) as image:
        assert image.size == (400, 300)
