# requires: openai==3.54.0
"""Qianfan has no SDK of its own for media; OpenAI's sends its requests, and reads its errors."""

import base64
import sys
import time
import urllib.request

import openai

URL = f"{sys.argv[1]}/baidu"
KEY = "bce-v3/ALTAK-sim/0123456789abcdef0123456789abcdef01234567"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()


def client(path="", key=KEY):
    return openai.OpenAI(base_url=f"{URL}{path}", api_key=key, max_retries=0)


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


def until_done(ask, status):
    seen = []
    for _ in range(200):
        answer = ask()
        if status(answer) not in seen:
            seen.append(status(answer))
        if seen[-1] in ("succeeded", "succeed", "success", "failed"):
            return answer, seen
        time.sleep(0.1)
    raise AssertionError(f"never ended: {seen}")


extra = {"steps": 20, "guidance": 4.5, "prompt_extend": True, "negative_prompt": "a hen"}
drawn = client("/v2").images.generate(model="qwen-image", prompt="a fox", n=1, size="1024x1024", extra_body=extra)
assert fetch(drawn.data[0].url).startswith(b"\x89PNG")
air = client("/v2/musesteamer")
drawn = air.images.generate(model="musesteamer-air-image", prompt="a fox", size="1664x928", response_format="b64_json")
assert base64.b64decode(drawn.data[0].b64_json).startswith(b"\x89PNG")
edited = client("/v2").post(
    "/images/edits",
    body={"model": "qwen-image-edit", "prompt": "at night", "image": f"data:image/png;base64,{PIXEL}"},
    cast_to=dict[str, object],
)
assert fetch(edited["data"][0]["url"]).startswith(b"\x89PNG")
print("three pictures")

muse = client()
content = [
    {"type": "text", "text": "it runs"},
    {"type": "image_url", "image_url": {"url": "https://files.example/fox.png"}},
]
body = {"model": "musesteamer-air-i2v", "content": content, "duration": 5}


def ask(method, path="/video/generations", **query):
    return getattr(muse, method)(path, options={"params": query}, cast_to=dict[str, object])


made = muse.post("/video/generations", body=body, cast_to=dict[str, object])
assert made["id"] != made["task_id"]
unwanted = muse.post("/video/generations", body=body, cast_to=dict[str, object])["task_id"]
assert ask("delete", task_id=unwanted)["status"] == "Terminated"
done, seen = until_done(lambda: ask("get", task_id=made["task_id"]), lambda answer: answer["status"])
assert fetch(done["content"]["video_url"])[4:8] == b"ftyp" and done["duration"] == 5
assert {one["task_id"] for one in ask("get", "/video/generations/list")["items"]} == {made["task_id"], unwanted}
refused(openai.BadRequestError, "invalid_video_generation_argument", lambda: ask("delete", task_id=made["task_id"]))
print(f"a video after {seen}, and one that was cancelled")

HOSTED = "/beta/video/generations/qianfan-video"
parameters = {"prompt": "a fox", "duration": "10", "mode": "pro", "sound": "on"}
asked = {"model": "K2.6", "type": "text2video", "model_parameters": parameters}
made = muse.post(HOSTED, body=asked, cast_to=dict[str, object])["data"]["task_id"]
done, seen = until_done(
    lambda: ask("get", HOSTED, task_id=made, model="K2.6"), lambda answer: answer["data"]["task_status"]
)
assert fetch(done["data"]["task_result"]["videos"][0]["url"])[4:8] == b"ftyp"
parameters = {"images": [f"data:image/png;base64,{PIXEL}"], "duration": 8}
asked = {"model": "VQ3-Pro", "type": "img2video", "model_parameters": parameters}
made = muse.post(HOSTED, body=asked, cast_to=dict[str, object])["id"]
done, seen = until_done(lambda: ask("get", HOSTED, task_id=made, model="VQ3-Pro"), lambda answer: answer["status"])
assert fetch(done["creations"][0]["url"])[4:8] == b"ftyp"
print("two videos of other vendors")

refused(
    openai.BadRequestError, "invalid_model", lambda: client("/v2").images.generate(model="irag-1.0", prompt="a fox")
)
stranger = client("/v2", "wrong")
refused(
    openai.AuthenticationError,
    "invalid_iam_token",
    lambda: stranger.images.generate(model="qwen-image", prompt="a fox"),
)
