# requires: dashscope==2.0.2
"""Both clients of DashScope's SDK make pictures, videos and speech, wait, cancel, list, upload and are refused."""

import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path

import dashscope
from dashscope import ImageSynthesis, MultiModalConversation, VideoSynthesis
from dashscope.audio.qwen_tts import SpeechSynthesizer
from dashscope.v2 import errors

URL = f"{sys.argv[1]}/dashscope/api/v1"
KEY = "sk-sim-key"
PNG = b"\x89PNG"

dashscope.base_http_api_url = URL


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(action, kind):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError("it was accepted")


# The functions of version 1; their errors are answers.

done = ImageSynthesis.call(model="wan2.5-t2i-preview", prompt="a fox", n=2, size="1280*1280", api_key=KEY)
assert done.output.task_status == "SUCCEEDED" and len(done.output.results) == 2, done
pictures = [fetch(result.url) for result in done.output.results]
assert all(picture.startswith(PNG) for picture in pictures)
print("two pictures of wan")

done = MultiModalConversation.call(
    model="qwen-image-2.0-pro",
    messages=[{"role": "user", "content": [{"text": "a fox"}]}],
    size="2048*2048",
    api_key=KEY,
)
assert done.status_code == HTTPStatus.OK, done
assert fetch(done.output.choices[0].message.content[0]["image"]).startswith(PNG)
print("a picture of qwen within the answer")

file = Path("frame.png")
file.write_bytes(pictures[0])
frame = f"file://{file.absolute()}"  # which the client uploads
edits = [
    ImageSynthesis.async_call(model="wan2.5-i2i-preview", prompt="at night", images=[frame, frame], api_key=KEY),
    ImageSynthesis.async_call(
        model="wanx2.1-imageedit",
        function="super_resolution",
        prompt="larger",
        base_image_url=frame,
        upscale_factor=2,
        api_key=KEY,
    ),
]
media = [{"type": "first_frame", "url": frame}, {"type": "last_frame", "url": frame}]
videos = [
    VideoSynthesis.async_call(
        model="wan2.5-i2v-preview", prompt="it runs", img_url=frame, resolution="720P", api_key=KEY
    ),
    VideoSynthesis.async_call(
        model="wan2.2-kf2v-flash", prompt="it turns", first_frame_url=frame, last_frame_url=frame, api_key=KEY
    ),
    VideoSynthesis.async_call(model="wan2.7-i2v", prompt="it turns", media=media, resolution="720P", api_key=KEY),
    VideoSynthesis.async_call(model="wan2.6-r2v", prompt="it waits", reference_urls=[frame], api_key=KEY),
]
for task in [*edits, *videos]:
    assert task.status_code == HTTPStatus.OK and task.output.task_status == "PENDING", task
for task in edits:
    assert fetch(ImageSynthesis.wait(task, api_key=KEY).output.results[0].url).startswith(PNG)
for task in videos:
    assert fetch(VideoSynthesis.wait(task, api_key=KEY).output.video_url)[4:8] == b"ftyp"
print("an edited picture, a larger one, and four videos of uploaded frames")

task = VideoSynthesis.async_call(model="wan2.7-t2v", prompt="never mind", resolution="720P", api_key=KEY)
assert VideoSynthesis.cancel(task, api_key=KEY).status_code == HTTPStatus.OK
assert VideoSynthesis.fetch(task, api_key=KEY).output.task_status == "CANCELED"
late = VideoSynthesis.cancel(task, api_key=KEY)
assert (late.status_code, late.code) == (HTTPStatus.BAD_REQUEST, "UnsupportedOperation"), late
listed = VideoSynthesis.list(api_key=KEY, model_name="wan2.7-t2v", status="CANCELED")
assert task.output.task_id in str(listed), listed
print("a task cancelled and listed")

link = f"{URL.removesuffix('/api/v1')}/media/none.mp4"
repainted = VideoSynthesis.async_call(
    model="wanx2.1-vace-plus",
    prompt="in ink",
    extra_input={"function": "video_repainting", "video_url": link},
    control_condition="depth",
    api_key=KEY,
)
edit = [{"type": "video", "url": link}, {"type": "reference_image", "url": frame}]
edited = VideoSynthesis.async_call(model="happyhorse-1.0-video-edit", prompt="a red coat", media=edit, api_key=KEY)
speaking = VideoSynthesis.async_call(
    model="wan2.2-s2v",
    prompt="",
    task="image2video",
    extra_input={"image_url": link, "audio_url": link},
    resolution="480P",
    api_key=KEY,
)
for task in (repainted, edited):
    assert fetch(VideoSynthesis.wait(task, api_key=KEY).output.video_url)[4:8] == b"ftyp", task
assert fetch(VideoSynthesis.wait(speaking, api_key=KEY).output["results"]["video_url"])[4:8] == b"ftyp"
print("a video repainted, one edited, and a picture that speaks")

spoken = SpeechSynthesizer.call(model="qwen3-tts-flash", text="Good evening.", voice="Cherry", api_key=KEY)
assert fetch(spoken.output.audio["url"]).startswith(b"RIFF"), spoken
print("speech")

wrong = ImageSynthesis.async_call(model="wan2.5-t2i-preview", prompt="a fox", n=1, api_key="wrong")
assert (wrong.status_code, wrong.code) == (HTTPStatus.UNAUTHORIZED, "InvalidApiKey"), wrong

# The client of version 2 raises.

client = dashscope.Client(api_key=KEY, base_url=URL)

video = client.videos.generate(model="wan2.7-t2v", prompt="a fox runs", resolution="720P", ratio="16:9", duration=5)
assert fetch(video.video_url)[4:8] == b"ftyp", video
print("a video of the second client")

job = client.images.jobs.create(model="wan2.6-t2i", prompt="a fox", n=1)
[link] = client.images.jobs.wait(job.task_id).image_urls
assert fetch(link).startswith(PNG)
job = client.images.jobs.create(model="wan2.6-t2i", prompt="never mind", n=1)
client.images.jobs.cancel(job.task_id)
refused(lambda: client.images.jobs.cancel(job.task_id), errors.BadRequestError)
print("a task waited for and one cancelled")

refused(lambda: client.images.generate(model="wan2.5-t2i-preview", prompt="a fox", n=99), errors.BadRequestError)
wrong_key = dashscope.Client(api_key="wrong", base_url=URL)
error = refused(lambda: wrong_key.images.generate(model="wan2.6-t2i", prompt="a fox"), errors.AuthenticationError)
print(f"a wrong key: {error}")
