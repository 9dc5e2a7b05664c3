# requires: openai==3.54.0
"""TokenHub has no SDK of its own for media; OpenAI's sends its requests, and reads its errors."""

import base64
import sys
import time
import urllib.request

import openai

URL = f"{sys.argv[1]}/tencent/v1"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(kind, code, action):
    try:
        action()
    except kind as error:
        assert error.code == code and error.type, (error.code, error.type)
        print(f"refused: {error.type} {error.code}")
        return
    raise AssertionError(f"it was accepted: {code} was expected")


def until_done(ask):
    seen = []
    for _ in range(200):
        answer = ask()
        if answer["status"] not in seen:
            seen.append(answer["status"])
        if answer["status"] in ("succeeded", "completed", "failed"):
            return answer, seen
        time.sleep(0.1)
    raise AssertionError(f"never ended: {seen}")


client = openai.OpenAI(base_url=URL, api_key="sk-sim-tokenhub-key", max_retries=0)


def post(path, **body):
    return client.post(path, body=body, cast_to=dict[str, object])


picture = post(
    "/wand/hunyuan-image/v3-generation", model="hy-image-v3", prompt="a fox", images=[PIXEL], size="768x1024"
)
assert fetch(picture["data"][0]["url"]).startswith(b"\x89PNG")
picture = post("/api/image/lite", model="hy-image-lite", prompt="a fox", resolution="1280:720", rsp_img_type="url")
assert fetch(picture["data"][0]["url"]).startswith(b"\x89PNG")
print("two pictures")

task = post("/wand/hunyuan-video/generation", model="hy-video-v1.5", prompt="a fox", aspect_ratio="9:16")["task_id"]
done, seen = until_done(lambda: client.get(f"/wand/hunyuan-video/tasks/{task}", cast_to=dict[str, object]))
assert fetch(done["videos"][0]["url"])[4:8] == b"ftyp"
print(f"a video after {seen}")

task = post("/api/video/submit", model="yt-video-2.0", image={"url": "https://x.example/a.png"}, resolution="480p")[
    "id"
]
done, seen = until_done(lambda: post("/api/video/query", model="yt-video-2.0", id=task))
assert fetch(done["data"]["url"])[4:8] == b"ftyp"
print(f"another one after {seen}")

task = post("/api/image/submit", model="hy-image-v3.0", prompt="a fox", resolution="1280:720", revise=0, logo_add=0)[
    "id"
]
done, seen = until_done(lambda: post("/api/image/query", model="hy-image-v3.0", id=task))
assert fetch(done["data"][0]["url"]).startswith(b"\x89PNG")
print(f"a picture as a task after {seen}")

wide = {"model": "hy-image-v3.0", "prompt": "a fox", "resolution": "1536:864"}
refused(openai.BadRequestError, "400001", lambda: post("/api/image/submit", **wide))
long = "x" * 201
refused(openai.BadRequestError, "400001", lambda: post("/api/video/submit", model="hy-video-1.5", prompt=long))
client = openai.OpenAI(base_url=URL, api_key="wrong", max_retries=0)
refused(openai.AuthenticationError, "401002", lambda: post("/api/image/lite", model="hy-image-lite", prompt="a fox"))
