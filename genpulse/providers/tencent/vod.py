"""VOD AIGC: videos and pictures of many vendors' models, and the one product that refuses to make a call twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import Field

from genpulse.errors import (
    InvalidInput,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderRejected,
)
from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.tencent.api3 import Api, Pascal
from genpulse.providers.tencent.errors import failure
from genpulse.providers.tencent.model import ModelWire, Product, duration, resolution, wire_of, with_options

_LONGEST_SESSION = 50
_MOST_BYTES = 7 * 2**20  # of all files that are sent along
_PAGE, _MOST_PAGES = 100, 10
_DUPLICATE = "FailedOperation.TaskDuplicate"
_USAGE = {
    "image": "FirstFrame",
    "last_image": "LastFrame",
    "reference_images": "Reference",
    "mask": "Reference",
    "video": "Reference",
    "audio": "Reference",
}
_OURS = frozenset({"SessionId", "SubAppId"})
_SWITCH = {True: "Enabled", False: "Disabled"}


class InputFile(Pascal):
    """A file of a call, by its address or as it is."""

    type: str
    category: str | None = None
    url: str | None = None
    base64: str | None = None
    usage: str | None = None
    reference_type: str | None = None


class OutputConfig(Pascal):
    storage_mode: str = "Temporary"
    duration: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    audio_generation: str | None = None
    output_image_count: int | None = None


class TaskRequest(Pascal):
    """Of a video or a picture."""

    model_name: str
    model_version: str
    scene_type: str | None = None
    file_infos: list[InputFile] | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    output_config: OutputConfig
    seed: int | None = None
    session_id: str
    ext_info: str | None = None


class _Created(Pascal):
    task_id: str = Field(min_length=1)


class _Facts(Pascal):
    width: int | None = None
    height: int | None = None
    duration: float | None = None


class _File(Pascal):
    file_url: str | None = None
    meta_data: _Facts | None = None


class _Usage(Pascal):
    output_seconds: float | None = None
    input_seconds: float | None = None
    total_seconds: float | None = None
    input_image_count: float | None = None
    input_tokens: float | None = None
    thought_tokens: float | None = None


class _Made(Pascal):
    file_infos: list[_File] | None = None
    usage: _Usage | None = None


class _Task(Pascal):
    status: str = ""
    err_code: int = 0
    err_code_ext: str | None = None
    message: str | None = None
    progress: float | None = None
    output: _Made | None = None


class _Detail(Pascal):
    status: str
    aigc_video_task: _Task | None = None
    aigc_image_task: _Task | None = None


class _Simple(Pascal):
    task_id: str
    session_id: str | None = None


class _Tasks(Pascal):
    task_set: list[_Simple] = Field(default_factory=list)
    scroll_token: str | None = None


class Vod:
    """A call goes under a `SessionId`: the second request with one is refused, and the first is looked up then."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, keys: tuple[str, str], sub_app: str | None) -> None:
        self._api = Api(url, client, service="vod", version="2018-07-17", keys=keys)
        self._sub_app = sub_app

    async def submit(self, call: ModelCall) -> Job:
        wire = wire_of(call)
        action = "CreateAigcVideoTask" if wire.product is Product.VOD_VIDEO else "CreateAigcImageTask"
        body = self._account() | with_options(_request(call, wire).body() | wire.always, _options(call))
        try:
            return Job(id=(await self._api.pay(action, _Created, body)).task_id)
        except OutcomeUnknown as error:
            if error.details.get("error_code") != _DUPLICATE:
                raise
            found = await self._accepted(body["SessionId"])
            if found is None:
                raise
            return found

    async def poll(self, job: Job) -> Pending | Finished:
        try:
            found = await self._api.ask("DescribeTaskDetail", _Detail, self._account() | {"TaskId": job.id})
        except ProviderRejected as error:  # nothing is sent but the id
            raise JobMissing(error.message) from error
        task = found.aigc_video_task or found.aigc_image_task or _Task()
        if found.status == "ABORTED":
            raise ProviderFailed("tencent: the task was aborted.")
        if found.status != "FINISH":
            return Pending(fraction=task.progress / 100 if task.progress else None)
        if task.err_code or task.err_code_ext:
            raise failure(task.err_code_ext or str(task.err_code), task.message or "the task failed")
        return _finished(task.output or _Made())

    def _account(self) -> dict[str, Any]:
        if self._sub_app is None:
            return {}
        if not self._sub_app.isdecimal():
            raise ProviderAuthFailed("tencent: `sub_app_id` of GENPULSE_PROVIDERS__TENCENT__OPTIONS is a number.")
        return {"SubAppId": int(self._sub_app)}

    async def _accepted(self, session: str) -> Job | None:
        """The task of an earlier request with this `SessionId`, among the latest."""
        asked: dict[str, Any] = self._account() | {"Limit": _PAGE, "Sort": {"Field": "CreateTime", "Order": "Desc"}}
        for _ in range(_MOST_PAGES):
            page = await self._api.ask("DescribeTasks", _Tasks, asked)
            for task in page.task_set:
                if task.session_id == session:
                    return Job(id=task.task_id)
            if not page.scroll_token:
                return None
            asked["ScrollToken"] = page.scroll_token
        return None


def session_of(call: ModelCall) -> str:
    """The call's key, within the length that VOD allows."""
    key = call.key
    return key if len(key) <= _LONGEST_SESSION else hashlib.sha256(key.encode()).hexdigest()[:_LONGEST_SESSION]


def _options(call: ModelCall) -> Mapping[str, Any]:
    """Those of the caller, but for what a lost answer is settled by."""
    for name in _OURS & call.options.keys():
        raise InvalidInput(f"`{name}` is set by GenPulse; leave it out.", field=f"provider_options.{name}")
    return call.options


def _request(call: ModelCall, wire: ModelWire) -> TaskRequest:
    given = call.input
    return TaskRequest(
        model_name=wire.model,
        model_version=wire.version,
        scene_type=wire.scene or None,
        file_infos=_files(call, wire) or None,
        prompt=given.get("prompt"),
        negative_prompt=given.get("negative_prompt"),
        output_config=_output(call, wire),
        seed=given.get("seed"),
        session_id=session_of(call),
        ext_info=_size(call) if wire.exact_size and "width" in given else None,
    )


def _output(call: ModelCall, wire: ModelWire) -> OutputConfig:
    given = call.input
    sound = given.get("audio")
    return OutputConfig(
        duration=duration(call, wire),
        resolution=resolution(call, wire),
        aspect_ratio=given.get("aspect_ratio"),
        audio_generation=_SWITCH[sound] if isinstance(sound, bool) else None,
        output_image_count=given.get("count"),
    )


def _size(call: ModelCall) -> str:
    """JSON within JSON, as the cloud wants what only one model knows."""
    size = f"{call.input['width']}x{call.input['height']}"
    return json.dumps({"AdditionalParameters": json.dumps({"size": size})})


def _files(call: ModelCall, wire: ModelWire) -> list[InputFile]:
    files = [(name, file) for name in _USAGE for file in call.media.get(name, ())]
    if sum(file.path.stat().st_size for _, file in files if file.url is None) > _MOST_BYTES:
        raise InvalidInput("The files sent along have at most 7 MB together; make them smaller.", field=files[0][0])
    return [_file(file, name, wire) for name, file in files]


def _file(file: Media, name: str, wire: ModelWire) -> InputFile:
    """Of a picture's files neither category nor usage is told."""
    video = wire.product is Product.VOD_VIDEO
    return InputFile(
        type="Url" if file.url else "Base64",
        category=file.media_type.partition("/")[0].capitalize() if video else None,
        url=file.url,
        base64=None if file.url else file.base64(),
        usage=_USAGE[name] if video else None,
        reference_type="mask" if name == "mask" else wire.reference if name == "video" else None,
    )


def _finished(made: _Made) -> Finished:
    files = [one for one in made.file_infos or () if one.file_url]
    facts = next((one.meta_data for one in files if one.meta_data), None)
    told = facts.model_dump(exclude_none=True) if facts else {}
    return Finished(
        outputs=[Output(url=one.file_url) for one in files],
        parameters={name: value for name, value in told.items() if value},  # a picture lasts 0 seconds
        usage=made.usage.model_dump(exclude_none=True) if made.usage else {},
    )
