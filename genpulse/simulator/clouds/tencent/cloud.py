"""Tencent Cloud: the services of API 3.0 behind one path, TokenHub under `/v1`, and a bucket for all the rest."""

from __future__ import annotations

import json
import secrets
import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.tencent import bodies
from genpulse.simulator.clouds.tencent.bucket import Bucket
from genpulse.simulator.clouds.tencent.hub import Hub, hub_error
from genpulse.simulator.clouds.tencent.jobs import SUBMISSIONS, JobQuery, described, queried
from genpulse.simulator.clouds.tencent.mps import Mps
from genpulse.simulator.clouds.tencent.signature import api_error, check_cos, check_tc3, cos_error
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import TENCENT
from genpulse.simulator.jobs import Failure, File, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_VERSIONS = {
    "vod": "2018-07-17",
    "vclm": "2024-05-23",
    "aiart": "2022-12-29",
    "tiia": "2019-05-29",
    "mps": "2019-06-12",
}
_AT_ONCE = 20  # jobs of one kind, as of an account that has bought some
_REMEMBERED = 3 * 24 * 3600
_TASK_STATUS = {State.QUEUED: "WAITING", State.RUNNING: "PROCESSING"}
_VIDEO_TASK, _PICTURE_TASK = "AigcVideoTask", "AigcImageTask"
Handler = Callable[[Call], Awaitable[Response]]


class Tencent(Cloud):
    name = "tencent"
    credentials = TENCENT
    media_lifetime = 7 * 24 * 3600

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/", self.act, _kind_of_action),
            *Hub(self).routes(),
            *Bucket(self).routes(),
        ]

    def actions(self) -> dict[str, dict[str, Handler]]:
        """By service."""
        vclm: dict[str, Handler] = {f"Submit{action}": self.submit_job for action in SUBMISSIONS}
        vclm |= {f"Describe{action}": self.describe_job for action in SUBMISSIONS}
        aiart: dict[str, Handler] = dict.fromkeys(bodies.AIART, self.make_picture)
        aiart |= {"SubmitTextToImageProJob": self.submit_picture, "QueryTextToImageProJob": self.query_picture}
        return {
            "vod": {
                "CreateAigcVideoTask": self.create_video_task,
                "CreateAigcImageTask": self.create_picture_task,
                "DescribeTaskDetail": self.describe_task,
                "DescribeTasks": self.list_tasks,
            },
            "vclm": vclm,
            "aiart": aiart,
            "tiia": {"EnhanceImage": self.enhance},
            "mps": Mps(self, Bucket(self)).actions(),
        }

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        now = self.world.clock.now()
        if _is_hub(call):
            if call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
                raise hub_error(401, "authentication_error", "401002", "The API key is invalid.")
        elif _is_api(call):
            _check_action(call, check_tc3(call, now), self.actions())
        else:
            check_cos(call, now)

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if _is_hub(call):
            return hub_error(400, "invalid_request_error", "400001", f"{where}: {first['msg']}")
        if first["type"] == "extra_forbidden":
            return api_error("UnknownParameter", f"The parameter `{where}` is not recognized.")
        if first["type"] == "missing":
            return api_error("MissingParameter", f"The request is missing the required parameter `{where}`.")
        return api_error("InvalidParameterValue", f"The value of the parameter `{where}` is invalid: {first['msg']}.")

    def not_found(self, call: Call) -> Refusal:
        if _is_hub(call):
            return hub_error(404, "invalid_request_error", "404001", "The task does not exist.")
        if _is_api(call):
            is_task = _action(call).startswith(("DescribeTask", "DescribeImageTask"))
            code = "ResourceNotFound" if is_task else "FailedOperation.JobNotExist"
            return api_error(code, "The task does not exist.")
        return cos_error(call, 404, "NoSuchKey", "The specified key does not exist.")

    def throttled(self, call: Call) -> Refusal:
        if _is_hub(call):
            return hub_error(429, "rate_limit_error", "429001", "Too many requests: rpm.")
        if _is_api(call):
            return api_error("RequestLimitExceeded", "The number of requests exceeds the frequency limit.")
        return cos_error(call, 503, "SlowDown", "Please reduce your request rate.")

    def broken(self, call: Call, status: int) -> Refusal:
        if _is_hub(call):
            return hub_error(502, "upstream_error", "502001")
        if _is_api(call):
            return api_error("InternalError", "An internal error has occurred.")
        return cos_error(call, status, "ServiceUnavailable", "Please reduce your request rate.")

    # API 3.0 ---------------------------------------------------------------------------------------------------------

    async def act(self, call: Call) -> Response:
        found = {name: handler for service in self.actions().values() for name, handler in service.items()}
        return await found[_action(call)](call)

    # VOD -------------------------------------------------------------------------------------------------------------

    async def create_video_task(self, call: Call) -> Response:
        asked = call.read(bodies.VideoTask)
        width, height = asked.output_config.size("768P" if asked.model_name == "Hailuo" else "720P")
        seconds = asked.output_config.duration or 5
        return self._create_task(call, asked, _VIDEO_TASK, [Media(Format.MP4, width, height, seconds=seconds)])

    async def create_picture_task(self, call: Call) -> Response:
        asked = call.read(bodies.PictureTask)
        width, height = _exact(asked.ext_info) or asked.output_config.size("1K")
        form = Format.PNG if asked.output_config.output_format == "png" else Format.JPEG
        count = asked.output_config.output_image_count or 1
        media = [Media(form, width, height, variant=number) for number in range(count)]
        return self._create_task(call, asked, _PICTURE_TASK, media)

    def _create_task(
        self, call: Call, asked: bodies.VideoTask | bodies.PictureTask, kind: str, media: list[Media]
    ) -> Response:
        self._check_account(asked.sub_app_id)
        before = self.created_with(asked.session_id) if asked.session_id else None
        if before and self.world.clock.now() - before.created_at < _REMEMBERED:
            raise api_error("FailedOperation.TaskDuplicate", "A task with this SessionId exists.")
        job = self.create(
            call,
            id=f"{self.credentials.options['sub_app_id']}-{kind}-{secrets.token_hex(16)}",
            media=media,
            model=f"{asked.model_name} {asked.model_version}",
            prompt=asked.prompt,
            key=asked.session_id or None,
            body=asked.model_dump(by_alias=True, exclude_unset=True),
            extra={"kind": kind, "context": asked.session_context},
        )
        return _told({"TaskId": job.id})

    async def describe_task(self, call: Call) -> Response:
        asked = call.read(bodies.TaskDetail)
        self._check_account(asked.sub_app_id)
        job = self.job(call, asked.task_id)
        if "kind" not in job.extra:
            raise self.not_found(call)
        state = job.poll()
        kind: str = job.extra["kind"]
        return _told(self._times(job) | {"TaskType": kind, "Status": _status(state), kind: _task(job, state)})

    async def list_tasks(self, call: Call) -> Response:
        asked = call.read(bodies.TaskList)
        self._check_account(asked.sub_app_id)
        tasks = [job for job in self.jobs() if "kind" in job.extra]
        if asked.sort and asked.sort.order == "Asc":
            tasks.reverse()
        shown = [self._simple(job) for job in tasks if asked.status in (None, _status(job.state))]
        start = int(asked.scroll_token or 0)
        end = start + asked.limit
        return _told({"TaskSet": shown[start:end], "ScrollToken": str(end) if end < len(shown) else ""})

    def _simple(self, job: Job) -> dict[str, Any]:
        about = {"TaskId": job.id, "TaskType": job.extra["kind"], "Status": _status(job.state)}
        return self._times(job) | about | {"SessionId": job.key or "", "SessionContext": job.extra["context"]}

    def _times(self, job: Job) -> dict[str, str]:
        ended = job.ended_at
        return {
            "CreateTime": _iso(job.created_at),
            "BeginProcessTime": _iso(job.started_at),
            "FinishTime": _iso(ended) if ended else "",
        }

    def _check_account(self, sub_app: int | None) -> None:
        if str(sub_app) != self.credentials.options["sub_app_id"]:
            raise api_error("InvalidParameterValue.SubAppId", "The value of the parameter `SubAppId` is invalid.")

    # vclm ------------------------------------------------------------------------------------------------------------

    async def submit_job(self, call: Call) -> Response:
        action = _action(call).removeprefix("Submit")
        asked = call.read(SUBMISSIONS[action])
        running = [job for job in self.jobs() if job.extra.get("action") == action and not job.state.ended]
        if len(running) >= _AT_ONCE:
            raise api_error("RequestLimitExceeded.JobNumExceed", "The number of jobs exceeds the limit.")
        side = asked.short_side
        job = self.create(
            call,
            id=str(10**18 + secrets.randbelow(9 * 10**18)),
            media=[Media(Format.MP4, round(side * 16 / 9), side, seconds=asked.seconds)],
            model=action,
            prompt=asked.prompt,
            body=asked.model_dump(by_alias=True, exclude_unset=True),
            callback_url=asked.callback_url,
            extra={"action": action},
        )
        return _told({"JobId": job.id})

    async def describe_job(self, call: Call) -> Response:
        job = self.job(call, call.read(JobQuery).job_id)
        if job.extra.get("action") != _action(call).removeprefix("Describe"):
            raise self.not_found(call)
        return _told(described(job, job.poll()))

    def callback(self, job: Job, state: State) -> Callback | None:
        told = {"JobId": job.id} | described(job, state)
        if "Vidu" in job.extra["action"]:
            if not state.ended:
                return None
            told["status"] = "success" if state is State.SUCCEEDED else "failed"
        return Callback(json.dumps(told).encode())

    # aiart and tiia --------------------------------------------------------------------------------------------------

    async def make_picture(self, call: Call) -> Response:
        asked = call.read(bodies.AIART[_action(call)])
        job = await self._made(call, asked, _action(call), Media(Format.JPEG, 2048, 2048))
        made = ""
        if job.files:
            file = job.files[0]
            made = file.url if asked.rsp_img_type == "url" else b64encode(file.read()).decode()
        return _told({"ResultImage": made})

    async def submit_picture(self, call: Call) -> Response:
        asked = call.read(bodies.Pro)
        width, height = asked.resolution.split(":")
        job = self.create(
            call,
            id=f"1259388371-{int(self.world.clock.now())}-{uuid.uuid4()}-0",
            media=[Media(Format.PNG, int(width), int(height))],
            model="TextToImageProJob",
            prompt=asked.prompt,
            body=asked.model_dump(by_alias=True, exclude_unset=True),
        )
        return _told({"JobId": job.id})

    async def query_picture(self, call: Call) -> Response:
        job = self.job(call, call.read(JobQuery).job_id)
        if job.model != "TextToImageProJob":
            raise self.not_found(call)
        return _told(queried(job, job.poll()))

    async def enhance(self, call: Call) -> Response:
        job = await self._made(call, call.read(bodies.Enhance), "EnhanceImage", Media(Format.JPEG, 1024, 1024))
        return _told({"EnhancedImage": b64encode(job.files[0].read()).decode() if job.files else ""})

    async def _made(self, call: Call, asked: bodies.Body, action: str, media: Media) -> Job:
        """Once it is; raises what it fails with."""
        body = asked.model_dump(by_alias=True, exclude_unset=True)
        job = self.create(call, media=[media], model=action, prompt=body.get("Prompt"), body=body)
        if await self.finish(job) is State.FAILED:
            if job.failure is Failure.CONTENT:
                raise api_error("OperationDenied.ImageIllegalDetected", "The image did not pass moderation.")
            raise api_error("FailedOperation.InnerError", "An internal error has occurred.")
        return job


def _action(call: Call) -> str:
    return call.headers.get("X-TC-Action", "")


def _is_hub(call: Call) -> bool:
    return call.inner_path.startswith("/v1/")


def _is_api(call: Call) -> bool:
    return call.inner_path == "/" and call.request.method == "POST"


def _kind_of_action(call: Call) -> Kind:
    action = _action(call)
    if action == "DescribeTasks":
        return Kind.OTHER
    return Kind.POLL if action.startswith(("Describe", "Query")) else Kind.SUBMIT


def _check_action(call: Call, service: str, actions: dict[str, dict[str, Handler]]) -> None:
    if service not in actions or _action(call) not in actions[service]:
        raise api_error("InvalidAction", "The requested API does not exist or is not open.")
    if call.headers.get("X-TC-Version") != _VERSIONS[service]:
        raise api_error("NoSuchVersion", "The API version does not exist.")
    if service != "vod" and not call.headers.get("X-TC-Region"):
        raise api_error("MissingParameter", "The request is missing a required parameter `Region`.")


def _status(state: State) -> str:
    return _TASK_STATUS.get(state, "FINISH")


def _task(job: Job, state: State) -> dict[str, Any]:
    """A task that has failed is finished, too."""
    done, failed = state is State.SUCCEEDED, state is State.FAILED
    code = "ContentModerationFailed" if job.failure is Failure.CONTENT else "ModelGenerateFailed"
    told = {
        "TaskId": job.id,
        "Status": "FINISH" if state.ended else "PROCESSING",
        "ErrCode": 70000 if failed else 0,
        "ErrCodeExt": code if failed else "",
        "Message": f"The task failed: {code}." if failed else "",
        "Progress": 100 if state.ended else 0 if state is State.QUEUED else 40,
        "SessionId": job.key or "",
        "SessionContext": job.extra["context"],
        "Input": {name: value for name, value in job.body.items() if name in ("ModelName", "ModelVersion", "Prompt")},
    }
    if done:
        told["Output"] = {"FileInfos": [_file(file) for file in job.files]}
        if job.extra["kind"] == _VIDEO_TASK:
            told["Output"]["Usage"] = {"OutputSeconds": job.media[0].seconds}
    return told


def _file(file: File) -> dict[str, Any]:
    media = file.media
    facts = {"Width": media.width, "Height": media.height, "Duration": 0 if media.format.is_image else media.seconds}
    return {"StorageMode": "Temporary", "FileType": media.format, "FileUrl": file.url, "MetaData": facts}


def _exact(ext_info: str | None) -> tuple[int, int] | None:
    """A size of the caller's own is JSON within JSON."""
    try:
        width, height = json.loads(json.loads(ext_info or "")["AdditionalParameters"])["size"].split("x")
        return int(width), int(height)
    except (ValueError, KeyError, TypeError):
        return None


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _told(body: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"Response": body | {"RequestId": str(uuid.uuid4())}})
