"""A ComfyUI server: queue, history, files, and the socket on which it tells how a run goes."""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from genpulse.simulator.clouds.comfyui.nodes import CLASSES, faults_of, media_of
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import COMFYUI
from genpulse.simulator.jobs import File, Job, State
from genpulse.simulator.media import Format, Media, render
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_VERSION = "0.38.1"
_STEP_SECONDS = 0.05
_PREVIEW = struct.pack(">II", 1, 2)  # a preview, PNG


class Comfyui(Cloud):
    name = "comfyui"
    credentials = COMFYUI

    def routes(self) -> Sequence[Route | BaseRoute]:
        both = [route for prefix in ("", "/api") for route in self._routes(prefix)]
        return [
            *both,
            Route("GET", "/api/jobs", self.list_jobs),
            Route("GET", "/api/jobs/{id}", self.get_job, Kind.POLL),
            Route("POST", "/api/jobs/{id}/cancel", self.cancel_job, Kind.CANCEL),
        ]

    def _routes(self, prefix: str) -> list[Route | BaseRoute]:
        return [
            Route("POST", f"{prefix}/prompt", self.submit, Kind.SUBMIT),
            Route("GET", f"{prefix}/prompt", self.remaining),
            Route("GET", f"{prefix}/queue", self.queue, Kind.POLL),
            Route("POST", f"{prefix}/queue", self.change_queue, Kind.CANCEL),
            Route("POST", f"{prefix}/interrupt", self.interrupt, Kind.CANCEL),
            Route("GET", f"{prefix}/history", self.all_history, Kind.POLL),
            Route("GET", f"{prefix}/history/{{id}}", self.history, Kind.POLL),
            Route("POST", f"{prefix}/upload/image", self.upload),
            Route("GET", f"{prefix}/view", self.view, Kind.MEDIA),
            Route("GET", f"{prefix}/system_stats", self.system_stats),
            Route("GET", f"{prefix}/object_info", self.object_info),
            Route("GET", f"{prefix}/object_info/{{name}}", self.object_info),
            Route("GET", f"{prefix}/features", self.features),
            WebSocketRoute(f"{prefix}/ws", self.socket),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        origin = call.headers.get("Origin")
        if origin and not origin.endswith(call.headers.get("Host", "")):
            raise Refusal.by(Response(status_code=403))

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        return Refusal.by(PlainTextResponse("500 Internal Server Error", 500))

    def not_found(self, call: Call) -> Refusal:
        status = 404 if call.request.method == "GET" else 405
        return Refusal.by(Response(status_code=status, media_type="application/octet-stream"))

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return Refusal.by(PlainTextResponse("Too many requests (proxy)", 429))

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return Refusal.by(PlainTextResponse(f"{status} (proxy)", status))

    # Runs ------------------------------------------------------------------------------------------------------------

    async def submit(self, call: Call) -> Response:
        given = call.json()  # whatever the content type says
        if not isinstance(given, dict):
            raise Refusal.by(PlainTextResponse("500 Internal Server Error: no JSON", 500))
        workflow = given.get("prompt")
        if not isinstance(workflow, dict):
            raise _refused("no_prompt", "No prompt provided")
        run_id = given.get("prompt_id", str(uuid.uuid4()))
        if not _is_uuid(run_id):
            raise _refused("invalid_prompt_id", "prompt_id must be a canonical UUID")
        broken = self._checked(workflow)
        made = {key: media for key, media in media_of(workflow).items() if key not in broken}
        number = len(self.world.find_jobs(cloud=self.name))
        job = self.create(
            call,
            id=run_id,
            media=list(made.values()),
            model="workflow",
            prompt=_text_of(workflow),
            key=run_id,
            body={"prompt": workflow},
            extra={"client": given.get("client_id"), "number": number, "nodes": list(made)},
        )
        return JSONResponse({"prompt_id": job.id, "number": number, "node_errors": broken})

    def _checked(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """The errors of nodes, by node. Raises where nothing can run at all."""
        for key, node in workflow.items():
            name = node.get("class_type") if isinstance(node, dict) else None
            if name not in CLASSES:
                extra = {"node_id": key, "class_type": name, "node_title": ""}
                raise _refused("missing_node_type", f"Node '{name}' not found.", extra=extra)
        outputs = [key for key, node in workflow.items() if CLASSES[node["class_type"]].is_output]
        if not outputs:
            raise _refused("prompt_no_outputs", "Prompt has no outputs")
        errors: dict[str, Any] = {}
        valid = []
        for output in outputs:
            behind = _behind(output, workflow)
            faults = faults_of({key: workflow[key] for key in workflow if key in behind})
            for key, found in faults.items():
                one = {"dependent_outputs": [], "class_type": workflow[key]["class_type"], "errors": found}
                errors.setdefault(key, one)["dependent_outputs"].append(output)
            if faults:
                errors.setdefault(output, {"errors": [], "dependent_outputs": [output], "class_type": ""})
            else:
                valid.append(output)
        if not valid:
            errors = {key: one for key, one in errors.items() if one["errors"]}
            raise _refused("prompt_outputs_failed_validation", "Prompt outputs failed validation", nodes=errors)
        return errors

    def _known(self, run_id: str) -> Job | None:
        job = self.world.jobs.get((self.name, run_id))
        if job is not None and job.hidden_calls:
            job.hidden_calls -= 1
            return None
        return job

    async def history(self, call: Call) -> Response:
        job = self._known(call.path["id"])
        entry = self._entry(job) if job is not None and job.poll().ended else None
        return JSONResponse({call.path["id"]: entry} if entry else {})

    async def all_history(self, call: Call) -> Response:  # noqa: ARG002
        ended = [job for job in self.jobs() if job.state.ended]
        return JSONResponse({job.id: entry for job in ended if (entry := self._entry(job))})

    def _entry(self, job: Job) -> dict[str, Any] | None:
        """None for a run that was taken out of the queue: it leaves no trace."""
        state = job.state
        if state is State.CANCELLED and not job.extra.get("interrupted"):
            return None
        stamp = {"prompt_id": job.id, "timestamp": int((job.ended_at or 0) * 1000)}
        messages: list[Any] = [["execution_start", stamp], ["execution_cached", {"nodes": [], **stamp}]]
        messages.append(_last_message(job, state, stamp))
        done = state is State.SUCCEEDED
        return {
            "prompt": [job.extra["number"], job.id, job.body["prompt"], {"client_id": job.extra["client"]}, []],
            "outputs": self._outputs(job) if done else {},
            "status": {"status_str": "success" if done else "error", "completed": done, "messages": messages},
            "meta": {key: {"node_id": key, "display_node": key} for key in job.extra["nodes"]},
        }

    def _outputs(self, job: Job) -> dict[str, Any]:
        outputs = {}
        for key, file in zip(job.extra["nodes"], job.files, strict=False):
            kind = CLASSES[job.body["prompt"][key]["class_type"]]
            item = {"filename": _filename(job, file), "subfolder": "", "type": "temp" if kind.temporary else "output"}
            outputs[key] = {kind.key: [item]} | ({"animated": [True]} if kind.animated else {})
        return outputs

    async def queue(self, call: Call) -> Response:  # noqa: ARG002
        jobs = [job for job in self.jobs()[::-1] if not job.hidden_calls]
        running = [_item(job) for job in jobs if job.state is State.RUNNING]
        pending = [_item(job) for job in jobs if job.state is State.QUEUED]
        return JSONResponse({"queue_running": running, "queue_pending": pending})

    async def remaining(self, call: Call) -> Response:  # noqa: ARG002
        left = sum(not job.state.ended for job in self.jobs())
        return JSONResponse({"exec_info": {"queue_remaining": left}})

    async def change_queue(self, call: Call) -> Response:
        given = call.json() or {}
        for job in self.jobs():
            if job.state is State.QUEUED and (given.get("clear") or job.id in given.get("delete", ())):
                self.cancel(job)
        return Response()

    async def interrupt(self, call: Call) -> Response:
        wanted = (call.json() or {}).get("prompt_id")
        for job in self.jobs():
            if job.state is State.RUNNING and wanted in (None, job.id):
                job.extra["interrupted"] = True
                self.cancel(job)
        return Response()

    # Jobs, as newer servers have them --------------------------------------------------------------------------------

    async def list_jobs(self, call: Call) -> Response:  # noqa: ARG002
        jobs = [_job(job) for job in self.jobs()]
        page = {"offset": 0, "limit": len(jobs), "total": len(jobs), "has_more": False}
        return JSONResponse({"jobs": jobs, "pagination": page})

    async def get_job(self, call: Call) -> Response:
        job = self._known(call.path["id"])
        if job is None:
            return JSONResponse({"error": "Job not found"}, 404)
        workflow = {"prompt": job.body["prompt"], "extra_data": {}}
        return JSONResponse(_job(job) | {"outputs": self._outputs(job), "workflow": workflow})

    async def cancel_job(self, call: Call) -> Response:
        job = self.world.jobs.get((self.name, call.path["id"]))
        if job is not None and job.state is State.RUNNING:
            job.extra["interrupted"] = True
        return JSONResponse({"cancelled": job is not None and self.cancel(job)})

    # Files and facts -------------------------------------------------------------------------------------------------

    async def upload(self, call: Call) -> Response:
        async with call.request.form() as form:
            file = form.get("image")
            if not isinstance(file, UploadFile):
                return Response(status_code=400)
            content, name = await file.read(), file.filename or "image"
            kind = file.content_type or "application/octet-stream"
            subfolder = str(form.get("subfolder", ""))
        taken = {one.name: one for (cloud, _), one in self.world.uploads.items() if cloud == self.name}
        if name in taken and taken[name].content != content:
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem} (1){dot}{suffix}"
        self.store(name=name, content_type=kind, content=content)
        return JSONResponse({"name": name, "subfolder": subfolder, "type": "input"})

    async def view(self, call: Call) -> Response:
        name, kind = call.query.get("filename", ""), call.query.get("type", "output")
        if ".." in name or kind not in ("output", "input", "temp"):
            return Response(status_code=400)
        for job in self.jobs():
            for file in job.files if job.state is State.SUCCEEDED else ():
                if _filename(job, file) == name:
                    return _content(await asyncio.to_thread(file.read), file.content_type, name)
        for (cloud, _), upload in self.world.uploads.items():
            if (cloud, upload.name) == (self.name, name):
                return _content(upload.content, upload.content_type, name)
        return Response(status_code=404)

    async def system_stats(self, call: Call) -> Response:  # noqa: ARG002
        system = {"os": "posix", "ram_total": 2**34, "ram_free": 2**33, "comfyui_version": _VERSION, "argv": []}
        device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": 2**34, "vram_free": 2**33}
        return JSONResponse({"system": system, "devices": [device]})

    async def object_info(self, call: Call) -> Response:
        wanted = call.path.get("name")
        names = [name for name in CLASSES if wanted in (None, name)]
        return JSONResponse({name: CLASSES[name].info(name) for name in names})

    async def features(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"supports_preview_metadata": True, "max_upload_size": 100 * 2**20})

    # The socket ------------------------------------------------------------------------------------------------------

    async def socket(self, socket: WebSocket) -> None:
        """Tells one client of its runs, from when it listens; what it missed is not told again."""
        await socket.accept()
        client = socket.query_params.get("clientId") or uuid.uuid4().hex
        try:
            await self._tell(socket, client)
        except (WebSocketDisconnect, RuntimeError):
            return

    async def _tell(self, socket: WebSocket, client: str) -> None:
        left = {"status": {"exec_info": {"queue_remaining": 0}}}
        await socket.send_json({"type": "status", "data": left | {"sid": client}})
        begun: set[str] = {job.id for job in self._of(client) if job.state.ended}
        while True:
            for job in self._of(client):
                if job.state is State.QUEUED or job.id in begun:
                    continue
                if await self._tell_of(socket, job):
                    begun.add(job.id)
            await asyncio.sleep(_STEP_SECONDS)

    def _of(self, client: str) -> list[Job]:
        return [job for job in self.jobs()[::-1] if job.extra.get("client") == client]

    async def _tell_of(self, socket: WebSocket, job: Job) -> bool:
        """One moment of a run; true once it has ended and everything is told."""
        stamp = {"prompt_id": job.id, "timestamp": int(self.world.clock.now() * 1000)}
        first = next(iter(job.body["prompt"]))
        if not job.extra.setdefault("told", False):
            job.extra["told"] = True
            await socket.send_json({"type": "execution_start", "data": stamp})
            await socket.send_json({"type": "execution_cached", "data": {"nodes": [], **stamp}})
            await socket.send_json({"type": "executing", "data": {"node": first, "prompt_id": job.id}})
        if not job.state.ended:
            passed = self.world.clock.now() - job.started_at
            value = min(99, int(100 * passed / max(job.seconds * 0.75, 1e-6)))
            node = {"value": value, "max": 100, "state": "running", "node_id": first, "prompt_id": job.id}
            await socket.send_json({"type": "progress_state", "data": {"prompt_id": job.id, "nodes": {first: node}}})
            await socket.send_json(
                {"type": "progress", "data": {"value": value, "max": 100, "prompt_id": job.id, "node": first}}
            )
            await socket.send_bytes(_PREVIEW + render(Media(Format.PNG, 16, 16)))
            return False
        for key, output in self._outputs(job).items() if job.state is State.SUCCEEDED else ():
            await socket.send_json(
                {"type": "executed", "data": {"node": key, "display_node": key, "output": output, **stamp}}
            )
        name, told = _last_message(job, job.state, stamp)
        await socket.send_json({"type": name, "data": told})
        await socket.send_json({"type": "executing", "data": {"node": None, "prompt_id": job.id}})
        return True


def _last_message(job: Job, state: State, stamp: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if state is State.SUCCEEDED:
        return "execution_success", stamp
    key, node = next(iter(job.body["prompt"].items()))
    where = {"node_id": key, "node_type": node["class_type"], "executed": [], **stamp}
    if state is State.CANCELLED:
        return "execution_interrupted", where
    error = {
        "exception_message": "The simulated node failed.",
        "exception_type": "RuntimeError",
        "traceback": ['  File "/srv/comfyui/execution.py", line 1'],
        "current_inputs": {},
        "current_outputs": [],
    }
    return "execution_error", where | error


def _refused(
    type_: str, said: str, *, nodes: dict[str, Any] | None = None, extra: dict[str, Any] | None = None
) -> Refusal:
    error = {"type": type_, "message": said, "details": "", "extra_info": extra or {}}
    return Refusal(400, {"error": error, "node_errors": nodes or {}})


def _behind(output: str, workflow: dict[str, Any]) -> set[str]:
    """A node and all that it hangs on."""
    found, left = set(), [output]
    while left:
        key = left.pop()
        if key in found or key not in workflow:
            continue
        found.add(key)
        left += [one[0] for one in workflow[key].get("inputs", {}).values() if isinstance(one, list) and one]
    return found


def _is_uuid(text: Any) -> bool:
    try:
        return bool(str(uuid.UUID(text)) == text)
    except (ValueError, AttributeError, TypeError):
        return False


def _text_of(workflow: dict[str, Any]) -> str | None:
    inputs = [node.get("inputs", {}) for node in workflow.values()]
    return next((one[name] for one in inputs for name in ("text", "value") if isinstance(one.get(name), str)), None)


def _filename(job: Job, file: File) -> str:
    number, _, suffix = file.name.partition(".")
    return f"{job.id}_{int(number):05}_.{suffix}"


def _item(job: Job) -> list[Any]:
    return [job.extra["number"], job.id, job.body["prompt"], {"client_id": job.extra["client"]}, job.extra["nodes"]]


_JOB_STATUS = {
    State.QUEUED: "pending",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": _JOB_STATUS[job.state],
        "priority": job.extra["number"],
        "create_time": int(job.created_at * 1000),
        "outputs_count": len(job.files),
    }


def _content(content: bytes, kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'filename="{name}"', "Accept-Ranges": "bytes"}
    return Response(content, media_type=kind, headers=headers)
