# requires: appbuilder-sdk==1.1.5
"""AppBuilder's SDK paints: it submits, waits for the progress to be whole, and takes the links."""

import os
import sys
import urllib.request

import appbuilder
from appbuilder.core._exception import AppBuilderServerException

KEY = "bce-v3/ALTAK-sim/0123456789abcdef0123456789abcdef01234567"
os.environ["GATEWAY_URL"] = f"{sys.argv[1]}/baidu"
os.environ["APPBUILDER_TOKEN"] = KEY


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


painter = appbuilder.Text2Image()
painted = painter.run(appbuilder.Message({"prompt": "一只狐狸"}), width=1280, height=720, image_num=2)
links = painted.content["img_urls"]
assert len(links) == 2, links
assert all(fetch(link).startswith(b"\xff\xd8") for link in links)
print("two pictures")

request = appbuilder.core.components.text_to_image.model.Text2ImageSubmitRequest(prompt="x" * 201)
told = painter.submitText2ImageTask(request)
assert told.error_code == 282004 and told.error_msg, told
print(f"refused: {told.error_code} {told.error_msg}")

stranger = appbuilder.Text2Image(secret_key="wrong")
request = appbuilder.core.components.text_to_image.model.Text2ImageSubmitRequest(prompt="一只狐狸")
try:
    told = stranger.submitText2ImageTask(request)
    assert told.error_code == 14, told
except AppBuilderServerException as error:
    print(error)
print("a wrong key")
