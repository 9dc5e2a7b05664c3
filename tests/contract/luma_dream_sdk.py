# requires: lumaai==1.21.0
"""Luma's client for Dream Machine makes pictures and videos, works on them, lists, deletes, and is refused."""

import sys
import time
import urllib.request

import lumaai
from lumaai import LumaAI

URL = f"{sys.argv[1]}/luma/dream-machine/v1"
KEY = "luma-sim-dream-key"
PICTURE = "https://files.example/fox.png"
CLIP = "https://files.example/fox.mp4"

client = LumaAI(auth_token=KEY, base_url=URL)


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def made(generation):
    assert generation.state == "queued", generation
    while generation.state in ("queued", "dreaming"):
        time.sleep(0.1)
        generation = client.generations.get(generation.id)
    assert generation.state == "completed" and generation.failure_reason is None, generation
    return generation


def refused(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError("it was accepted")


assert client.ping.check().message and client.credits.get().credit_balance > 0

video = made(
    client.generations.create(
        model="ray-2",
        prompt="a fox runs",
        aspect_ratio="21:9",
        resolution="1080p",
        duration="9s",
        loop=True,
        keyframes={"frame0": {"type": "image", "url": PICTURE}},
        concepts=[{"key": client.generations.concepts.list()[0]}],
    )
)
assert fetch(video.assets.video)[4:8] == b"ftyp" and video.request.duration == "9s", video
longer = {"frame0": {"type": "generation", "id": video.id}}
made(client.generations.video.create(model="ray-flash-2", keyframes=longer))
made(client.generations.upscale(video.id, resolution="4k"))
made(client.generations.audio(video.id, prompt="wind", negative_prompt="voices"))
made(
    client.generations.video.modify(
        generation_type="modify_video",
        model="ray-2",
        mode="flex_2",
        media={"url": CLIP},
        first_frame={"url": PICTURE},
        prompt="in snow",
    )
)
made(
    client.generations.video.reframe(
        generation_type="reframe_video", model="ray-2", aspect_ratio="9:16", media={"url": CLIP}, x_start=0, x_end=9
    )
)
print("a video, a longer one, a larger one, one with sound, an edit, another shape")

picture = made(
    client.generations.image.create(
        model="photon-1",
        prompt="a fox",
        format="png",
        image_ref=[{"url": PICTURE, "weight": 0.5}],
        style_ref=[{"url": PICTURE, "weight": 0.8}],
        character_ref={"identity0": {"images": [PICTURE]}},
        modify_image_ref={"url": PICTURE, "weight": 1},
    )
)
assert fetch(picture.assets.image).startswith(b"\x89PNG")
made(
    client.generations.image.reframe(
        generation_type="reframe_image", model="photon-flash-1", aspect_ratio="9:21", media={"url": PICTURE}
    )
)
waited = client.generations.image.create(model="photon-1", prompt="a fox", sync=True, sync_timeout=60)
assert waited.state == "completed" and fetch(waited.assets.image).startswith(b"\xff\xd8")
print("pictures, one of them within the answer")

page = client.generations.list(limit=2, offset=1)
assert len(page.generations) == 2 and page.has_more and page.count == 9, page
client.generations.delete(waited.id)
refused(lumaai.NotFoundError, lambda: client.generations.get(waited.id))
refused(lumaai.BadRequestError, lambda: client.generations.create(model="ray-2"))
wrong = LumaAI(auth_token="luma-wrong", base_url=URL)
refused(lumaai.AuthenticationError, wrong.generations.list)
print("listed, deleted, refused")
