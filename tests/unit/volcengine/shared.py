"""Volcengine: what its tests have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from genpulse.providers.base import Credentials, Media, ModelCall
from genpulse.providers.volcengine import Volcengine
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, Operation
from tests.clouds import Calls, Files, always, operations_of

call_of = Calls("volcengine", prompt="a fox")
SPECS = call_of.specs
#: Flash is sold overseas alone.
LIVING = [spec for spec in SPECS.values() if spec.retires_at is None and spec.name != "seedream-5-flash"]
ALL = operations_of(LIVING)
FULL = Credentials(api_key="sim-ark-key", access_key="AKLTsim", secret_key="sim-volcengine-secret")
BASE = "http://sim/volcengine/api/v3"
BEARER = {"Authorization": "Bearer sim-ark-key"}
TASKS = f"{BASE}/contents/generations/tasks"
IMAGES = f"{BASE}/images/generations"
SEEDREAM, SEEDANCE, JIMENG, LENS = "seedream-4", "seedance-2", "jimeng-4", "lens-upscale"
VALUES = {
    "prompt": "a fox",
    "width": 2048,
    "height": 2048,
    "count": 1,
    "seed": 7,
    "guidance": 2.5,
    "duration": 5.0,
    "resolution": "720p",
    "aspect_ratio": "9:16",
    "audio": True,
}


def full_call(spec: ModelSpec, operation: Operation, files: Files) -> ModelCall:
    """Every field that the catalogue lists."""
    fields = spec.operations[operation].fields
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS and name != "audio"}
    given = {name: VALUES[name] for name in fields if name in VALUES}
    if "width" in given:
        given = {name: value for name, value in given.items() if name not in ("aspect_ratio", "resolution")}
    if "resolution" in given and operation is Operation.IMAGE_UPSCALE:
        given["resolution"] = "8k"
    return ModelCall(model=spec.name, operation=operation, wire=spec.wire, input=given, media=media, key="gen_1-0-1")


def video(**fields: Any) -> ModelCall:
    return call_of(SEEDANCE, Operation.TEXT_TO_VIDEO, **fields)


def upscaling(image: Media, model: str, options: dict[str, Any]) -> ModelCall:
    spec = SPECS[model]
    return ModelCall(
        model=model,
        operation=Operation.IMAGE_UPSCALE,
        wire=spec.wire,
        input={},
        media={"image": [image]},
        options=options,
        key="gen_1-0-1",
    )


@asynccontextmanager
async def answering(status: int, body: object) -> AsyncIterator[Volcengine]:
    async with always(status, body) as client:
        yield Volcengine("http://cloud/api/v3", FULL, client)
