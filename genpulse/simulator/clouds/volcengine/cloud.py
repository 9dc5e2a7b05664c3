"""Volcengine: Ark's images and video tasks behind a key, and Visual's one signed path for all of Jimeng."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response, StreamingResponse

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.volcengine.ark import (
    BLOCKED,
    IMAGE_MODELS,
    SMALL,
    STATUS,
    VIDEO_MODELS,
    ImageRequest,
    PictureSet,
    TaskRequest,
    check_links,
    check_task,
    endpoint,
    events,
    image_items,
    image_size,
    invalid,
    problem,
    task,
    told,
    video_media,
)
from genpulse.simulator.clouds.volcengine.signature import check_signature, gateway
from genpulse.simulator.clouds.volcengine.visual import (
    AT_ONCE,
    REQ_KEYS,
    RESULTS,
    SUBMITS,
    VISUAL_STATUS,
    AtOnceRequest,
    ResultRequest,
    VisualRequest,
    visual_answer,
    visual_media,
    visual_outputs,
    visual_problem,
    wants_links,
)
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import VOLCENGINE
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_TASKS = "/api/v3/contents/generations/tasks"
_DAY = 24 * 3600


class Volcengine(Cloud):
    name = "volcengine"
    credentials = VOLCENGINE
    base_path = "/api/v3"
    shows_marks: ClassVar[bool] = True
    """Whether tasks are shown with the `safety_identifier` that they were made with."""
    media_lifetime = _DAY

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/api/v3/images/generations", self.make_images, Kind.SUBMIT),
            Route("POST", _TASKS, self.create_task, Kind.SUBMIT),
            Route("GET", _TASKS, self.list_tasks),
            Route("GET", f"{_TASKS}/{{id}}", self.get_task, Kind.POLL),
            Route("DELETE", f"{_TASKS}/{{id}}", self.delete_task, Kind.CANCEL),
            Route("POST", "/", self.act, _kind_of_action),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if _is_visual(call):
            check_signature(call, self.world.clock.now())
        elif call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
            message = "The API key in the request is missing or invalid."
            refusal = problem(401, "AuthenticationError", message, kind="Unauthorized")
            refusal.response.headers["x-error-code"] = "AuthN_MissOrInvalidAuthorizationHeader"
            raise refusal

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if _is_visual(call):
            return visual_problem(400, 50215, f"Input invalid for this service: {where}: {first['msg']}")
        code = "MissingParameter" if first["type"] == "missing" else "InvalidParameter"
        return problem(400, code, f"The parameter `{where}` specified in the request is not valid.", param=where)

    def not_found(self, call: Call) -> Refusal:
        if _is_visual(call):
            return Refusal(200, visual_answer({"status": "not_found"}))
        return problem(404, "NotFound", "The specified resource is not found.", kind="NotFound")

    def throttled(self, call: Call) -> Refusal:
        if _is_visual(call):
            return visual_problem(429, 50429, "Request Has Reached API Limit, Please Try Later")
        code = "ModelAccountIpmRateLimitExceeded" if "images" in call.request.url.path else "RequestBurstTooFast"
        return problem(429, code, "The rate limit is exceeded.", kind="TooManyRequests")

    def broken(self, call: Call, status: int) -> Refusal:
        if _is_visual(call):
            return visual_problem(status, 50500, "Internal Error")
        return problem(status, "InternalServiceError", "The service encountered an unexpected internal error.")

    # Ark: images -----------------------------------------------------------------------------------------------------

    async def make_images(self, call: Call) -> Response:
        asked = call.read(ImageRequest)
        canvas = IMAGE_MODELS.get(asked.model) or endpoint(asked.model, SMALL)
        width, height = image_size(asked, canvas)
        if len(asked.images) > (10 if canvas is SMALL else 14):
            raise invalid("image", "too many reference images")
        check_links(asked.images, "image")
        options = asked.sequential_image_generation_options or PictureSet()
        count = min(options.max_images, 15 - len(asked.images)) if asked.sequential_image_generation == "auto" else 1
        form = Format.PNG if asked.output_format == "png" else Format.JPEG
        job = self.create(
            call,
            media=[Media(form, width, height, variant=number) for number in range(count)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(exclude_none=True),
        )
        await self.finish(job)
        if job.failure is Failure.INTERNAL:
            raise self.broken(call, 500)
        if job.failure is Failure.CONTENT and count == 1:
            raise problem(400, "OutputImageSensitiveContentDetected", BLOCKED)
        items = image_items(job, as_text=asked.response_format == "b64_json")
        made = [item for item in items if "error" not in item]
        tokens = round(len(made) * width * height / 256)
        usage = {"generated_images": len(made), "output_tokens": tokens, "total_tokens": tokens}
        created = int(self.world.clock.now())
        if asked.stream:
            return StreamingResponse(events(asked.model, created, items, usage), media_type="text/event-stream")
        return told({"model": asked.model, "created": created, "data": items, "usage": usage})

    # Ark: video tasks ------------------------------------------------------------------------------------------------

    async def create_task(self, call: Call) -> Response:
        asked = call.read(TaskRequest)
        studio = VIDEO_MODELS.get(asked.model) or endpoint(asked.model, VIDEO_MODELS["doubao-seedance-2-0-260128"])
        check_task(asked, studio)
        seconds = asked.duration or studio.duration
        job = self.create(
            call,
            id=f"cgt-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(4)}",
            media=video_media(asked, studio, 5 if seconds == -1 else seconds),
            model=asked.model,
            prompt=asked.prompt,
            key=asked.safety_identifier,
            body=asked.model_dump(exclude_none=True),
            callback_url=asked.callback_url,
            extra={"asked": asked, "studio": studio},
        )
        return told({"id": job.id})

    async def get_task(self, call: Call) -> Response:
        job = self._task_job(call)
        return told(self._shown(job, job.poll()))

    async def list_tasks(self, call: Call) -> Response:
        page, size = (_whole(call.query.get(name), usual) for name, usual in (("page_num", 1), ("page_size", 20)))
        if not (1 <= page <= 500 and 1 <= size <= 500):
            raise invalid("page_size", "page_num and page_size run from 1 to 500")
        query = call.query
        ids = query.getlist("filter.task_ids")
        found = [
            job
            for job in self.jobs()
            if "asked" in job.extra
            and query.get("filter.status", STATUS[job.state]) == STATUS[job.state]
            and query.get("filter.model", job.model) == job.model
            and (not ids or job.id in ids)
        ]
        shown = found[(page - 1) * size : page * size]
        return told({"total": len(found), "items": [self._shown(job, job.state) for job in shown]})

    async def delete_task(self, call: Call) -> Response:
        job = self._task_job(call)
        state = job.state
        if state in {State.RUNNING, State.CANCELLED}:
            raise problem(409, "TaskRunningCannotCancel", f"The task is {STATUS[state]}.", kind="Conflict")
        if state is State.QUEUED:
            self.cancel(job)
        else:
            del self.world.jobs[self.name, job.id]
        return told({})

    def _shown(self, job: Job, state: State) -> dict[str, Any]:
        shown = task(job, state)
        return shown if self.shows_marks else {name: one for name, one in shown.items() if name != "safety_identifier"}

    def _task_job(self, call: Call) -> Job:
        job = self.job(call, call.path["id"])
        if "asked" not in job.extra:
            raise self.not_found(call)
        return job

    def callback(self, job: Job, state: State) -> Callback | None:
        """The task as a poll shows it, unsigned; of a cancellation nothing is told."""
        return None if state is State.CANCELLED else Callback(json.dumps(task(job, state)).encode())

    # Visual ----------------------------------------------------------------------------------------------------------

    async def act(self, call: Call) -> Response:
        action, version = call.query.get("Action", ""), call.query.get("Version")
        if SUBMITS.get(action, "") == version:
            return await self._submit(call)
        if RESULTS.get(action, "") == version:
            return await self._result(call)
        if action in AT_ONCE.values():
            return await self._make(call, action)
        raise gateway(call, 404, "InvalidActionOrVersion", "Could not find operation for this version.")

    async def _submit(self, call: Call) -> Response:
        asked = call.read(VisualRequest)
        if asked.req_key not in REQ_KEYS:
            raise visual_problem(400, 50215, f"Input invalid for this service: req_key {asked.req_key!r}")
        least, most, makes_video = REQ_KEYS[asked.req_key]
        given = len(asked.image_urls or asked.binary_data_base64)
        if not least <= given <= most:
            raise visual_problem(400, 50215, f"Input invalid for this service: {given} images")
        if not given and not asked.prompt:
            raise visual_problem(400, 50215, "Input invalid for this service: prompt")
        job = self.create(
            call,
            id=str(secrets.randbelow(9 * 10**18) + 10**18),
            media=[visual_media(asked, makes_video=makes_video)],
            model=asked.req_key,
            prompt=asked.prompt,
            body=asked.model_dump(exclude_unset=True),
        )
        return JSONResponse(visual_answer({"task_id": job.id}))

    async def _make(self, call: Call, action: str) -> Response:
        asked = call.read(AtOnceRequest)
        if AT_ONCE.get(asked.req_key) != action:
            raise visual_problem(400, 50215, f"Input invalid for this service: req_key {asked.req_key!r}")
        form = Format.JPEG if asked.result_format else Format.PNG
        job = self.create(call, media=[Media(form, 2048, 2048)], model=asked.req_key, body=asked.model_dump())
        await self.finish(job)
        if job.failure is Failure.CONTENT:
            raise visual_problem(400, 50511, "Post Img Risk Not Pass")
        if job.failure is Failure.INTERNAL:
            raise self.broken(call, 500)
        return JSONResponse(visual_answer(visual_outputs(job, as_links=asked.return_url)))

    async def _result(self, call: Call) -> Response:
        asked = call.read(ResultRequest)
        job = self.job(call, asked.task_id)
        if job.model != asked.req_key:
            raise self.not_found(call)
        if job.ended_at and self.world.clock.now() > job.ended_at + _DAY / 2:
            return JSONResponse(visual_answer({"status": "expired"}))
        state = job.poll()
        if not state.ended:
            return JSONResponse(visual_answer({"status": VISUAL_STATUS[state]}))
        if job.failure is Failure.CONTENT:
            raise visual_problem(400, 50511, "Post Img Risk Not Pass", {"status": "done"})
        if job.failure is Failure.INTERNAL:
            raise visual_problem(500, 50500, "Internal Error", {"status": "done"})
        return JSONResponse(visual_answer(visual_outputs(job, as_links=wants_links(asked.req_json))))


def _is_visual(call: Call) -> bool:
    return call.request.url.path.endswith("/volcengine/")


def _kind_of_action(call: Call) -> Kind:
    action = call.query.get("Action", "")
    return (
        Kind.SUBMIT
        if action in SUBMITS or action in AT_ONCE.values()
        else Kind.POLL
        if action in RESULTS
        else Kind.OTHER
    )


def _whole(text: str | None, usual: int) -> int:
    return int(text) if text and text.isdecimal() else usual
