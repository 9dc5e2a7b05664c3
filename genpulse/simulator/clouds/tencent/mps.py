"""MPS: pictures in the bucket are enlarged as tasks."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.tencent.bodies import Body, need
from genpulse.simulator.clouds.tencent.bucket import Bucket
from genpulse.simulator.clouds.tencent.signature import api_error
from genpulse.simulator.core import Cloud
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Media
from genpulse.simulator.wire import Call

_STATUS = {State.QUEUED: "WAITING", State.RUNNING: "PROCESSING"}
_LONGEST = 4096


class _Object(Body):
    bucket: str | None = None
    region: str | None = None
    object: str | None = None


class _Url(Body):
    url: str = Field(pattern=r"^https?://")


class _Input(Body):
    type: Literal["COS", "URL"]
    cos_input_info: _Object | None = None
    url_input_info: _Url | None = None

    @model_validator(mode="after")
    def _own_member(self) -> Self:
        need(self.cos_input_info if self.type == "COS" else self.url_input_info, "InputInfo is not complete")
        return self


class _Storage(Body):
    type: Literal["COS"]
    cos_output_storage: _Object


class _Plain(Body):
    switch: Literal["ON", "OFF"] = "ON"
    type: Literal["lq", "hq"] = "lq"
    size: Literal[2] = 2


class _Advanced(Body):
    switch: Literal["ON", "OFF"] = "ON"
    type: Literal["standard", "super", "ultra"] = "standard"
    mode: Literal["percent", "aspect", "fixed"] = "percent"
    percent: float | None = Field(None, gt=0)
    width: int | None = Field(None, le=_LONGEST)
    height: int | None = Field(None, le=_LONGEST)
    long_side: int | None = Field(None, le=_LONGEST)
    short_side: int | None = Field(None, le=_LONGEST)


class _Enhancement(Body):
    super_resolution: _Plain | None = None
    advanced_super_resolution_config: _Advanced | None = None
    denoise: dict[str, Any] | None = None
    image_quality_enhance: dict[str, Any] | None = None
    face_enhance: dict[str, Any] | None = None

    @property
    def factor(self) -> float:
        advanced = self.advanced_super_resolution_config
        return (advanced.percent or 2) if advanced else self.super_resolution.size if self.super_resolution else 1


class _Task(Body):
    enhance_config: _Enhancement


class ProcessImage(Body):
    input_info: _Input
    output_storage: _Storage | None = None
    output_dir: str | None = None
    output_path: str | None = None
    image_task: _Task

    @model_validator(mode="after")
    def _somewhere_to_put_it(self) -> Self:
        need(self.input_info.type == "COS" or self.output_storage, "OutputStorage is required")
        return self


class _Query(Body):
    task_id: str


class Mps:
    """Reads from the bucket; what it has made is behind a signed link."""

    def __init__(self, cloud: Cloud, bucket: Bucket) -> None:
        self._cloud = cloud
        self._bucket = bucket

    def actions(self) -> dict[str, Callable[[Call], Awaitable[Response]]]:
        return {"ProcessImage": self.process, "DescribeImageTaskDetail": self.describe}

    async def process(self, call: Call) -> Response:
        asked = call.read(ProcessImage)
        source = asked.input_info.cos_input_info
        picture = self._bucket.picture((source.object or "").lstrip("/")) if source else None
        if source and picture is None:
            raise api_error("InvalidParameterValue.InputInfo", "The object does not exist, or is not a picture.")
        form, width, height = picture or self._bucket.unseen
        factor = asked.image_task.enhance_config.factor
        job = self._cloud.create(
            call,
            id=f"{secrets.randbelow(10**10)}-ImageTask-{secrets.token_hex(16)}",
            media=[Media(form, round(width * factor), round(height * factor))],
            model="ProcessImage",
            body=asked.model_dump(by_alias=True, exclude_unset=True),
        )
        return _told({"TaskId": job.id})

    async def describe(self, call: Call) -> Response:
        job = self._cloud.job(call, call.read(_Query).task_id)
        if job.model != "ProcessImage":
            raise self._cloud.not_found(call)
        state = job.poll()
        told = {"TaskType": "WorkflowTask", "Status": _STATUS.get(state, "FINISH"), "ErrCode": 0, "ErrMsg": ""}
        return _told(told | {"Message": "", "ImageProcessTaskResultSet": [_result(job, state)]})


def _result(job: Job, state: State) -> dict[str, Any]:
    """Of a task that has failed only this says so."""
    told: dict[str, Any] = {"Status": "PROCESSING", "ErrMsg": "", "Message": "", "Progress": 0, "Output": None}
    if state is State.FAILED:
        code = "InvalidParameter.ViolationContent" if job.failure is Failure.CONTENT else "InternalError"
        return told | {"Status": "FAIL", "ErrMsg": code, "Message": "The task failed."}
    if state is State.SUCCEEDED:
        links = [{"Path": f"/genpulse/made/{file.name}", "SignedUrl": file.url} for file in job.files]
        return told | {"Status": "SUCCESS", "Progress": 100, "Output": links[0] if links else None}
    return told | ({"Progress": 50} if state is State.RUNNING else {})


def _told(body: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"Response": body | {"RequestId": str(uuid.uuid4())}})
