# requires: volcengine-ark-runtime==5.0.54
"""Ark's client makes Seedream pictures and Seedance videos, streams, cancels, lists and is refused."""

import base64
import sys
import time
import urllib.request

from volcenginesdkarkruntime import Ark
from volcenginesdkarkruntime._exceptions import ArkAuthenticationError, ArkBadRequestError, ArkNotFoundError
from volcenginesdkarkruntime.types.images import SequentialImageGenerationOptions

URL = f"{sys.argv[1]}/volcengine/api/v3"
KEY = "sim-ark-key"
SEEDREAM = "doubao-seedream-4-0-250828"
SEEDANCE = "doubao-seedance-2-0-260128"
JPEG = b"\xff\xd8\xff"


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(action, kind, code):
    try:
        action()
    except kind as error:
        assert error.code == code, error.code
        return error
    raise AssertionError("it was accepted")


ark = Ark(base_url=URL, api_key=KEY, max_retries=0)
tasks = ark.content_generation.tasks

made = ark.images.generate(model=SEEDREAM, prompt="a fox", size="2K", watermark=False)
assert fetch(made.data[0].url).startswith(JPEG) and made.usage.generated_images == 1, made
made = ark.images.generate(model=SEEDREAM, prompt="a fox", size="1024x1024", response_format="b64_json")
assert base64.b64decode(made.data[0].b64_json).startswith(JPEG)
print("pictures by address and within the answer")

stream = ark.images.generate(
    model=SEEDREAM,
    prompt="a fox in four seasons",
    sequential_image_generation="auto",
    sequential_image_generation_options=SequentialImageGenerationOptions(max_images=4),
    stream=True,
)
events = list(stream)
assert [event.type for event in events] == ["image_generation.partial_succeeded"] * 4 + ["image_generation.completed"]
assert all(fetch(event.url).startswith(JPEG) for event in events[:4])
print("a stream of four pictures")

frame = f"data:image/jpeg;base64,{made.data[0].b64_json}"
task = tasks.create(
    model=SEEDANCE,
    content=[
        {"type": "text", "text": "it runs"},
        {"type": "image_url", "image_url": {"url": frame}, "role": "first_frame"},
    ],
    resolution="720p",
    duration=5,
    generate_audio=False,
    return_last_frame=True,
)
seen = []
while not seen or seen[-1] in {"queued", "running"}:
    time.sleep(0.3)
    done = tasks.get(task_id=task.id)
    seen.append(done.status)
assert seen[-1] == "succeeded", seen
assert fetch(done.content.video_url)[4:8] == b"ftyp"
assert fetch(done.content.last_frame_url).startswith(JPEG)
assert (done.duration, done.resolution) == (5, "720p"), done
print("a video and its last frame")

other = tasks.create(model=SEEDANCE, content=[{"type": "text", "text": "never mind"}])
tasks.delete(task_id=other.id)
assert tasks.get(task_id=other.id).status == "cancelled"
listed = tasks.list(task_ids=[task.id, other.id])
assert [one.id for one in listed.items] == [other.id, task.id] and listed.total == 2, listed
assert [one.id for one in tasks.list(task_ids=[task.id, other.id], status="succeeded").items] == [task.id]
tasks.delete(task_id=task.id)
refused(lambda: tasks.get(task_id=task.id), ArkNotFoundError, "NotFound")
print("a task cancelled, two listed, one deleted")

refused(lambda: ark.images.generate(model=SEEDREAM, prompt="a fox", size="8x8"), ArkBadRequestError, "InvalidParameter")
wrong_key = Ark(base_url=URL, api_key="wrong", max_retries=0)
error = refused(
    lambda: wrong_key.images.generate(model=SEEDREAM, prompt="a fox"), ArkAuthenticationError, "AuthenticationError"
)
print(f"a wrong key: {error}")
