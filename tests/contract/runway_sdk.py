# requires: runwayml==5.24.0
"""Runway's SDK makes videos and pictures, works on both, uploads a file, cancels, deletes, and is refused."""

import sys
import time
import urllib.request

import runwayml
from runwayml import RunwayML
from runwayml.lib import polling

polling.POLL_TIME, polling.POLL_JITTER = 0.1, 0

URL = f"{sys.argv[1]}/runway"
KEY = "key_sim-runway"
PICTURE = "https://files.example/fox.png"
CLIP = "https://files.example/fox.mp4"

client = RunwayML(api_key=KEY, base_url=URL, max_retries=0)


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def made(created):
    """What a task made, which has to have cost something."""
    done = created.wait_for_task_output(timeout=30)
    assert done.status == "SUCCEEDED" and done.cost.credits > 0 and done.created_at.tzinfo, done
    files = [fetch(url) for url in done.output]
    assert files, done
    return files


def video(created):
    (file,) = made(created)
    assert file[4:8] == b"ftyp", file[:8]
    return file


def refused(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError("it was accepted")


video(client.text_to_video.create(model="gen4.5", prompt_text="a fox", ratio="720:1280", duration=5, seed=7))
frames = [{"uri": PICTURE, "position": "first"}, {"uri": PICTURE, "position": "last"}]
first = {"prompt_image": PICTURE, "prompt_text": "it runs"}
video(
    client.image_to_video.create(
        model="gen4.5", ratio="1584:672", duration=10, content_moderation={"public_figure_threshold": "low"}, **first
    )
)
video(client.image_to_video.create(model="veo3.1", prompt_image=frames, ratio="1920:1080", duration=8, audio=True))
video(client.image_to_video.create(model="wan3", ratio="auto_720p", **first))
print("videos from text and from frames")

fox = {"uri": PICTURE, "tag": "fox"}
(picture,) = made(
    client.text_to_image.create(
        model="gen4_image", prompt_text="@fox in snow", ratio="1920:1080", reference_images=[fox]
    )
)
assert picture.startswith(b"\x89PNG")
four = made(
    client.text_to_image.create(model="gemini_image3_pro", prompt_text="a fox", ratio="2048:2048", output_count=4)
)
assert len(four) == 4 and all(one.startswith(b"\x89PNG") for one in four)
print("pictures, one of them with a reference")

video(
    client.video_to_video.create(
        model="aleph2", video_uri=CLIP, prompt_text="in snow", keyframes=[{"seconds": 1, "uri": PICTURE}]
    )
)
video(client.video_to_video.create(model="seedance2", prompt_video=CLIP, references=[{"uri": PICTURE}], duration=5))
video(
    client.video_upscale.create(model="magnific_video_upscaler_creative", video_uri=CLIP, resolution="4k", sharpen=10)
)
video(client.video_upscale.create(model="enhance_frame_rate", video_uri=CLIP, target_framerate="59_94"))
video(
    client.character_performance.create(
        model="act_two",
        character={"type": "image", "uri": PICTURE},
        reference={"type": "video", "uri": CLIP},
        ratio="960:960",
        expression_intensity=4,
    )
)
print("work on videos")

file = client.uploads.create_ephemeral(file=("fox.png", picture, "image/png"))
assert file.uri.startswith("runway://"), file
(larger,) = made(
    client.image_upscale.create(
        model="magnific_precision_upscaler_v2", image_uri=file.uri, scale_factor=4, flavor="photo"
    )
)
assert larger.startswith(b"\x89PNG")
print(f"a file of {len(picture)} bytes uploaded and enlarged")


def waiting():
    return client.text_to_video.create(model="gen4.5", prompt_text="a fox", ratio="1280:720", duration=5)


task = waiting()
assert client.tasks.retrieve(task.id).status in ("PENDING", "THROTTLED")
client.tasks.delete(task.id)
assert client.tasks.retrieve(task.id).status == "CANCELLED"
task = waiting()
while client.tasks.retrieve(task.id).status != "SUCCEEDED":
    time.sleep(0.1)
client.tasks.delete(task.id)
client.tasks.delete(task.id)
refused(runwayml.NotFoundError, lambda: client.tasks.retrieve(task.id))
assert client.organization.retrieve().tier.models["gen4.5"].max_concurrent_generations
print("one task cancelled, one deleted")

wrong = RunwayML(api_key="key_wrong", base_url=URL, max_retries=0)
refused(runwayml.AuthenticationError, wrong.organization.retrieve)
old = RunwayML(api_key=KEY, base_url=URL, runway_version="2024-01-01", max_retries=0)
refused(runwayml.BadRequestError, old.organization.retrieve)
error = refused(
    runwayml.BadRequestError,
    lambda: client.text_to_video.create(model="gen4.5", prompt_text="a fox", ratio="16:9", duration=5),
)
assert "ratio" in error.body["issues"][0]["message"], error.body
refused(
    runwayml.BadRequestError,
    lambda: client.image_upscale.create(model="magnific_precision_upscaler_v2", image_uri="runway://unknown"),
)
print("a wrong key, a wrong version, a wrong body and an unknown file refused")
