"""Baidu Cloud: what its tests have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from genpulse.providers.baidu import Baidu
from genpulse.providers.base import Credentials, Job, ModelCall
from genpulse.schemas.catalog import ModelSpec, Size
from genpulse.schemas.states import MEDIA_FIELDS, Operation
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of

call = Calls("baidu")
SPECS = {name: spec for name, spec in call.specs.items() if spec.retires_at is None}
ALL = operations_of(SPECS.values())
TEXT, FRAMES = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO
#: One of each interface.
PICTURE, MUSE, K, OMNI, V = "qwen-image", "musesteamer-air-i2v", "k2.6", "ko1", "vq3-pro"
VOD = "vod-vq2"
LARGER, BASIC, ADVANCED, EXTREME = "image-quality-enhance", "painting-basic", "painting-advanced", "painting-extreme"
TASKS = [MUSE, K, OMNI, V, VOD, BASIC, ADVANCED, EXTREME]
AT_ONCE = [PICTURE, LARGER]
PICTURE_URL = "https://files.example/input.png"
VALUES: dict[str, Any] = {"prompt": "a fox", "negative_prompt": "a hen", "seed": 7, "count": 2, "scale": 2}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are, each at its most."""
    specified = spec.operations[operation]
    fields = {name: field for name, field in specified.fields.items() if field.required or every}
    kinds = ("image", "images", "video")
    media = {name: [files[MEDIA_FIELDS[name]]] for name, field in fields.items() if field.type in kinds}
    if spec.wire["product"] in ("vod", "omni"):
        media = {name: [replace(one, url=PICTURE_URL) for one in many] for name, many in media.items()}
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in media and name not in ("width", "height", "aspect_ratio", "resolution"):
            given[name] = True if field.type == "boolean" else VALUES.get(name, field.maximum)
    if specified.sizes and every:
        given["width"], given["height"] = (specified.sizes.sizes or (Size(2048, 512),))[-1]
    for name in ("aspect_ratio", "resolution"):
        if name in fields and not specified.sizes:
            given[name] = fields[name].enum[-1] if fields[name].enum else "720p"
    return call(spec.name, operation, media, **given, options={"option": 50} if spec.name == "denoise" else {})


def least(model: str, files: Files, operation: Operation | None = None) -> ModelCall:
    return filled(SPECS[model], operation or next(iter(SPECS[model].operations)), files, every=False)


def path_of(world: World[Baidu], kind: Kind = Kind.SUBMIT) -> str:
    return world.simulator.record.find(cloud="baidu", kind=kind)[-1].path.removeprefix("/baidu")


async def started(account: Baidu, asked: ModelCall) -> Job:
    job = await account.submit(asked)
    assert isinstance(job, Job)
    return job


def _client(answer: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Baidu:
    return Baidu("", Credentials(api_key="x", access_key="a", secret_key="s"), always(status, body, headers))
