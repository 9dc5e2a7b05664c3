"""The client of a ComfyUI server: a workflow is filled in, its files are uploaded, and it runs under our own id."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from typing import Any, ClassVar
from urllib.parse import urlencode

import httpx

from genpulse.errors import GenPulseError, InvalidInput, JobMissing, ProviderRejected
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending, Provider
from genpulse.providers.comfyui.answers import (
    SUFFIXES,
    Accepted,
    Entry,
    File,
    History,
    Nothing,
    Queue,
    Uploaded,
    refused,
    told,
)
from genpulse.providers.comfyui.graph import Graph, file_names
from genpulse.providers.comfyui.progress import Progress
from genpulse.providers.wire import Wire

_UPLOAD = httpx.Timeout(120.0, connect=10.0, pool=10.0)
_NAMESPACE = uuid.UUID("2f1c1d0a-5d0e-4a4f-9a53-0c1f6f6e7a11")
_OURS = frozenset({"prompt", "prompt_id", "client_id"})


class Comfyui(Provider):
    """A run has an id of our choice, by which it is found in queue and history before it would ever be sent again."""

    name: ClassVar[str] = "comfyui"
    default_url: ClassVar[str] = "http://127.0.0.1:8188"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        self._url = (base_url or self.default_url).rstrip("/")
        self._headers = {"X-API-Key": credentials.api_key} if credentials.api_key else {}
        self._wire = Wire(self.name, self._url, client, headers=self._headers)
        self._runs = Wire(self.name, self._url, client, headers=self._headers, refuse=refused)
        self._progress = Progress(self._url, self._headers)

    def remembers_key(self, call: ModelCall) -> bool:  # noqa: ARG002
        return True

    async def submit(self, call: ModelCall) -> Job:
        run_id = str(uuid.uuid5(_NAMESPACE, call.key))
        if (await self._queue()).has(run_id) or await self._entry(run_id) is not None:
            return Job(id=run_id)
        body = {"prompt": await self._filled(call), **_options(call), "prompt_id": run_id, "client_id": run_id}
        accepted = await self._runs.pay("POST", "/prompt", Accepted, json=body)
        job = Job(id=accepted.prompt_id)
        if accepted.node_errors:  # half a workflow is not what was asked for
            with contextlib.suppress(GenPulseError):
                await self.cancel(job)
            raise ProviderRejected(f"comfyui: {told(accepted.node_errors)}")
        return job

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        queue = await self._queue()  # first: from here a run goes to the history, never back
        if queue.runs(job.id):
            return Pending(fraction=await self._progress.of(job.id, nodes=queue.nodes(job.id)))
        if queue.has(job.id):
            return Pending()
        entry = await self._entry(job.id)
        if entry is None:
            raise JobMissing(
                "comfyui: the run is neither in the queue nor in the history; the server was restarted, or the run was "
                "taken out of its queue there."
            )
        if error := entry.failure():
            raise error
        return Finished(outputs=[self._output(file) for file in entry.results()])

    async def cancel(self, job: Job) -> None:
        """Newer servers cancel by id; with others the run leaves the queue, or is interrupted if it is this one."""
        jobs = "" if self._url.endswith("/api") else "/api"
        with contextlib.suppress(JobMissing, ProviderRejected):
            await self._wire.ask("POST", f"{jobs}/jobs/{job.id}/cancel", Nothing)
            return
        await self._wire.ask("POST", "/queue", Nothing, json={"delete": [job.id]})
        await self._wire.ask("POST", "/interrupt", Nothing, json={"prompt_id": job.id})

    async def _entry(self, run_id: str) -> Entry | None:
        return (await self._wire.ask("GET", f"/history/{run_id}", History)).runs.get(run_id)

    async def _queue(self) -> Queue:
        return await self._wire.ask("GET", "/queue", Queue)

    async def _filled(self, call: ModelCall) -> dict[str, Any]:
        """The workflow with all that belongs into it; files are uploaded once everything is known to have a place."""
        graph = Graph.of(call.input, {field: len(files) for field, files in call.media.items()})
        for field, files in call.media.items():
            for (name, where), file in zip(file_names(field, len(files)), files, strict=True):
                graph.fill(name, await self._upload(file), f"input.{where}")
        return graph.body()

    async def _upload(self, file: Media) -> str:
        """Put a file where the server's nodes read it. Its name is the server's to say.

        We propose one that follows from the content: sent again it is the same file, which the server has cached.
        """
        content = await asyncio.to_thread(file.path.read_bytes)
        suffix = next((suffix for suffix, kind in SUFFIXES.items() if kind == file.media_type), "")
        name = f"genpulse-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
        files = {"image": (name, content, file.media_type)}
        return (await self._wire.ask("POST", "/upload/image", Uploaded, files=files, timeout=_UPLOAD)).path

    def _output(self, file: File) -> Output:
        query = urlencode({"filename": file.filename, "subfolder": file.subfolder, "type": file.type})
        return Output(url=f"{self._url}/view?{query}", headers=self._headers)


def _options(call: ModelCall) -> dict[str, Any]:
    """Those of the caller, but for what a run is made of and found by."""
    for name in _OURS & call.options.keys():
        raise InvalidInput(f"`{name}` is set by GenPulse; leave it out.", field=f"provider_options.{name}")
    return dict(call.options)
