# requires: replicate==1.0.7
"""Replicate's client runs models and versions, follows, cancels, lists, uploads, is called back and is refused."""

import io
import json
import queue
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.webhook import InvalidSignatureError, Webhooks

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


class Receiver(BaseHTTPRequestHandler):
    """Takes callbacks."""

    calls = queue.Queue()

    def do_POST(self):
        self.calls.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


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

receiver = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
prediction = client.predictions.create(
    model=MODEL,
    input={"prompt": "a fox"},
    webhook=f"http://127.0.0.1:{receiver.server_port}/",
    webhook_events_filter=["completed"],
)
headers, body = Receiver.calls.get(timeout=30)
told = json.loads(body)
assert (told["id"], told["status"]) == (prediction.id, "succeeded"), told
secret = client.webhooks.default.secret()
Webhooks.validate(headers=headers, body=body, secret=secret, tolerance=60)
try:
    Webhooks.validate(headers=headers, body=body.replace("succeeded", "failed"), secret=secret)
except InvalidSignatureError:
    print("a callback whose signature holds, and holds no longer for another body")
else:
    raise AssertionError("the signature is good for anything")

error = refused(lambda: client.run(MODEL, input={"prompt": "a fox", "num_outputs": 9}), 422)
assert "num_outputs" in error.detail
error = refused(lambda: Client(api_token="wrong", base_url=URL).run(MODEL, input={"prompt": "a fox"}), 401)
print(f"a wrong key: {error.detail}")
