"""MPS: pictures that lie in a bucket are enlarged as tasks."""

from __future__ import annotations

import httpx
from pydantic import Field

from genpulse.errors import GenPulseError, JobMissing, OutcomeUnknown, ProviderRejected
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.tencent.api3 import Api, Pascal
from genpulse.providers.tencent.bucket import Bucket
from genpulse.providers.tencent.errors import failure
from genpulse.providers.tencent.model import needed, wire_of, with_options

_DONE, _MADE, _FAILED = "FINISH", "SUCCESS", "FAIL"
_OUTPUTS = "/genpulse/made/"
_USUAL_FACTOR = 2


class _Object(Pascal):
    bucket: str
    region: str
    object: str | None = None


class _Input(Pascal):
    type: str = "COS"
    cos_input_info: _Object


class _Storage(Pascal):
    type: str = "COS"
    cos_output_storage: _Object


class _Upscaler(Pascal):
    """Enlarges by a factor, which may be a fraction."""

    switch: str = "ON"
    type: str
    mode: str = "percent"
    percent: float


class _Enhancement(Pascal):
    advanced_super_resolution_config: _Upscaler


class _ImageTask(Pascal):
    enhance_config: _Enhancement


class ProcessRequest(Pascal):
    input_info: _Input
    output_storage: _Storage
    output_dir: str = _OUTPUTS
    image_task: _ImageTask


class _Submitted(Pascal):
    task_id: str = Field(min_length=1)


class _Output(Pascal):
    signed_url: str | None = None


class _Result(Pascal):
    status: str | None = None
    err_msg: str | None = None
    message: str | None = None
    progress: float | None = None
    output: _Output | None = None


class _Detail(Pascal):
    """The codes are in `ErrMsg`. A task that is finished may have failed in part or in whole."""

    status: str
    err_msg: str | None = None
    message: str | None = None
    image_process_task_result_set: list[_Result] | None = None

    def error(self) -> GenPulseError | None:
        for one in (self, *(self.image_process_task_result_set or ())):
            if one.err_msg or one.status == _FAILED:
                return failure(one.err_msg or "", one.message or "the task failed")
        return None


class Mps:
    """Has no keys for these tasks, and no list: a call whose answer was lost stays unknown."""

    def __init__(
        self, url: str, client: httpx.AsyncClient, *, keys: tuple[str, str], region: str, bucket: Bucket
    ) -> None:
        self._api = Api(url, client, service="mps", version="2019-06-12", keys=keys, region=region)
        self._bucket = bucket

    async def submit(self, call: ModelCall) -> Job:
        path = await self._bucket.put(call, needed(call, "image"))
        body = with_options(self._request(call, path).body(), call.options)
        try:
            sent = await self._api.pay("ProcessImage", _Submitted, body)
        except OutcomeUnknown:
            raise  # it may be read yet
        except GenPulseError:
            await self._bucket.drop(path)
            raise
        return Job(id=sent.task_id, handle={"path": path})

    async def poll(self, job: Job) -> Pending | Finished:
        try:
            found = await self._api.ask("DescribeImageTaskDetail", _Detail, {"TaskId": job.id})
        except ProviderRejected as error:  # nothing is sent but the id
            raise JobMissing(error.message) from error
        results = found.image_process_task_result_set or []
        if found.status != _DONE:
            told = next((one.progress for one in results if one.progress), None)
            return Pending(fraction=told / 100 if told else None)
        await self._bucket.drop(job.handle["path"])
        failed = found.error()
        if failed is not None:
            raise failed
        links = [one.output.signed_url for one in results if one.output and one.status == _MADE]
        return Finished(outputs=[Output(url=link) for link in links if link])

    def _request(self, call: ModelCall, path: str) -> ProcessRequest:
        place = self._bucket.place
        storage = _Object(bucket=place.name, region=place.region)
        upscaler = _Upscaler(type=wire_of(call).version, percent=call.input.get("scale", _USUAL_FACTOR))
        return ProcessRequest(
            input_info=_Input(cos_input_info=storage.model_copy(update={"object": path})),
            output_storage=_Storage(cos_output_storage=storage),
            image_task=_ImageTask(enhance_config=_Enhancement(advanced_super_resolution_config=upscaler)),
        )
