"""The client of a ComfyUI server: a workflow is filled in, its files are uploaded, and it runs under our own id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
import websockets

from genpulse.errors import JobMissing, ProviderRejected
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending, Provider
from genpulse.providers.comfyui.answers import (
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
from genpulse.providers.comfyui.graph import Graph
from genpulse.providers.wire import Wire

_UPLOAD = httpx.Timeout(120.0, connect=10.0, pool=10.0)
_LISTEN_SECONDS = 1.0
_PLURAL = "reference_images"
_NAMESPACE = uuid.UUID("2f1c1d0a-5d0e-4a4f-9a53-0c1f6f6e7a11")


class Comfyui(Provider):
    """A run has an id of our choice, by which it is found in queue and history before it would ever be sent again."""

    name: ClassVar[str] = "comfyui"
    default_url: ClassVar[str] = "http://127.0.0.1:8188"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        self._url = (base_url or self.default_url).rstrip("/")
        self._headers = {"X-API-Key": credentials.api_key} if credentials.api_key else {}
        self._wire = Wire(self.name, self._url, client, headers=self._headers, refuse=refused)

    def remembers_key(self, call: ModelCall) -> bool:  # noqa: ARG002
        return True

    async def submit(self, call: ModelCall) -> Job:
        run_id = str(uuid.uuid5(_NAMESPACE, call.key))
        if (await self._queue()).has(run_id) or await self._entry(run_id) is not None:
            return Job(id=run_id)
        graph = Graph(call.input["workflow"])
        for name, value in _values(call).items():
            graph.fill(name, value, f"input.{name}")
        for name, value in call.input.get("workflow_inputs", {}).items():
            graph.fill(name, value, f"input.workflow_inputs.{name}")
        for name, file in _files(call):
            graph.fill(name, await self._upload(file, call.key), f"input.{name}")
        body = {"prompt": graph.body(), **call.options, "prompt_id": run_id, "client_id": run_id}
        accepted = await self._wire.pay("POST", "/prompt", Accepted, json=body)
        job = Job(id=accepted.prompt_id)
        if accepted.node_errors:  # half a workflow is not what was asked for
            await self.cancel(job)
            raise ProviderRejected(f"comfyui: {told(accepted.node_errors)}")
        return job

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        queue = await self._queue()  # first: from here a run goes to the history, never back
        if queue.has(job.id):
            return Pending(fraction=await self._fraction(job.id) if queue.runs(job.id) else None)
        entry = await self._entry(job.id)
        if entry is None:
            raise JobMissing("comfyui: the run is neither in the queue nor in the history; the server was restarted.")
        if error := entry.failure():
            raise error
        return Finished(outputs=[self._output(file) for file in entry.files()])

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

    async def _upload(self, file: Media, key: str) -> str:
        """Put a file where the server's nodes read it; the name is the server's to say."""
        content = await asyncio.to_thread(file.path.read_bytes)
        suffix = file.media_type.rpartition("/")[2]
        files = {"image": (f"{key}-{uuid.uuid4().hex[:8]}.{suffix}", content, file.media_type)}
        return (await self._wire.ask("POST", "/upload/image", Uploaded, files=files, timeout=_UPLOAD)).path

    def _output(self, file: File) -> Output:
        query = urlencode({"filename": file.filename, "subfolder": file.subfolder, "type": file.type})
        return Output(url=f"{self._url}/view?{query}", headers=self._headers)

    async def _fraction(self, run_id: str) -> float | None:
        """How far the running nodes are, if the server tells within a moment. It is only told to who listens."""
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        url = urlunsplit((scheme, parts.netloc, f"{parts.path}/ws", urlencode({"clientId": run_id}), ""))
        with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
            async with asyncio.timeout(_LISTEN_SECONDS):
                async with websockets.connect(url, additional_headers=self._headers, proxy=None) as socket:
                    async for frame in socket:
                        fraction = _share(frame, run_id)
                        if fraction is not None:
                            return fraction
        return None


def _values(call: ModelCall) -> dict[str, Any]:
    return {name: value for name, value in call.input.items() if name not in ("workflow", "workflow_inputs")}


def _files(call: ModelCall) -> list[tuple[str, Media]]:
    """By the name that the workflow knows them as: `reference_image_1` and so on where there are several."""
    return [
        (f"reference_image_{number}" if name == _PLURAL else name, file)
        for name, files in call.media.items()
        for number, file in enumerate(files, start=1)
    ]


def _share(frame: str | bytes, run_id: str) -> float | None:
    """The share of the work that a message tells of; binary ones are previews."""
    if isinstance(frame, bytes):
        return None
    message = json.loads(frame)
    data = message.get("data", {})
    if message.get("type") != "progress_state" or data.get("prompt_id") != run_id:
        return None
    nodes = [node for node in data.get("nodes", {}).values() if node.get("max")]
    if not nodes:
        return None
    done: float = sum(node["value"] / node["max"] for node in nodes) / len(nodes)
    return min(1.0, done)
