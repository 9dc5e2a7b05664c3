"""Google: what its tests have in common."""

from __future__ import annotations

from typing import Any

from genpulse.providers.base import ModelCall, Output
from genpulse.providers.google import Google
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, Operation
from tests.clouds import Calls, Files, World, operations_of

call = Calls("google", prompt="a fox")
ALL = operations_of(call.specs.values())
PICTURE, VIDEO, VEO, IMAGEN = "gemini-3-pro-image", "gemini-omni-1.2-flash", "veo-3.1", "imagen-4"
KEY = {"x-goog-api-key": "AIza-sim-key"}
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "rain",
    "aspect_ratio": "9:16",
    "resolution": "1080p",
    "duration": 8.0,
    "count": 2,
    "seed": 7,
}
#: What a file that came out begins with.
STARTS = {"image": (b"\x89PNG", b"\xff\xd8\xff"), "video": (b"ftyp",)}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    given = {name: VALUES[name] for name in fields if name not in MEDIA_FIELDS}
    if "resolution" in given and "1080p" not in fields["resolution"].enum:
        given["resolution"] = fields["resolution"].enum[-1]
    return call(spec.name, operation, media, **given)


async def bytes_of(world: World[Google], output: Output) -> bytes:
    if output.content is not None:
        return output.content
    assert output.url is not None
    answer = await world.http.get(output.url, headers=dict(output.headers))
    assert answer.status_code == 200, answer.text
    return answer.content


EXPRESS = "publishers/google/models/veo-3.1-generate-001"
NAME = f"projects/p/locations/us-central1/{EXPRESS}"
