"""The Open AI platform: access tokens, pictures made clearer within the answer, and AI painting as tasks."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.baidu import forms, painting
from genpulse.simulator.clouds.baidu.area import Area, place
from genpulse.simulator.clouds.baidu.signature import (
    ACCESS_TOKEN_SECONDS,
    access_token,
    access_token_expiry,
    wrong_signature,
)
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_PROCESS = "/rest/2.0/image-process/v1/"
_LARGER, _CLEANER = "image_quality_enhance", "denoise"
_ACTIONS = (
    *(_LARGER, "image_definition_enhance", "dehaze", "contrast_enhance"),
    *("colourize", "stretch_restore", "remove_moire", _CLEANER),
)
_BASIC, _EXTREME = "/rpc/2.0/wenxin/v1/basic", "/rpc/2.0/wenxin/v1/extreme"
_GATEWAY = "/rpc/2.0/cloud_hub/"
#: The second is where AppBuilder's clients ask, with a key of Qianfan.
_ADVANCED = ("/rpc/2.0/ernievilg/v1", f"{_GATEWAY}v1/bce/aip/ernievilg/v1")
_WORDS = [{"msg": "sensitive words", "words": ["fox"]}]


class Platform(Area):
    prefixes = ("/oauth/", "/rest/", "/rpc/")

    def routes(self) -> Sequence[Route]:
        return [
            *(Route(method, "/oauth/2.0/token", self.token, public=True) for method in ("GET", "POST")),
            *(Route("POST", f"{_PROCESS}{action}", self.process, Kind.SUBMIT) for action in _ACTIONS),
            Route("POST", f"{_BASIC}/textToImage", self.paint_basic, Kind.SUBMIT),
            Route("POST", f"{_BASIC}/getImg", self.get_basic, Kind.POLL),
            Route("POST", f"{_EXTREME}/textToImage", self.paint, Kind.SUBMIT),
            Route("POST", f"{_EXTREME}/getImg", self.get_painting, Kind.POLL),
            *(Route("POST", f"{path}/txt2imgv2", self.paint, Kind.SUBMIT) for path in _ADVANCED),
            *(Route("POST", f"{path}/getImgv2", self.get_painting, Kind.POLL) for path in _ADVANCED),
        ]

    # What every platform has to say ----------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.inner_path.startswith(_GATEWAY):
            if call.headers.get("X-Appbuilder-Authorization") != f"Bearer {self.cloud.credentials.api_key}":
                raise _problem(14, "IAM Certification failed")
        elif "Authorization" in call.headers:
            if wrong_signature(call, self.now) is not None:
                raise _problem(14, "IAM Certification failed")
        else:
            expires_at = access_token_expiry(call.query.get("access_token", ""))
            if expires_at is None:
                raise _problem(110, "Access token invalid or no longer valid")
            if expires_at <= self.now:
                raise _problem(111, "Access token expired")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        where, why = place(error)
        return _problem(282004, f"invalid parameter(s): {where}: {why}")

    def not_found(self, call: Call) -> Refusal:
        task = call.inner_path.rpartition("/")[2].startswith("getImg")
        return _problem(216100, "invalid param: no such task") if task else _problem(3, "Unsupported openapi method")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(18, "Open api qps request limit reached")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _problem(2, "Service temporarily unavailable")

    # Tokens ----------------------------------------------------------------------------------------------------------

    async def token(self, call: Call) -> Response:
        given, known = call.query, self.cloud.credentials.options
        if given.get("grant_type") != "client_credentials":
            raise _no_token("unsupported_grant_type", "The grant type is not supported")
        if given.get("client_id") != known["app_key"]:
            raise _no_token("invalid_client", "unknown client id")
        if given.get("client_secret") != known["app_secret"]:
            raise _no_token("invalid_client", "Client authentication failed")
        token = access_token(int(self.now) + ACCESS_TOKEN_SECONDS)
        scope = {"scope": "public brain_all_scope", "session_key": "", "session_secret": "", "refresh_token": "25.sim"}
        return JSONResponse({"access_token": token, "expires_in": ACCESS_TOKEN_SECONDS} | scope)

    # Pictures made clearer -------------------------------------------------------------------------------------------

    async def process(self, call: Call) -> Response:
        action = call.inner_path.removeprefix(_PROCESS)
        try:
            form, (width, height) = forms.read_form(call.body, forms.LARGER if action == _LARGER else forms.CLEARER)
        except forms.WrongForm as error:
            raise _problem(error.code, "the image is empty, too large or too small, or in a wrong format") from None
        if action == _CLEANER and not form.get("option", "").isdecimal():
            raise _problem(216100, "invalid param: option")
        factor = 2 if action == _LARGER else 1
        media = Media(Format.JPEG, width * factor, height * factor)
        job = self.cloud.create(call, media=[media], model=action, body=form, extra={"kind": "process"})
        if await self.cloud.finish(job) is State.FAILED:
            raise _refused() if job.failure is Failure.CONTENT else _problem(282000, "internal error")
        made = b64encode(job.files[0].read()).decode() if job.files else ""
        return JSONResponse({"log_id": _log_id(), "image": made})

    # AI painting -----------------------------------------------------------------------------------------------------

    async def paint_basic(self, call: Call) -> Response:
        asked = call.read(painting.Basic)
        media = [Media(Format.JPEG, *asked.sides, variant=number) for number in range(asked.num)]
        job = self._created(call, asked, "basic", media, asked.text)
        return _told({"taskId": job.id, "primaryTaskId": job.id})

    async def get_basic(self, call: Call) -> Response:
        """It has no word for a failure but the platform's own."""
        job = self.job(call, str(call.read(painting.BasicQuery).taskId), "basic")
        state = job.poll()
        if state is State.FAILED:
            raise _refused() if job.failure is Failure.CONTENT else _problem(painting.TIMED_OUT, "task timed out")
        return _told(painting.basic_view(job, state))

    async def paint(self, call: Call) -> Response:
        asked = call.read(painting.Advanced)
        media = [Media(Format.JPEG, asked.width, asked.height, variant=number) for number in range(asked.image_num)]
        job = self._created(call, asked, _flavour(call), media, asked.prompt)
        return _told({"task_id": job.id, "primary_task_id": int(job.id)})

    async def get_painting(self, call: Call) -> Response:
        job = self.job(call, str(call.read(painting.Query).task_id), _flavour(call))
        return _told(painting.view(job, job.poll()))

    def _created(self, call: Call, asked: BaseModel, kind: str, media: list[Media], prompt: str) -> Job:
        return self.cloud.create(
            call,
            id=str(10**18 + secrets.randbelow(8 * 10**18)),
            media=media,
            model=kind,
            prompt=prompt,
            body=asked.model_dump(exclude_unset=True),
            extra={"kind": kind},
        )


def _flavour(call: Call) -> str:
    return "extreme" if call.inner_path.startswith(_EXTREME) else "advanced"


def _problem(code: int, message: str, **more: Any) -> Refusal:
    """With status 200, whatever happens."""
    return Refusal(200, {"error_code": code, "error_msg": message, "log_id": _log_id()} | more)


def _refused() -> Refusal:
    return _problem(282004, "invalid parameter(s)", error_detail=_WORDS)


def _no_token(error: str, why: str) -> Refusal:
    return Refusal(401, {"error": error, "error_description": why})


def _told(data: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"log_id": _log_id(), "data": data})


def _log_id() -> int:
    return 10**18 + secrets.randbelow(10**18)
