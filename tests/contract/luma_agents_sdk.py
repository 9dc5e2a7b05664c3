# requires: luma-agents==0.5.0
"""Luma's client for the Agents API makes pictures and videos, edits them, uploads a file, and is refused."""

import sys
import time
import urllib.request

import luma_agents
from luma_agents import Luma

URL = f"{sys.argv[1]}/luma/v1"
KEY = "luma-api-sim-key"
PICTURE = "https://files.example/fox.png"
CLIP = "https://files.example/fox.mp4"

client = Luma(auth_token=KEY, base_url=URL)


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def made(**asked):
    generation = client.generations.create(**asked)
    assert generation.state == "queued" and generation.type == asked.get("type", "image"), generation
    while generation.state in ("queued", "processing"):
        time.sleep(0.1)
        generation = client.generations.get(generation.id)
    assert generation.state == "completed" and generation.failure_code is None, generation
    return generation


def refused(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError("it was accepted")


picture = made(prompt="a fox", model="uni-1-max", aspect_ratio="16:9", image_ref=[{"url": PICTURE}] * 9)
assert fetch(picture.output[0].url).startswith(b"\x89PNG") and picture.output[0].type == "image"
edited = made(
    prompt="in snow", type="image_edit", source={"generation_id": picture.id}, output_format="jpeg", web_search=True
)
assert fetch(edited.output[0].url).startswith(b"\xff\xd8")
layers = made(prompt="", type="layering", source={"url": PICTURE}, layering={"resolution": "2k"})
assert [one.layer.index for one in layers.output] == [0, 1], layers
print("a picture, an edit of it, and layers")

video = made(
    prompt="a fox runs",
    model="ray-3.2",
    type="video",
    aspect_ratio="9:16",
    video={
        "duration": "10s",
        "resolution": "1080p",
        "keyframes": [{"url": PICTURE}, {"url": PICTURE}],
        "keyframe_indexes": [0, 240],
    },
)
assert fetch(video.output[0].url)[4:8] == b"ftyp" and video.output[0].type == "video"
longer = {"start_frame": {"generation_id": video.id}, "duration": "5s"}
assert made(prompt="on and on", model="ray-3.2", type="video", video=longer).output
restyled = made(
    prompt="as a drawing",
    model="ray-3.2",
    type="video_edit",
    source={"url": CLIP, "media_type": "video/mp4"},
    video={"edit": {"strength": "flex_2", "controls": {"pose": {"enabled": True, "strength": "coarse"}}}},
)
reframed = made(
    prompt="wider",
    model="ray-3.2",
    type="video_reframe",
    aspect_ratio="21:9",
    source={"generation_id": restyled.id},
    video={"source_position": {"x_norm": 0.2, "y_norm": 0, "w_norm": 0.6, "h_norm": 1}},
)
assert fetch(reframed.output[0].url)[4:8] == b"ftyp"
print("a video, a longer one, an edit, another shape")

content = fetch(picture.output[0].url)
new = client.files.create(mime_type="image/png", size_bytes=len(content), filename="fox.png", purpose="reference")
assert new.state == "pending" and new.upload.method == "PUT", new
put = urllib.request.Request(new.upload.url, content, new.upload.headers, method="PUT")
assert urllib.request.urlopen(put, timeout=10).status == 200
assert client.files.complete(new.id).state == "ready"
assert [one.id for one in client.files.list(limit=10).data] == [new.id]
assert made(prompt="the same fox", image_ref=[{"file_id": new.id}]).output
client.files.delete(new.id)
refused(luma_agents.NotFoundError, lambda: client.files.get(new.id))
print(f"a file of {len(content)} bytes uploaded, used and deleted")

wrong = Luma(auth_token="luma-api-wrong", base_url=URL)
refused(luma_agents.AuthenticationError, lambda: wrong.generations.create(prompt="a fox"))
error = refused(
    luma_agents.UnprocessableEntityError, lambda: client.generations.create(prompt="a fox", model="ray-3.2")
)
assert isinstance(error.body["detail"], str), error.body
refused(luma_agents.NotFoundError, lambda: client.generations.get("unknown"))
raw = client.generations.with_raw_response.create(prompt="a fox", extra_headers={"X-Request-Id": "mine"})
assert raw.headers["X-Request-Id"] == "mine" and raw.headers["X-RateLimit-Remaining"].isdecimal(), raw.headers
print("a wrong key, a wrong body and an unknown id refused")
