"""Google: what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from genpulse.errors import (
    InvalidInput,
)
from genpulse.providers.google import Google
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World
from tests.unit.google.shared import (
    PICTURE,
    VEO,
    VIDEO,
    call,
)


async def test_an_edit_of_a_picture(world: World[Google], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call(
        PICTURE,
        Operation.IMAGE_TO_IMAGE,
        {"image": [picture], "reference_images": [picture]},
        aspect_ratio="16:9",
        resolution="2k",
        options={"generationConfig": {"imageConfig": {"imageSize": "4K"}, "seed": 3}},
    )
    state = await world.made(asked)
    inline = {"inlineData": {"mimeType": "image/png", "data": picture.base64()}}
    assert world.sent() == {
        "contents": [{"role": "user", "parts": [{"text": "a fox"}, inline, inline]}],
        "generationConfig": {
            "responseModalities": ["TEXT", "IMAGE"],
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "4K"},
            "seed": 3,
        },
    }
    assert state.usage["totalTokenCount"] == 1300


async def test_half_a_thousand_pixels(world: World[Google]) -> None:
    await world.made(call("gemini-3.1-flash-image", resolution="512p"))
    assert world.sent()["generationConfig"]["imageConfig"] == {"imageSize": "512"}


async def test_an_interaction_of_text(world: World[Google]) -> None:
    asked = call(VIDEO, resolution="1080p", aspect_ratio="9:16", duration=5.0, seed=3)
    await world.made(asked)
    assert world.sent() == {
        "model": "gemini-omni-1.2-flash",
        "background": True,
        "store": True,
        "input": "a fox",
        "response_format": {
            "type": "video",
            "aspect_ratio": "9:16",
            "resolution": "1080p",
            "duration": "5s",
            "delivery": "uri",
        },
        "generation_config": {"seed": 3, "video_config": {"task": "text_to_video"}},
    }


@pytest.mark.parametrize(
    ("model", "operation", "name", "task"),
    [
        (VIDEO, Operation.TEXT_TO_VIDEO, "reference_images", "reference_to_video"),
        (VIDEO, Operation.IMAGE_TO_VIDEO, "image", "image_to_video"),
        (VIDEO, Operation.VIDEO_TO_VIDEO, "video", "edit"),
        (f"{VIDEO}-extend", Operation.VIDEO_TO_VIDEO, "video", "extend"),
        (f"{VIDEO}-upscale", Operation.VIDEO_UPSCALE, "video", "upscale"),
    ],
)
async def test_an_interaction_with_files(  # noqa: PLR0917 - fixtures and a table
    world: World[Google], files: Files, model: str, operation: Operation, name: str, task: str
) -> None:
    file = files[MEDIA_FIELDS[name]]
    await world.made(call(model, operation, {name: [file]}))
    sent = world.sent()
    kind = str(MEDIA_FIELDS[name])
    content = [{"type": "text", "text": "a fox"}, {"type": kind, "data": file.base64(), "mime_type": file.media_type}]
    assert sent["input"] == [{"type": "user_input", "content": content}]
    assert sent["generation_config"]["video_config"] == {"task": task}


async def test_veo_between_two_pictures(world: World[Google], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    file = {"bytesBase64Encoded": picture.base64(), "mimeType": "image/png"}
    asked = call(
        VEO,
        Operation.IMAGE_TO_VIDEO,
        {"image": [picture], "last_image": [picture]},
        negative_prompt="rain",
        aspect_ratio="9:16",
        resolution="720p",
        duration=4.0,
        count=2,
        seed=3,
        options={"parameters": {"generateAudio": False}},
    )
    await world.made(asked)
    assert world.sent() == {
        "instances": [{"prompt": "a fox", "image": file, "lastFrame": file}],
        "parameters": {
            "sampleCount": 2,
            "durationSeconds": 4,
            "aspectRatio": "9:16",
            "resolution": "720p",
            "negativePrompt": "rain",
            "seed": 3,
            "generateAudio": False,
        },
    }


async def test_veo_with_references_and_with_a_video(world: World[Google], files: Files) -> None:
    picture, video = files[MediaKind.IMAGE], files[MediaKind.VIDEO]
    await world.made(call(VEO, media={"reference_images": [picture]}))
    image = {"bytesBase64Encoded": picture.base64(), "mimeType": "image/png"}
    assert world.sent()["instances"][0]["referenceImages"] == [{"image": image, "referenceType": "ASSET"}]
    await world.made(call("veo-3.1-extend", media={"video": [video]}))
    assert world.sent()["instances"][0]["video"] == {"bytesBase64Encoded": video.base64(), "mimeType": "video/mp4"}


@pytest.mark.parametrize(
    ("given", "words"),
    [({"duration": 5.0}, "4, 6, 8"), ({"duration": 4.0, "resolution": "1080p"}, "8 only")],
)
async def test_what_veo_cannot_make_is_refused(world: World[Google], given: dict[str, Any], words: str) -> None:
    error = await world.refused(call(VEO, **given))
    assert isinstance(error, InvalidInput)
    assert (error.field, words in error.message) == ("input.duration", True)
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []
