"""MuseSteamer: videos from a picture, as tasks."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from pydantic import BaseModel, Field

from genpulse.errors import JobMissing, ProviderRejected
from genpulse.providers.baidu.errors import QianfanError, qianfan_failure
from genpulse.providers.baidu.model import needed, seconds, wire_of
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire

#: How its jobs are known among those of the account.
HANDLE = {"tasks": "musesteamer"}
_TASKS = "/video/generations"


class _Link(BaseModel):
    url: str


class _Content(BaseModel):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: _Link | None = None


class TaskRequest(BaseModel):
    model: str
    content: list[_Content]
    duration: int | None = None


class _Created(BaseModel):
    """`id` is the request's."""

    task_id: str = Field(min_length=1)


class _Made(BaseModel):
    video_url: str | None = None


class _Task(BaseModel):
    status: str
    content: _Made | None = None
    error: QianfanError | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None


class Muse:
    """A request takes no mark of ours: in the list, a call whose answer was lost could be any other one like it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def submit(self, call: ModelCall) -> Job:
        wire, prompt = wire_of(call), call.input.get("prompt")
        picture = _Content(type="image_url", image_url=_Link(url=needed(call, "image").url_or_data()))
        request = TaskRequest(
            model=wire.model,
            content=[*([_Content(type="text", text=prompt)] if prompt else []), picture],
            duration=seconds(call, wire),
        )
        body = joined(request.model_dump(exclude_none=True), call.options)
        return Job(id=(await self._wire.pay("POST", _TASKS, _Created, json=body)).task_id, handle=HANDLE)

    async def poll(self, job: Job) -> Pending | Finished:
        try:
            task = await self._wire.ask("GET", _TASKS, _Task, params={"task_id": job.id})
        except ProviderRejected as error:  # nothing is sent but the id
            raise JobMissing(error.message) from error
        match task.status.lower():
            case "failed":
                raise qianfan_failure(task.error)
            case "terminated":
                raise ProviderRejected("baidu: the task was cancelled.")
            case "succeeded":
                return _finished(task)
        return Pending()

    async def cancel(self, job: Job) -> None:
        """What has not begun; Qianfan refuses the rest."""
        with suppress(JobMissing, ProviderRejected):
            await self._wire.ask("DELETE", _TASKS, _Created, params={"task_id": job.id})


def _finished(task: _Task) -> Finished:
    told = {"duration": task.duration, "width": task.width, "height": task.height}
    return Finished(
        outputs=[Output(url=task.content.video_url)] if task.content and task.content.video_url else [],
        parameters={name: value for name, value in told.items() if value},
    )
