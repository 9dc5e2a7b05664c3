"""AI painting: pictures from text, as tasks, in flavours that differ in their words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genpulse.errors import ContentBlocked, JobMissing, ProviderRejected
from genpulse.providers.baidu.errors import platform_failure
from genpulse.providers.baidu.model import size, wire_of
from genpulse.providers.baidu.platform import Platform, Read
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.options import joined

_BASIC, _ADVANCED = "/rpc/2.0/wenxin/v1/basic", "/rpc/2.0/ernievilg/v1"
_SIDE = 1024
_DONE, _PASSED = 1, "pass"


class BasicRequest(BaseModel):
    text: str
    resolution: str
    num: int | None = None


class Request(BaseModel):
    prompt: str
    width: int
    height: int
    image_num: int | None = None
    image: str | None = None
    url: str | None = None


class _Answer(BaseModel):
    """Ids are written as texts or as numbers."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class _BasicId(_Answer):
    task_id: str = Field(min_length=1, alias="taskId")


class _Id(_Answer):
    task_id: str = Field(min_length=1)


class _BasicSubmitted(BaseModel):
    data: _BasicId


class _Submitted(BaseModel):
    data: _Id


class _BasicPicture(BaseModel):
    image: str | None = None


class _BasicTask(BaseModel):
    status: int
    img: str | None = None
    img_urls: list[_BasicPicture] | None = Field(None, alias="imgUrls")


class _BasicQueried(BaseModel):
    data: _BasicTask


class _Picture(BaseModel):
    img_url: str | None = None
    width: int | None = None
    height: int | None = None
    img_approve_conclusion: str = _PASSED


class _Part(BaseModel):
    sub_task_error_code: int = 0
    final_image_list: list[_Picture] | None = None


class _Task(BaseModel):
    task_status: str
    task_progress_detail: float | None = None
    sub_task_result_list: list[_Part] | None = None


class _Queried(BaseModel):
    data: _Task


class Painting:
    """Has neither keys nor a list: a call whose answer was lost stays unknown."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def submit(self, call: ModelCall) -> Job:
        path = wire_of(call).path
        where = f"{path}/{'txt2imgv2' if path == _ADVANCED else 'textToImage'}"
        request: BaseModel = _basic_request(call) if path == _BASIC else _request(call)
        body = joined(request.model_dump(exclude_none=True), call.options)
        if path == _BASIC:
            return Job(id=(await self._platform.pay(where, _BasicSubmitted, json=body)).data.task_id)
        return Job(id=(await self._platform.pay(where, _Submitted, json=body)).data.task_id)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        path = wire_of(call).path
        where = f"{path}/{'getImgv2' if path == _ADVANCED else 'getImg'}"
        if path == _BASIC:
            return _basic_state((await self._asked(where, _BasicQueried, {"taskId": job.id})).data)
        return _state((await self._asked(where, _Queried, {"task_id": job.id})).data)

    async def _asked(self, where: str, into: type[Read], body: dict[str, str]) -> Read:
        try:
            return await self._platform.ask(where, into, json=body)
        except ProviderRejected as error:  # nothing is sent but the id
            raise JobMissing(error.message) from error


def _basic_request(call: ModelCall) -> BasicRequest:
    return BasicRequest(
        text=call.input["prompt"],
        resolution=size(call, "*") or f"{_SIDE}*{_SIDE}",
        num=call.input.get("count"),
    )


def _request(call: ModelCall) -> Request:
    given, file = call.input, call.one("image")
    return Request(
        prompt=given["prompt"],
        width=given.get("width", _SIDE),
        height=given.get("height", _SIDE),
        image_num=given.get("count"),
        image=file.base64() if file and not file.url else None,
        url=file.url if file else None,
    )


def _basic_state(task: _BasicTask) -> Pending | Finished:
    if task.status != _DONE:
        return Pending()
    links = [one.image for one in task.img_urls or () if one.image] or ([task.img] if task.img else [])
    return Finished(outputs=[Output(url=link) for link in links])


def _state(task: _Task) -> Pending | Finished:
    """What was refused is left out; when that is all, it was refused."""
    parts = task.sub_task_result_list or []
    if task.task_status == "FAILED":
        raise platform_failure(next((part.sub_task_error_code for part in parts if part.sub_task_error_code), 0))
    if task.task_status != "SUCCESS":
        return Pending(fraction=task.task_progress_detail or None)
    pictures = [one for part in parts for one in part.final_image_list or () if one.img_url]
    passed = [one for one in pictures if one.img_approve_conclusion == _PASSED]
    if pictures and not passed:
        raise ContentBlocked("baidu: no picture was let through.")
    told: dict[str, Any] = {"width": passed[0].width, "height": passed[0].height} if passed else {}
    return Finished(
        outputs=[Output(url=one.img_url) for one in passed],
        parameters={name: value for name, value in told.items() if value},
    )
