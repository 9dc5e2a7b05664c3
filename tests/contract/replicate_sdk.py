# requires: replicate==1.0.7
"""Replicate's client runs models and versions, follows, cancels, lists, uploads and is refused."""

import io
import sys
import urllib.request

from replicate.client import Client
from replicate.exceptions import ReplicateError

URL = f"{sys.argv[1]}/replicate"
KEY = "r8_sim-key"
MODEL = "black-forest-labs/flux-schnell"
VERSION = "0123456789abcdef" * 4


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(action, status):
    try:
        action()
    except ReplicateError as error:
        assert error.status == status, error
        return error
    raise AssertionError("it was accepted")


client = Client(api_token=KEY, base_url=URL)

links = client.run(MODEL, input={"prompt": "a fox", "num_outputs": 2, "output_format": "png"})
assert len(links) == 2, links
for link in links:  # not the client's file objects: those are for https
    assert fetch(link).startswith(b"\x89PNG")
print("two pictures of a model")

[link] = client.run(f"sim/model:{VERSION}", input={"prompt": "a fox"}, wait=False)
assert fetch(link)[8:12] == b"WEBP"
print("a picture of a version")

prediction = client.predictions.create(model="kwaivgi/kling-v2.1", input={"prompt": "a fox runs", "duration": 5})
assert prediction.status == "starting", prediction
prediction.wait()
assert prediction.status == "succeeded" and fetch(prediction.output)[4:8] == b"ftyp", prediction
print(f"a video after {prediction.metrics['predict_time']} s")

prediction = client.deployments.predictions.create(("sim", "mine"), input={"prompt": "never mind"})
prediction.cancel()
prediction.reload()
assert prediction.status == "canceled", prediction
print("a prediction cancelled")

listed = client.predictions.list().results
assert [one.status for one in listed[:4]] == ["canceled", "succeeded", "succeeded", "succeeded"], listed
assert client.predictions.get(listed[0].id).id == prediction.id
print(f"{len(listed)} predictions listed")

file = client.files.create(io.BytesIO(b"a fox"))
assert client.files.get(file.id).checksums["sha256"] == file.checksums["sha256"]
assert client.files.delete(file.id)
assert refused(lambda: client.files.get(file.id), 404)
print("a file uploaded and deleted")

assert client.accounts.current().username == "sim"
assert client.webhooks.default.secret().key.startswith("whsec_")

error = refused(lambda: client.run(MODEL, input={"prompt": "a fox", "num_outputs": 9}), 422)
assert "num_outputs" in error.detail
error = refused(lambda: Client(api_token="wrong", base_url=URL).run(MODEL, input={"prompt": "a fox"}), 401)
print(f"a wrong key: {error.detail}")
