# requires: openai==3.54.0
"""OpenAI's SDK makes pictures, edits one with a mask, reads a stream, lists models, and is refused."""

import base64
import struct
import sys
import zlib

import openai

BASE = f"{sys.argv[1]}/openai/v1"
client = openai.OpenAI(api_key="sk-sim-openai-key", base_url=BASE, max_retries=0)


def bytes_of(answer):
    return [base64.b64decode(one.b64_json) for one in answer.data]


def mask_for(picture):
    """A PNG of the picture's size that is transparent everywhere."""
    width, height = struct.unpack(">II", picture[16:24])

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = (b"\0" + b"\0\0\0\0" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


made = client.images.generate(
    model="gpt-image-2", prompt="a fox", n=2, size="1536x1024", quality="low", output_format="png"
)
pictures = bytes_of(made)
assert len(pictures) == 2 and all(picture.startswith(b"\x89PNG") for picture in pictures)
assert (made.size, made.quality, made.usage.total_tokens) == ("1536x1024", "low", 100)
assert made._request_id.startswith("req_")
print("two pictures")

edited = client.images.edit(
    model="gpt-image-1.5",
    prompt="in winter",
    image=("fox.png", pictures[0], "image/png"),
    mask=("mask.png", mask_for(pictures[0]), "image/png"),
    input_fidelity="high",
    output_format="jpeg",
    output_compression=80,
)
assert bytes_of(edited)[0].startswith(b"\xff\xd8\xff")
print("an edit with a mask")

several = client.images.edit(
    model="gpt-image-2.6-flare",
    prompt="both of them",
    image=[("one.png", pictures[0], "image/png"), ("two.png", pictures[1], "image/png")],
)
assert len(bytes_of(several)) == 1
print("a picture of two")

events = list(client.images.generate(model="gpt-image-2", prompt="a fox", stream=True, partial_images=2))
assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
assert base64.b64decode(events[-1].b64_json).startswith(b"\x89PNG")
print("a stream of three")

assert "gpt-image-2" in {model.id for model in client.models.list()}
print("models listed")

for model, size, expected, code in (
    ("gpt-image-1", "1024x1024", openai.NotFoundError, "model_not_found"),
    ("gpt-image-1.5", "1280x1024", openai.BadRequestError, "invalid_value"),
):
    try:
        client.images.generate(model=model, prompt="a fox", size=size)
    except expected as error:
        assert error.code == code, error
    else:
        raise AssertionError(f"{model} was taken")
print("a retired model and a wrong size refused")

stranger = openai.OpenAI(api_key="wrong", base_url=BASE, max_retries=0)
try:
    stranger.images.generate(model="gpt-image-2", prompt="a fox")
except openai.AuthenticationError as error:
    assert error.code == "invalid_api_key", error
else:
    raise AssertionError("a wrong key was taken")
print("a wrong key refused")
