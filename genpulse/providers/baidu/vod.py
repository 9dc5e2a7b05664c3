"""VOD AIGC: videos of many vendors' models, as signed tasks."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from genpulse.errors import ProviderFailed
from genpulse.providers.baidu.errors import refused_by_vod
from genpulse.providers.baidu.keys import Pair, signed
from genpulse.providers.baidu.model import address, seconds, wire_of
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire
from genpulse.schemas.states import Operation

_PATHS = {Operation.TEXT_TO_VIDEO: "/v2/aigc/text_to_video", Operation.IMAGE_TO_VIDEO: "/v2/aigc/image_to_video"}
_DONE = frozenset({"SUCCESS", "FINISHED"})


class _Camel(BaseModel):
    """Named as the cloud names: `taskId` on the wire is `task_id` here."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class _Link(_Camel):
    image_url: str


class TaskInput(_Camel):
    prompt: str | None = None
    image: _Link | None = None
    duration: int | None = None
    resolution: str | None = None


class _Created(_Camel):
    task_id: str = Field(min_length=1)


class _Source(_Camel):
    source_url: str | None = None


class _Frame(_Camel):
    width_in_pixel: int | None = None
    height_in_pixel: int | None = None


class _Facts(_Camel):
    duration_in_second: float | None = None
    video: _Frame | None = None


class _File(_Camel):
    source: _Source | None = None
    source_metadata: _Facts | None = None


class _Made(_Camel):
    media_basic_infos: list[_File] | None = None


class _Info(_Camel):
    status: str | None = None
    err_msg: str | None = None
    video_generate_task_output: _Made | None = None


class _Task(_Camel):
    """What was made, and whether it was, is told within; the outer status says no more than that it has ended."""

    status: str
    video_generate_task_info: _Info | None = None


class Vod:
    """Has neither keys nor a list that would tell calls apart: a call whose answer was lost stays unknown."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, keys: Pair) -> None:
        self._wire = Wire("baidu", url, client, auth=signed(keys), refuse=refused_by_vod)

    async def submit(self, call: ModelCall) -> Job:
        made = await self._wire.pay("POST", _PATHS[call.operation], _Created, json=_body(call))
        return Job(id=made.task_id)

    async def poll(self, job: Job) -> Pending | Finished:
        task = await self._wire.ask("GET", f"/v2/tasks/{job.id}", _Task)
        info = task.video_generate_task_info or _Info()
        status = (info.status or task.status).upper()
        if status == "FAILED":
            raise ProviderFailed(f"baidu: {info.err_msg or 'the task failed'}")
        return _finished(info.video_generate_task_output or _Made()) if status in _DONE else Pending()


def _body(call: ModelCall) -> dict[str, Any]:
    """The parameters are called after the model."""
    wire, given, file = wire_of(call), call.input, call.one("image")
    asked = TaskInput(
        prompt=given.get("prompt"),
        image=_Link(image_url=address(file, "image")) if file else None,
        duration=seconds(call, wire),
        resolution=given.get("resolution"),
    )
    model = call.options.get("model", wire.model)
    ours = {"model": model, f"model{model}TaskInput": asked.model_dump(by_alias=True, exclude_none=True)}
    return joined(ours, call.options)


def _finished(made: _Made) -> Finished:
    files = [one for one in made.media_basic_infos or () if one.source and one.source.source_url]
    facts = next((one.source_metadata for one in files if one.source_metadata), _Facts())
    frame = facts.video or _Frame()
    told = {"duration": facts.duration_in_second, "width": frame.width_in_pixel, "height": frame.height_in_pixel}
    return Finished(
        outputs=[Output(url=one.source.source_url) for one in files if one.source],
        parameters={name: value for name, value in told.items() if value},
    )
