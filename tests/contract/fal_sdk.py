# requires: fal-client==1.0.3
"""fal's client submits, follows, cancels, uploads and is refused."""

import sys
import urllib.request

import fal_client
from fal_client import client as module

URL = f"{sys.argv[1]}/fal"
KEY = "sim-key:sim-secret"
MODEL = "fal-ai/flux/dev"

# The client knows hosts only, and speaks https with them.
module.QUEUE_URL_FORMAT = f"{URL}/"
module.REST_URL = module.CDN_URL = URL


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(action, status):
    try:
        action()
    except fal_client.FalClientHTTPError as error:
        assert error.status_code == status, error
        return error
    raise AssertionError("it was accepted")


client = fal_client.SyncClient(key=KEY)

seen = []
done = client.subscribe(
    MODEL,
    {"prompt": "a fox", "num_images": 2, "image_size": "square", "output_format": "png"},
    with_logs=True,
    on_queue_update=lambda update: seen.append(type(update).__name__),
)
assert seen[-1] == "Completed" and len(done["images"]) == 2, (seen, done)
for image in done["images"]:
    assert fetch(image["url"]).startswith(b"\x89PNG")
print(f"two pictures after {seen}")

handle = client.submit("fal-ai/kling-video/v2/master/text-to-video", {"prompt": "a fox runs", "duration": "5"})
assert isinstance(handle.status(), (fal_client.Queued, fal_client.InProgress))
video = fetch(handle.get()["video"]["url"])
assert video[4:8] == b"ftyp"
assert isinstance(client.status(MODEL.replace("flux/dev", "kling-video"), handle.request_id), fal_client.Completed)
print(f"a video of {len(video)} bytes")

handle = client.submit(MODEL, {"prompt": "never mind"}, priority="low", hint="fox", start_timeout=30)
handle.cancel()
assert refused(handle.get, 499).error_type == "client_cancelled"
print("a request cancelled")

link = client.upload(video, "video/mp4", "fox.mp4")
assert fetch(link) == video
print(f"a file uploaded to {link.removeprefix(URL)}")

error = refused(lambda: client.submit(MODEL, {"prompt": "a fox", "num_images": 9}), 422)
assert "num_images" in str(error)
error = refused(lambda: fal_client.SyncClient(key="wrong:key").submit(MODEL, {"prompt": "a fox"}), 401)
print(f"a wrong key: {error}")
