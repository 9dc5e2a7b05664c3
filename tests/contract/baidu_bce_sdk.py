# requires: bce-python-sdk==0.9.79 qianfan==0.4.12.3
"""Signed as the SDKs sign: VOD's tasks, and short-lived keys of Qianfan, which are good for pictures."""

import json
import os
import sys
import time
import urllib.request

from baidubce.auth.bce_credentials import BceCredentials
from baidubce.bce_base_client import BceBaseClient
from baidubce.bce_client_configuration import BceClientConfiguration
from baidubce.exception import BceHttpClientError
from baidubce.http import http_methods
from baidubce.retry.retry_policy import NoRetryPolicy
from qianfan.resources.console.iam import IAM

ADDRESS = sys.argv[1]
URL = f"{ADDRESS}/baidu"
os.environ["QIANFAN_IAM_BASE_URL"] = URL
os.environ["QIANFAN_BASE_URL"] = os.environ["QIANFAN_CONSOLE_API_BASE_URL"] = URL
os.environ["QIANFAN_ACCESS_KEY"], os.environ["QIANFAN_SECRET_KEY"] = "ALTAKsim", "sim-baidu-secret"


class Vod(BceBaseClient):
    """The SDK has clients for other services, and looks into the name of their modules."""

    __module__ = "baidubce.services.vod"


def client(secret="sim-baidu-secret"):
    configuration = BceClientConfiguration(BceCredentials("ALTAKsim", secret), ADDRESS.encode())
    configuration.retry_policy = NoRetryPolicy()
    return Vod(configuration)


def sent(method, path, body=None, by=None):
    text = json.dumps(body) if body is not None else None
    headers = {b"Content-Type": b"application/json"} if body is not None else None
    return (by or client())._send_request(method, f"/baidu{path}".encode(), headers=headers, body=text)


def refused(status, code, action):
    try:
        action()
    except BceHttpClientError as error:
        said = error.last_error
        assert (said.status_code, said.code) == (status, code) and said.request_id, said
        print(f"refused: {status} {code}")
        return
    raise AssertionError(f"it was accepted: {code} was expected")


def fetch(url, **more):
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=60) as answer:
        return answer.read()


def done(task_id):
    for _ in range(200):
        task = sent(http_methods.GET, f"/v2/tasks/{task_id}")
        if task.status == "FINISHED":
            return task.video_generate_task_info
        time.sleep(0.1)
    raise AssertionError("never ended")


body = {"model": "VQ2", "modelVQ2TaskInput": {"prompt": "a fox", "duration": 4, "resolution": "720p"}}
info = done(sent(http_methods.POST, "/v2/aigc/text_to_video", body).task_id)
assert info.status == "SUCCESS", info
assert fetch(info.video_generate_task_output.media_basic_infos[0].source.source_url)[4:8] == b"ftyp"
image = {"image": {"imageUrl": "https://files.example/fox.png"}, "prompt": "it runs"}
done(sent(http_methods.POST, "/v2/aigc/image_to_video", {"model": "K26", "modelK26TaskInput": image}).task_id)
print("two videos")

refused(404, "NoSuchTask", lambda: sent(http_methods.GET, "/v2/tasks/tsk-none"))
refused(400, "InappropriateJSON", lambda: sent(http_methods.POST, "/v2/aigc/text_to_video", {"model": "VQ2"}))
refused(400, "SignatureDoesNotMatch", lambda: sent(http_methods.GET, "/v2/tasks/1", by=client("wrong")))

made = IAM.create_bearer_token(expire_in_seconds=600).body
assert made["status"] == "enable" and made["expireTime"] > made["createTime"], made
headers = {"Authorization": f"Bearer {made['token']}", "Content-Type": "application/json"}
asked = json.dumps({"model": "qwen-image", "prompt": "a fox"}).encode()
drawn = json.loads(fetch(f"{URL}/v2/images/generations", data=asked, headers=headers))
assert fetch(drawn["data"][0]["url"]).startswith(b"\x89PNG")
print("a short-lived key is good for a picture")
