# requires: blackforest==0.1.3
"""Black Forest Labs' library submits, waits at the address that it is given, and is refused."""

import base64
import io
import sys
import urllib.request

from blackforest import BFLClient
from blackforest.client import BFLError
from blackforest.types.general.client_config import ClientConfig
from PIL import Image

URL = f"{sys.argv[1]}/bfl/"


def client(key="sim-bfl-key"):
    made = BFLClient(api_key=key)
    made.base_url = URL  # given to the constructor, it would lose its path
    return made


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return Image.open(io.BytesIO(answer.read()))


def refused(action):
    try:
        action()
    except BFLError as error:
        return error
    raise AssertionError("it was accepted")


bfl, waiting = client(), ClientConfig(sync=True, timeout=30, polling_interval=0.2)

done = bfl.generate("flux-pro-1.1", {"prompt": "a fox", "width": 512, "height": 256, "seed": 7}, waiting).result
picture = fetch(done["sample"])
assert picture.format == "JPEG" and picture.width == 2 * picture.height and done["seed"] == 7, done
print(f"a picture of {picture.size}")

task = bfl.generate("flux-pro-1.1-ultra", {"prompt": "a fox", "aspect_ratio": "21:9"})
assert bfl.get_task_status(task.id).status == "Pending"
assert fetch(bfl.get_polling_result(task.id, waiting)["sample"]).format == "JPEG"
print(f"a task, asked for at {task.polling_url.removeprefix(URL)}")

drawn = io.BytesIO()
Image.new("RGB", (320, 256), "teal").save(drawn, "PNG")
image = base64.b64encode(drawn.getvalue()).decode()
for model, inputs in {
    "flux-dev": {"prompt": "a fox", "image_prompt": image, "steps": 20, "guidance": 3},
    "flux-kontext-pro": {"prompt": "make it red", "input_image": image, "aspect_ratio": "1:1"},
    "flux-pro-1.0-fill": {"prompt": "a fox", "image": image, "mask": image},
    "flux-pro-1.0-expand": {"image": image, "top": 64, "steps": 15},
}.items():
    made = fetch(bfl.generate(model, inputs, waiting).result["sample"])
    assert made.format == ("PNG" if "kontext" in model else "JPEG"), (model, made.format)
    print(f"{model}: {made.size}")

error = refused(lambda: client("wrong").generate("flux-dev", {"prompt": "a fox"}))
assert "403" in str(error), error
print(f"a wrong key: {error}")
