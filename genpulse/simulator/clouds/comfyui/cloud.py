"""A ComfyUI server: queue, history and files."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, WebSocketRoute

from genpulse.simulator.clouds.comfyui.nodes import CLASSES, behind, faults_of, media_of
from genpulse.simulator.clouds.comfyui.runs import filename, last_message, nodes_of, outputs_of, ran_before
from genpulse.simulator.clouds.comfyui.socket import FEATURES, Teller
from genpulse.simulator.core import Cloud, Upload
from genpulse.simulator.credentials import COMFYUI
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_VERSION = "0.38.1"


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
            WebSocketRoute(f"{prefix}/ws", Teller(self.world).serve),
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
        made = [(key, media) for key, media in media_of(workflow) if key not in broken]
        number = len(self.world.find_jobs(cloud=self.name))
        before = ran_before(workflow, self.jobs())
        self._set_aside(run_id, number)
        job = self.create(
            call,
            id=run_id,
            media=[media for _, media in made],
            model="workflow",
            prompt=_text_of(workflow),
            key=run_id,
            body={"prompt": workflow},
            extra={"client": given.get("client_id"), "number": number, "nodes": [key for key, _ in made]},
        )
        if before is not None and not (job.failure or job.stuck):
            job.extra["cached"] = before
            job.seconds = 0
        return JSONResponse({"prompt_id": job.id, "number": number, "node_errors": broken})

    def _set_aside(self, run_id: str, number: int) -> None:
        """The server does not mind an id that it has had before: both run, so both must be found to have been made."""
        before = self.world.jobs.pop((self.name, run_id), None)
        if before is not None:
            self.world.jobs[self.name, f"{run_id} before {number}"] = before

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
            faults = faults_of(behind([output], workflow), self._files())
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
        cached = list(nodes_of(job)) if "cached" in job.extra else []
        messages: list[Any] = [["execution_start", stamp], ["execution_cached", {"nodes": cached, **stamp}]]
        messages.append(last_message(job, state, stamp))
        done = state is State.SUCCEEDED
        return {
            "prompt": [job.extra["number"], job.id, job.body["prompt"], {"client_id": job.extra["client"]}, []],
            "outputs": outputs_of(job) if done else {},
            "status": {"status_str": "success" if done else "error", "completed": done, "messages": messages},
            "meta": {key: {"node_id": key, "display_node": key} for key in job.extra["nodes"]},
        }

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
        return JSONResponse(_job(job) | {"outputs": outputs_of(job), "workflow": workflow})

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
            overwrite = form.get("overwrite") in ("true", "1")
        folder = f"{subfolder}/" if subfolder else ""
        taken = self._files().get(folder + name)
        if taken is not None and taken.content != content and not overwrite:
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem} (1){dot}{suffix}"
        elif taken is not None:
            del self.world.uploads[self.name, taken.id]
        self.store(name=folder + name, content_type=kind, content=content)
        return JSONResponse({"name": name, "subfolder": subfolder, "type": "input"})

    def _files(self) -> dict[str, Upload]:
        """What nodes can load, by the name that they know it as."""
        return {one.name: one for (cloud, _), one in self.world.uploads.items() if cloud == self.name}

    async def view(self, call: Call) -> Response:
        name, kind = call.query.get("filename", ""), call.query.get("type", "output")
        if ".." in name or kind not in ("output", "input", "temp"):
            return Response(status_code=400)
        for job in self.jobs():
            for file in job.files if job.state is State.SUCCEEDED else ():
                if filename(job, file) == name:
                    return _content(await asyncio.to_thread(file.read), file.content_type, name)
        folder = f"{call.query['subfolder']}/" if call.query.get("subfolder") else ""
        upload = self._files().get(folder + name)
        return _content(upload.content, upload.content_type, name) if upload else Response(status_code=404)

    async def system_stats(self, call: Call) -> Response:  # noqa: ARG002
        system = {"os": "posix", "ram_total": 2**34, "ram_free": 2**33, "comfyui_version": _VERSION, "argv": []}
        device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": 2**34, "vram_free": 2**33}
        return JSONResponse({"system": system, "devices": [device]})

    async def object_info(self, call: Call) -> Response:
        wanted = call.path.get("name")
        names = [name for name in CLASSES if wanted in (None, name)]
        return JSONResponse({name: CLASSES[name].info(name, self._files()) for name in names})

    async def features(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse(FEATURES)


def _refused(
    type_: str, said: str, *, nodes: dict[str, Any] | None = None, extra: dict[str, Any] | None = None
) -> Refusal:
    error = {"type": type_, "message": said, "details": "", "extra_info": extra or {}}
    return Refusal(400, {"error": error, "node_errors": nodes or {}})


def _is_uuid(text: Any) -> bool:
    try:
        return bool(str(uuid.UUID(text)) == text)
    except (ValueError, AttributeError, TypeError):
        return False


def _text_of(workflow: dict[str, Any]) -> str | None:
    inputs = [node.get("inputs", {}) for node in workflow.values()]
    return next((one[name] for one in inputs for name in ("text", "value") if isinstance(one.get(name), str)), None)


def _item(job: Job) -> list[Any]:
    outputs = list(dict.fromkeys(job.extra["nodes"]))
    return [job.extra["number"], job.id, job.body["prompt"], {"client_id": job.extra["client"]}, outputs]


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
