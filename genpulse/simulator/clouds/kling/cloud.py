"""Kling: two generations on one host, their two spellings of success, tokens, and signed callbacks."""

from __future__ import annotations

import hmac
import json
import secrets
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.kling.bodies import Body
from genpulse.simulator.clouds.kling.newer import TASKS, TaskQuery
from genpulse.simulator.clouds.kling.older import V1, FaceSearch, Page, Speech, V1Body, V1LipSync
from genpulse.simulator.clouds.kling.tasks import SPEECH, file_id, is_new, outputs, task, v1_task
from genpulse.simulator.clouds.replicate import webhook_signature
from genpulse.simulator.core import Cloud, Simulator
from genpulse.simulator.credentials import KLING
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_BROKEN = {503: (5001, "Service temporarily unavailable"), 504: (5002, "Internal timeout")}
_FACE = {"face_id": "0", "face_image": "", "start_time": 0, "end_time": 2000}


class Kling(Cloud):
    name = "kling"
    credentials = KLING
    media_lifetime = 30 * 24 * 3600
    slots: ClassVar[int | None] = None
    """Files at work at once of one model, as the account's pack has it; None: as many as wanted."""
    tokens_everywhere: ClassVar[bool] = True
    """Whether the new generation takes tokens, too; it is said not to."""

    def __init__(self, world: Simulator) -> None:
        super().__init__(world)
        self._sessions: set[str] = set()

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/account/costs", self.costs),
            Route("POST", "/v1/videos/identify-face", self.identify_face),
            Route("POST", SPEECH, self.speak, Kind.SUBMIT),
            *(Route("POST", path, self.create_v1, Kind.SUBMIT) for path in V1),
            *(Route("GET", path, self.list_v1) for path in V1),
            *(Route("GET", f"{path}/{{id}}", self.get_v1, Kind.POLL) for path in V1),
            Route("GET", "/tasks", self.get_tasks, Kind.POLL),
            Route("POST", "/tasks", self.list_tasks),
            Route("POST", "/{family}/{model}", self.create_task, Kind.SUBMIT),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        given = call.headers.get("Authorization")
        if not given:
            raise _refusal(401, 1001, "Authorization is empty")
        scheme, _, token = given.partition(" ")
        if scheme != "Bearer":
            raise _refusal(401, 1002, "Authorization is invalid")
        if token != self.credentials.api_key:
            self._check_token(token)
            if not self.tokens_everywhere and "/v1/" not in call.request.url.path:
                raise _refusal(401, 1002, "api key not found")

    def _check_token(self, token: str) -> None:
        """A JSON Web Token of the pair of keys (HS256)."""
        signed, _, signature = token.rpartition(".")
        expected = hmac.digest((self.credentials.secret_key or "").encode(), signed.encode(), "sha256")
        claims = _claims(signed)
        if _decoded(signature) != expected or claims.get("iss") != self.credentials.access_key:
            raise _refusal(401, 1002, "api key not found")
        now = self.world.clock.now()
        if claims.get("nbf", 0) > now:
            raise _refusal(401, 1003, "Authorization is not active yet")
        if claims.get("exp", 0) <= now:
            raise _refusal(401, 1004, "Authorization has expired")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        first = error.errors()[0]
        return _refusal(400, 1201, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return _refusal(404, 1203, "resource not found")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _refusal(429, 1302, "request rate too high")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _refusal(status, *_BROKEN.get(status, (5000, "Internal server error")))

    # The new generation ----------------------------------------------------------------------------------------------

    async def create_task(self, call: Call) -> Response:
        family, model = call.path["family"], call.path["model"]
        if family not in TASKS:
            raise self.not_found(call)
        form, models = TASKS[family]
        if model not in models:
            raise _refusal(404, 1203, f"model {model} does not exist")
        asked = call.read(form)
        job = self._create(
            call,
            asked,
            model=model,
            key=asked.options.external_task_id,
            callback_url=asked.options.callback_url,
        )
        return _answer(task(job, job.state))

    async def get_tasks(self, call: Call) -> Response:
        ids, keys = call.query.get("task_ids"), call.query.get("external_task_ids")
        if (ids is None) == (keys is None):
            raise _refusal(400, 1201, "task_ids or external_task_ids is required")
        found = (self._seen(call, one) for one in (ids or keys or "").split(","))
        return _answer([task(job, job.poll()) for job in found if job is not None and is_new(job)])

    async def list_tasks(self, call: Call) -> Response:
        asked = call.read(TaskQuery)
        tasks = [task(job, job.state) for job in self.jobs() if is_new(job)]
        chosen = [task for task in tasks if asked.wants(task)]
        end = asked.cursor + asked.limit
        page, more = chosen[asked.cursor : end], end < len(chosen)
        body: dict[str, Any] = {"count": len(page), "has_more": more}
        return _answer(body | ({"result": page} if page else {}) | ({"next_cursor": str(end)} if more else {}))

    # The older generation --------------------------------------------------------------------------------------------

    async def create_v1(self, call: Call) -> Response:
        path = _v1_path(call)
        form, models = V1[path]
        asked = call.read(form)
        if models and asked.model_name not in models:
            raise _refusal(404, 1203, f"model {asked.model_name} does not exist")
        self._check_parents(asked)
        job = self._create(
            call,
            asked,
            model=asked.model_name or path,
            key=asked.external_task_id,
            callback_url=asked.callback_url,
            path=path,
        )
        return _answer(v1_task(job, job.state))

    async def get_v1(self, call: Call) -> Response:
        job = self._seen(call, call.path["id"])
        if job is None or job.extra["path"] != _v1_path(call):
            raise self.not_found(call)
        return _answer(v1_task(job, job.poll()))

    async def list_v1(self, call: Call) -> Response:
        page = Page.model_validate(dict(call.query))
        jobs = [job for job in self.jobs() if job.extra["path"] == _v1_path(call)]
        start = (page.number - 1) * page.size
        return _answer([v1_task(job, job.state) for job in jobs[start : start + page.size]])

    async def identify_face(self, call: Call) -> Response:
        asked = call.read(FaceSearch)
        if asked.video_id is not None and asked.video_id not in self._video_ids():
            raise _refusal(400, 1201, "video_id is invalid")
        session = secrets.token_hex(16)
        self._sessions.add(session)
        return _answer({"session_id": session, "final_unit_deduction": "0.05", "face_data": [_FACE]})

    async def speak(self, call: Call) -> Response:
        """It is made within the answer, and is no task that could be asked for."""
        asked = call.read(Speech)
        media = [Media(Format.WAV, seconds=len(asked.text) / 10)]
        job = self.create(
            call, id=_new_id(), media=media, prompt=asked.text, body=asked.model_dump(), extra={"path": SPEECH}
        )
        return _answer(v1_task(job, await self.finish(job)))

    async def costs(self, call: Call) -> Response:
        if not (call.query.get("start_time") and call.query.get("end_time")):
            raise _refusal(400, 1201, "start_time and end_time are required")
        return _answer({"code": 0, "msg": "success"})

    # Jobs of both ----------------------------------------------------------------------------------------------------

    def _create(
        self, call: Call, asked: Body, *, model: str, key: str | None, callback_url: str | None, path: str | None = None
    ) -> Job:
        if key is not None and self.created_with(key) is not None:
            raise _refusal(400, 1201, "external_task_id already exists")
        taken = sum(len(job.media) for job in self.jobs() if job.model == model and not job.state.ended)
        if self.slots is not None and taken + asked.count > self.slots:
            raise _refusal(429, 1303, "parallel task over resource pack limit")
        return self.create(
            call,
            id=_new_id(),
            media=outputs(asked, path),
            model=model,
            prompt=asked.prompt,
            key=key,
            body=call.json(),
            callback_url=callback_url,
            extra={"path": path},
        )

    def _seen(self, call: Call, name: str) -> Job | None:
        """The job of that id, ours or the caller's."""
        job = self.created_with(name)
        try:
            return self.job(call, job.id if job else name)
        except Refusal:
            return None

    def _check_parents(self, asked: V1Body) -> None:
        """What a video or a session is needed for."""
        if isinstance(asked, V1LipSync) and asked.session_id not in self._sessions:
            raise _refusal(400, 1201, "session_id is invalid")
        video = getattr(asked, "video_id", None)
        if video is not None and video not in self._video_ids():
            raise _refusal(400, 1201, "video_id is invalid")

    def _video_ids(self) -> set[str]:
        return {file_id(job, number) for job in self.jobs() for number in range(len(job.files))}

    def callback(self, job: Job, state: State) -> Callback | None:
        shown = task(job, state) if is_new(job) else v1_task(job, state)
        body, message = json.dumps(shown).encode(), uuid.uuid4().hex
        timestamp = str(int(self.world.clock.now()))
        signature = webhook_signature(message, timestamp, body, self.credentials.webhook_secret)
        headers = {"webhook-id": message, "webhook-timestamp": timestamp, "webhook-signature": signature}
        return Callback(body, headers)


def _v1_path(call: Call) -> str:
    path = f"/v1/{call.request.url.path.partition('/v1/')[2]}"
    return path.removesuffix(f"/{call.path['id']}") if "id" in call.path else path


def _new_id() -> str:
    return str(10**17 + secrets.randbelow(9 * 10**17))


def _claims(signed: str) -> dict[str, Any]:
    try:
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) and header.get("alg") == "HS256" else {}


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _answer(data: object) -> Response:
    return JSONResponse({"code": 0, "message": "SUCCEED", "request_id": str(uuid.uuid4()), "data": data})


def _refusal(status: int, code: int, message: str) -> Refusal:
    return Refusal(status, {"code": code, "message": message, "request_id": str(uuid.uuid4())})
