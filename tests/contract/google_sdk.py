# requires: google-genai==3.4.0
"""Google's SDK makes a picture, an interaction and its file, a video of Veo, a picture of Imagen, and is refused."""

import os
import sys
import time

from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

BASE = f"{sys.argv[1]}/google"
for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"):
    os.environ.pop(name, None)


def client(key="AIza-sim-key"):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=BASE))


gemini = client()
made = gemini.models.generate_content(
    model="gemini-3-pro-image-preview",
    contents=["a fox"],
    config=types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"],
        image_config=types.ImageConfig(aspect_ratio="16:9", image_size="2K"),
    ),
)
pictures = [part.inline_data for part in made.candidates[0].content.parts if part.inline_data]
assert len(pictures) == 1 and pictures[0].data.startswith(b"\x89PNG") and pictures[0].mime_type == "image/png"
print(f"a picture of {len(pictures[0].data)} bytes")

edited = gemini.models.generate_content(
    model="gemini-3.1-flash-image",
    contents=["in winter", types.Part.from_bytes(data=pictures[0].data, mime_type="image/png")],
)
assert any(part.inline_data for part in edited.candidates[0].content.parts)
print("an edit of it")

interaction = gemini.interactions.create(
    model="gemini-omni-1.2-flash",
    input="a fox runs",
    background=True,
    store=True,
    response_format={
        "type": "video",
        "aspect_ratio": "16:9",
        "resolution": "720p",
        "duration": "8s",
        "delivery": "uri",
    },
    generation_config={"seed": 5, "video_config": {"task": "text_to_video"}},
)
polls = 0
while interaction.status in ("queued", "in_progress"):
    polls += 1
    time.sleep(0.3)
    interaction = gemini.interactions.get(interaction.id)
assert interaction.status == "completed", interaction
[video] = interaction.steps[-1].content
# The SDK takes the id of a file out of https addresses only.
film = gemini.files.download(file=video.uri[video.uri.index("files/") : video.uri.index(":download")])
assert polls and film[4:8] == b"ftyp"
print(f"a video of {len(film)} bytes after {polls} polls")

stopped = gemini.interactions.create(
    model="gemini-omni-1.2-flash", input="a fox", background=True, response_format={"type": "video"}
)
assert gemini.interactions.cancel(stopped.id).status == "cancelled"
print("a video cancelled")

vertex = genai.Client(
    vertexai=True,
    project="sim-project",
    location="us-central1",
    credentials=Credentials(token="ya29.sim-token"),
    http_options=types.HttpOptions(base_url=BASE),
)
operation = vertex.models.generate_videos(
    model="veo-3.1-generate-001",
    prompt="a fox runs",
    image=types.Image(image_bytes=pictures[0].data, mime_type="image/png"),
    config=types.GenerateVideosConfig(
        number_of_videos=2, duration_seconds=4, aspect_ratio="9:16", seed=5, generate_audio=False
    ),
)
while not operation.done:
    time.sleep(0.3)
    operation = vertex.operations.get(operation)
films = [one.video.video_bytes for one in operation.response.generated_videos]
assert len(films) == 2 and all(film[4:8] == b"ftyp" for film in films)
print("two videos of Veo")

printed = vertex.models.generate_images(
    model="imagen-4.0-generate-001",
    prompt="a fox",
    config=types.GenerateImagesConfig(number_of_images=2, aspect_ratio="4:3", output_mime_type="image/jpeg"),
)
assert [one.image.image_bytes[:3] for one in printed.generated_images] == [b"\xff\xd8\xff"] * 2
print("two pictures of Imagen")

try:
    stranger = client("wrong")
    stranger.models.generate_content(model="gemini-3.1-flash-image", contents="a fox")
except errors.ClientError as error:
    assert (error.code, error.status) == (400, "INVALID_ARGUMENT"), error
else:
    raise AssertionError("a wrong key was taken")
print("a wrong key refused")
