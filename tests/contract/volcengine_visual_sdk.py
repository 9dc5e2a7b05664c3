# requires: volcengine==1.0.229
"""The signed client of Visual makes Jimeng pictures and videos, and is refused."""

import base64
import json
import sys
import time
import urllib.request
from urllib.parse import urlsplit

from volcengine.visual.VisualService import VisualService

URL = urlsplit(f"{sys.argv[1]}/volcengine/")
ACCESS_KEY, SECRET_KEY = "AKLTsim", "sim-volcengine-secret"


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def wait(req_key, task, **options):
    status = ""
    while status in {"", "in_queue", "generating"}:
        time.sleep(0.3)
        asked = {"req_key": req_key, "task_id": task, "req_json": json.dumps(options)}
        data = visual.cv_sync2async_get_result(asked)["data"]
        status = data["status"]
    assert status == "done", data
    return data


def refused(action, said):
    try:
        action()
    except Exception as error:  # noqa: BLE001 - the client raises nothing narrower
        assert said in str(error), error
        return error
    raise AssertionError("it was accepted")


visual = VisualService()
visual.set_ak(ACCESS_KEY)
visual.set_sk(SECRET_KEY)
visual.set_scheme(URL.scheme)
visual.set_host(URL.netloc)
for action in visual.api_info.values():  # the client knows no base path
    action.path = URL.path

task = visual.cv_sync2async_submit_task(
    {"req_key": "jimeng_t2i_v40", "prompt": "一只狐狸", "width": 1024, "height": 1024}
)
assert task["code"] == 10000, task
[link] = wait("jimeng_t2i_v40", task["data"]["task_id"], return_url=True)["image_urls"]
picture = fetch(link)
assert picture.startswith(b"\x89PNG")
print("a picture by address")

for ask, req_key in (
    (visual.over_resolution_v2, "lens_vida_nnsr"),
    (visual.enhance_photo_v2, "lens_lqir"),
    (visual.cv_process, "lens_nnsr2_pic_common"),
):
    answer = ask({"req_key": req_key, "image_urls": [link], "model_quality": "MQ"})
    [text] = answer["data"]["binary_data_base64"]
    assert base64.b64decode(text).startswith(b"\x89PNG"), answer
print("pictures enlarged within the answer")

task = visual.cv_sync2async_submit_task({"req_key": "jimeng_t2i_v30", "prompt": "a fox & a hare, 50% each"})
[text] = wait("jimeng_t2i_v30", task["data"]["task_id"])["binary_data_base64"]
assert base64.b64decode(text).startswith(b"\x89PNG")
print("a picture within the answer")

task = visual.cv_sync2async_submit_task(
    {
        "req_key": "jimeng_i2v_first_v30",
        "prompt": "it runs",
        "binary_data_base64": [base64.b64encode(picture).decode()],
        "frames": 121,
    }
)
video = fetch(wait("jimeng_i2v_first_v30", task["data"]["task_id"])["video_url"])
assert video[4:8] == b"ftyp"
print("a video of a picture")

assert visual.cv_sync2async_get_result({"req_key": "jimeng_t2i_v30", "task_id": "1"})["data"]["status"] == "not_found"
refused(lambda: visual.cv_sync2async_submit_task({"req_key": "nothing", "prompt": "a fox"}), '"code":50215')

asked = {"req_key": "jimeng_t2i_v30", "prompt": "a fox"}
visual.set_sk("wrong")
refused(lambda: visual.cv_sync2async_submit_task(asked), "SignatureDoesNotMatch")
visual.set_ak("AKLTwrong")
error = refused(lambda: visual.cv_sync2async_submit_task(asked), "InvalidAccessKey")
print(f"wrong keys: {error}")
