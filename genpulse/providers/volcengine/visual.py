"""Visual: Jimeng's images and videos, one pair of actions for all of them, told apart by `req_key`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

import httpx
from pydantic import Base64Bytes, BaseModel, Field, SecretStr

from genpulse.errors import InvalidInput, JobMissing, ProviderFailed
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending, merged
from genpulse.providers.signatures import SignedAuth, VolcengineSigner
from genpulse.providers.volcengine.errors import refused_by_visual
from genpulse.providers.volcengine.model import ModelWire
from genpulse.providers.wire import Wire
from genpulse.schemas.states import Operation

_VERSION = "2022-08-31"
_SUBMIT = {"Action": "CVSync2AsyncSubmitTask", "Version": _VERSION}
_GET_RESULT = {"Action": "CVSync2AsyncGetResult", "Version": _VERSION}
_RETURN_URL = {"return_url": True}
_PATIENCE = httpx.Timeout(180.0, connect=10.0, pool=10.0)  # some pictures are made within the answer
_FRAMES_PER_SECOND = 24


class SubmitRequest(BaseModel):
    """The fields that the `req_key`s share; what is not set is not sent."""

    req_key: str
    prompt: str | None = None
    image_urls: list[str] | None = None
    binary_data_base64: list[str] | None = None
    width: int | None = None
    height: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    frames: int | None = None
    seed: int | None = None
    force_single: bool | None = None


class ResultRequest(BaseModel):
    """`req_json` is JSON within a string; without `return_url` images come as base64."""

    req_key: str
    task_id: str
    req_json: str


class _TaskId(BaseModel):
    task_id: str = Field(min_length=1)


class _Submitted(BaseModel):
    data: _TaskId


class _Files(BaseModel):
    image_urls: list[str] | None = None
    binary_data_base64: list[Base64Bytes] | None = None
    video_url: str | None = None

    def outputs(self) -> list[Output]:
        links = [*(self.image_urls or ()), *([self.video_url] if self.video_url else [])]
        if links:
            return [Output(url=link) for link in links]
        return [Output(content=content) for content in self.binary_data_base64 or ()]


class _Made(BaseModel):
    data: _Files


class _Result(_Files):
    status: str


class _Answered(BaseModel):
    data: _Result


class Visual:
    """Has neither callbacks nor a list nor keys: a call whose answer was lost stays unknown."""

    default_url: ClassVar[str] = "https://visual.volcengineapi.com"

    def __init__(self, url: str, access_key: str, secret_key: str, client: httpx.AsyncClient) -> None:
        signer = VolcengineSigner(access_key=access_key, secret_key=SecretStr(secret_key))
        auth = SignedAuth(signer, partial(datetime.now, UTC))
        self._wire = Wire("volcengine", url, client, auth=auth, refuse=refused_by_visual)

    async def submit(self, call: ModelCall) -> Job:
        """The option `req_json` is for the results: a visible mark, and what is written into the file of its origin."""
        body = _body(call)
        of_results = _of_results(body.pop("req_json", {}))
        sent = await self._wire.pay("POST", "/", _Submitted, params=_SUBMIT, json=body)
        handle = {"req_key": body["req_key"], "req_json": of_results}
        return Job(id=sent.data.task_id, handle=handle)

    async def make(self, call: ModelCall) -> Finished:
        wire = ModelWire.model_validate(call.wire)
        params = {"Action": wire.action, "Version": _VERSION}
        body = merged(_RETURN_URL, _body(call))
        answer = await self._wire.pay("POST", "/", _Made, params=params, json=body, timeout=_PATIENCE)
        return Finished(outputs=answer.data.outputs())

    async def poll(self, job: Job) -> Pending | Finished:
        asked = ResultRequest(
            req_key=job.handle["req_key"], task_id=job.id, req_json=job.handle.get("req_json", _of_results({}))
        )
        answer = await self._wire.ask("POST", "/", _Answered, params=_GET_RESULT, json=asked.model_dump())
        match answer.data.status:
            case "done":
                return Finished(outputs=answer.data.outputs())
            case "not_found":
                raise JobMissing("volcengine does not know the task, or not any more.")
            case "expired":
                raise ProviderFailed("volcengine: the task has expired.", retryable=False)
        return Pending()


def _of_results(asked: Any) -> str:
    """JSON within a string, as Visual takes it; the option may be an object, too."""
    try:
        given = json.loads(asked) if isinstance(asked, str) else asked
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidInput("`req_json` is an object, or one as text.", field="provider_options.req_json")
    return json.dumps(merged(_RETURN_URL, given), separators=(",", ":"))


def _body(call: ModelCall) -> dict[str, Any]:
    wire, given = ModelWire.model_validate(call.wire), call.input
    request = SubmitRequest(
        req_key=_req_key(call, wire),
        prompt=given.get("prompt"),
        width=given.get("width"),
        height=given.get("height"),
        resolution=given.get("resolution"),
        aspect_ratio=given.get("aspect_ratio"),
        frames=int(given["duration"]) * _FRAMES_PER_SECOND + 1 if "duration" in given else None,
        seed=given.get("seed"),
        force_single=wire.one_output or None,
        **_images(call),
    )
    return merged(request.model_dump(exclude_none=True) | wire.always, call.options)


def _req_key(call: ModelCall, wire: ModelWire) -> str:
    if call.operation is Operation.IMAGE_TO_VIDEO and wire.last_image and call.media.get("last_image"):
        return wire.last_image
    return wire.req_keys[call.operation]


def _images(call: ModelCall) -> dict[str, list[str]]:
    """All as links where each has one, else all as they are: what comes first, in either list, is the first."""
    files = [file for name in ("image", "last_image", "reference_images", "mask") for file in call.media.get(name, ())]
    if not files:
        return {}
    links = [file.url for file in files if file.url]
    return {"image_urls": links} if len(links) == len(files) else {"binary_data_base64": [f.base64() for f in files]}
