"""The client: tasks that are polled, models that answer at once, files that have to be uploaded first."""

from __future__ import annotations

import asyncio
import mimetypes
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import httpx

from genpulse.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending, Provider
from genpulse.providers.dashscope.answers import (
    Created,
    DirectAnswer,
    ListedTask,
    Made,
    Nothing,
    Task,
    TaskPage,
    UploadGrant,
    refusal,
    task_failure,
)
from genpulse.providers.dashscope.requests import ModelWire, creation, name_of
from genpulse.providers.wire import Wire

_UNDER_WAY = frozenset({"PENDING", "SUSPENDED", "RUNNING"})
_DIRECT = httpx.Timeout(300.0, connect=10.0, pool=10.0)  # a picture is made within this answer
_UPLOAD = httpx.Timeout(120.0, connect=10.0, pool=10.0)
#: Services whose results repeat the prompt, by which a task can be told to be ours.
_ECHOING = frozenset({"text2image/image-synthesis", "video-generation/video-synthesis"})
_CLOCKS_DIFFER = timedelta(seconds=10)
_SENT_WITHIN = timedelta(seconds=70)
_MOST_PAGES = 20
_MAINLAND = ("://dashscope.aliyuncs.com", ".cn-beijing.maas.aliyuncs.com")
_FOUND = {"found": "by its time"}


class Dashscope(Provider):
    """Has no idempotency key. Its list names model and time of each task, but neither its caller nor its input.

    So a lost task is found only where no other of its model was made at that time, and taken for ours only if its
    result repeats our prompt.
    """

    name: ClassVar[str] = "dashscope"
    default_url: ClassVar[str] = "https://dashscope.aliyuncs.com/api/v1"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {credentials.api_key}"}
        if workspace := credentials.options.get("workspace"):
            headers["X-DashScope-WorkSpace"] = workspace
        url = base_url or self.default_url
        self._abroad = ".aliyuncs.com" in url and not any(host in url for host in _MAINLAND)
        # A service that breaks while it accepts a task may have accepted it; elsewhere a failed call is over, and free.
        self._creations = Wire(
            self.name,
            url,
            client,
            headers=headers | {"X-DashScope-Async": "enable"},
            refuse=partial(refusal, broken=OutcomeUnknown),
        )
        self._calls = Wire(self.name, url, client, headers=headers, refuse=partial(refusal, broken=ProviderUnavailable))
        self._storage = Wire("dashscope's storage", url, client, anywhere=True)

    async def submit(self, call: ModelCall) -> Job | Finished:
        wire = ModelWire.model_validate(call.wire)
        links = {name: [await self._link(file, call, wire) for file in files] for name, files in call.media.items()}
        uploaded = any(link.startswith("oss://") for several in links.values() for link in several)
        sent: dict[str, Any] = {
            "json": creation(call, wire, links, abroad=self._abroad).body(),
            "headers": {"X-DashScope-OssResourceResolve": "enable"} if uploaded else {},
        }
        path = f"/services/aigc/{wire.path}"
        if wire.synchronous:
            answer = await self._calls.pay("POST", path, DirectAnswer, timeout=_DIRECT, **sent)
            return _finished(answer.output, answer.usage)
        made = await self._creations.pay("POST", path, Created, **sent)
        return Job(id=made.output.task_id)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        task = await self._calls.ask("GET", f"/tasks/{job.id}", Task)
        if task.output.task_status in _UNDER_WAY:
            return Pending()
        if task.output.task_status != "SUCCEEDED":
            raise task_failure(task.output)
        if job.handle == _FOUND and call.input.get("prompt") not in task.output.asked():
            raise OutcomeUnknown("The only task that dashscope began when the answer was lost is not this one.")
        return _finished(task.output, task.usage)

    async def cancel(self, job: Job) -> None:
        """Works only while the task waits for its turn."""
        if job.handle == _FOUND:  # it may be somebody else's
            return
        with suppress(ProviderRejected):
            await self._calls.ask("POST", f"/tasks/{job.id}/cancel", Nothing)

    def can_find(self, call: ModelCall) -> bool:
        wire = ModelWire.model_validate(call.wire)
        return not wire.synchronous and wire.path in _ECHOING and bool(call.input.get("prompt"))

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:
        name = name_of(call, ModelWire.model_validate(call.wire), abroad=self._abroad)
        began = [
            task
            for task in await self._tasks(name)
            if task.model_name == name and sent_at - _CLOCKS_DIFFER <= task.created_at <= sent_at + _SENT_WITHIN
        ]
        return Job(id=began[0].task_id, handle=_FOUND) if len(began) == 1 else None

    async def _tasks(self, model: str) -> list[ListedTask]:
        """Those of the last 24 hours; none where there are too many to tell them apart."""
        tasks: list[ListedTask] = []
        for number in range(1, _MOST_PAGES + 1):
            query = {"model_name": model, "page_no": number, "page_size": 100}
            page = await self._calls.ask("GET", "/tasks/", TaskPage, params=query)
            tasks += page.data
            if number >= page.total_page:
                return tasks
        return []

    async def _link(self, file: Media, call: ModelCall, wire: ModelWire) -> str:
        """An address of a file, or the file itself as one."""
        if file.url:
            return file.url
        if wire.upload or not file.media_type.startswith("image/"):
            return await self._upload(file, name_of(call, wire, abroad=self._abroad))
        return await asyncio.to_thread(file.data_url)

    async def _upload(self, file: Media, model: str) -> str:
        """Put a file into the cloud's own storage, where this model can read it for two days."""
        query = {"action": "getPolicy", "model": model}
        grant = (await self._calls.ask("GET", "/uploads", UploadGrant, params=query)).data
        name = f"{uuid.uuid4().hex}{mimetypes.guess_extension(file.media_type) or ''}"
        key = f"{grant.upload_dir}/{name}"
        form = {
            "OSSAccessKeyId": grant.oss_access_key_id,
            "Signature": grant.signature,
            "policy": grant.policy,
            "key": key,
            "x-oss-object-acl": grant.x_oss_object_acl,
            "x-oss-forbid-overwrite": grant.x_oss_forbid_overwrite,
            "success_action_status": "200",
            "x-oss-content-type": file.media_type,
        }
        content = await asyncio.to_thread(file.path.read_bytes)
        files = {"file": (name, content, file.media_type)}
        await self._storage.ask("POST", grant.upload_host, Nothing, data=form, files=files, timeout=_UPLOAD)
        return f"oss://{key}"


def _finished(made: Made, usage: Mapping[str, Any]) -> Finished:
    rewritten = made.rewritten()
    return Finished(
        outputs=[Output(url=link) for link in made.links()],
        parameters={"actual_prompt": rewritten} if rewritten else {},
        usage={name: value for name, value in usage.items() if isinstance(value, int | float)},
    )
