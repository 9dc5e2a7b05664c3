# requires: openai==3.54.0
"""Ark's pictures by OpenAI's client, which leaves out what is not set, where Ark's own sends null."""

import base64
import sys
import urllib.request

from openai import AuthenticationError, BadRequestError, OpenAI

URL = f"{sys.argv[1]}/volcengine/api/v3"
KEY = "sim-ark-key"
MODEL = "doubao-seedream-4-0-250828"
JPEG = b"\xff\xd8\xff"


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(action, kind):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError("it was accepted")


client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)

made = client.images.generate(model=MODEL, prompt="a fox", size="2K", extra_body={"watermark": False})
assert fetch(made.data[0].url).startswith(JPEG) and made.created, made
print("a picture by address")

made = client.images.generate(model=MODEL, prompt="a fox", size="1024x1024", response_format="b64_json")
assert base64.b64decode(made.data[0].b64_json).startswith(JPEG)
assert made.usage.output_tokens == made.usage.total_tokens > 0, made.usage
print("a picture within the answer")

error = refused(lambda: client.images.generate(model=MODEL, prompt="a fox", size="8x8"), BadRequestError)
assert (error.code, error.param) == ("InvalidParameter", "size"), error
wrong_key = OpenAI(base_url=URL, api_key="wrong", max_retries=0)
error = refused(lambda: wrong_key.images.generate(model=MODEL, prompt="a fox"), AuthenticationError)
assert error.code == "AuthenticationError", error
print(f"a wrong key: {error}")
