"""Tencent Cloud: what its tests have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from genpulse.providers.base import Credentials, ModelCall
from genpulse.providers.tencent import Tencent
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, Operation
from tests.clouds import Calls, Files, operations_of

call = Calls("tencent")
SPECS = call.specs
ALL = operations_of(spec for spec in SPECS.values() if not spec.retires_at)
TEXT, PICTURE = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "a hen",
    "width": 720,
    "height": 1280,
    "count": 2,
    "seed": 7,
    "guidance": 0.5,
    "scale": 4,
}
#: One of each interface.
VOD, VOD_PICTURE, JOB, HUB, HUB_TASK = "kling-3.0", "kling-image-3.0", "vclm-kling-3.0", "hy-video-1.5", "yt-video-2.0"
PRO, HUB_PICTURE_TASK, MPS = "text-to-image-pro", "hy-image-3.0-task", "mps-upscale"
SYNC = ["refine-image", "enhance-image", "hy-image-3.0", "ci-super-resolution"]
TASKS = [VOD, VOD_PICTURE, JOB, PRO, HUB, HUB_TASK, HUB_PICTURE_TASK, MPS]


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    sized = "width" in fields
    if sized:
        fields = {name: field for name, field in fields.items() if name not in ("aspect_ratio", "resolution")}
    rules = spec.operations[operation].images
    media = {
        name: [files[MEDIA_FIELDS[name]]]
        for name, field in fields.items()
        if name in MEDIA_FIELDS and field.type != "boolean"
    }
    for name in media:
        if name in rules and rules[name].by_url_only:
            media[name] = [replace(media[name][0], url="https://files.example/input.png")]
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if field.type == "boolean":
            given[name] = "last_image" not in fields
        elif name not in media:
            given[name] = field.enum[-1] if field.enum else VALUES.get(name, field.maximum)
    if "last_image" in media and "duration" in given:
        given["duration"] = float(min(given["duration"], spec.wire_of(operation).get("most_with_last", 60)))
    return call(spec.name, operation, media, **given)


def least(model: str, files: Files, **more: Any) -> ModelCall:
    operation = next(iter(SPECS[model].operations))
    asked = filled(SPECS[model], operation, files, every=False)
    return replace(call(model, operation, **more), media=asked.media, input=asked.input)


def answering(status: int, body: object) -> Tencent:
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body))
    return account(transport)


def account(transport: httpx.AsyncBaseTransport, base_url: str = "http://sim", **more: Any) -> Tencent:
    given: dict[str, Any] = {"api_key": "x", "access_key": "x", "secret_key": "x", "options": {"bucket": "x-1"}} | more
    return Tencent(base_url, Credentials(**given), httpx.AsyncClient(transport=transport))


def api_error(code: str) -> dict[str, Any]:
    return {"Response": {"Error": {"Code": code, "Message": "no"}, "RequestId": "1"}}
