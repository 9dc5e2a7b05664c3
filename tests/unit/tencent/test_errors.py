"""Tencent Cloud: errors."""

from __future__ import annotations

import httpx
import pytest

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Job
from genpulse.providers.tencent import Tencent
from genpulse.schemas.states import MediaKind
from tests.clouds import Files, World
from tests.unit.tencent.shared import (
    HUB,
    JOB,
    PRO,
    SYNC,
    TASKS,
    TEXT,
    VOD,
    VOD_PICTURE,
    account,
    answering,
    api_error,
    call,
    least,
)

CODES: list[tuple[str, type[GenPulseError]]] = [
    ("ActionOffline", ProviderQuotaSpent),
    ("AuthFailure.InvalidAuthorization", ProviderAuthFailed),
    ("AuthFailure.InvalidSecretId", ProviderAuthFailed),
    ("AuthFailure.MFAFailure", ProviderAuthFailed),
    ("AuthFailure.SecretIdNotFound", ProviderAuthFailed),
    ("AuthFailure.SignatureExpire", ProviderAuthFailed),
    ("AuthFailure.SignatureFailure", ProviderAuthFailed),
    ("AuthFailure.TokenFailure", ProviderAuthFailed),
    ("AuthFailure.UnauthorizedOperation", ProviderAuthFailed),
    ("UnauthorizedOperation", ProviderAuthFailed),
    ("FailedOperation.InvalidVodUser", ProviderAuthFailed),
    ("InternalError", ProviderUnavailable),
    ("InternalError.DBError", ProviderUnavailable),
    ("FailedOperation.InnerError", ProviderUnavailable),
    ("FailedOperation.ServerError", ProviderUnavailable),
    ("FailedOperation.RpcFail", ProviderUnavailable),
    ("FailedOperation.Unknown", ProviderUnavailable),
    ("FailedOperation.ConsoleServerError", ProviderUnavailable),
    ("FailedOperation.EngineServerError", ProviderUnavailable),
    ("FailedOperation.DriverFailed", ProviderUnavailable),
    ("FailedOperation.ModerationResponseError", ProviderUnavailable),
    ("FailedOperation.RequestTimeout", OutcomeUnknown),
    ("FailedOperation.EngineRequestTimeout", OutcomeUnknown),
    ("InvalidAction", ProviderRejected),
    ("InvalidParameter", ProviderRejected),
    ("InvalidParameter.ImageProcessingFailureError", ProviderRejected),
    ("InvalidParameterValue", ProviderRejected),
    ("InvalidParameterValue.TextLengthExceed", ProviderRejected),
    ("MissingParameter", ProviderRejected),
    ("NoSuchVersion", ProviderRejected),
    ("UnknownParameter", ProviderRejected),
    ("UnsupportedOperation", ProviderRejected),
    ("FailedOperation.ImageDecodeFailed", ProviderRejected),
    ("FailedOperation.ImageDownloadError", ProviderRejected),
    ("FailedOperation.RequestEntityTooLarge", ProviderRejected),
    ("LimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded.UinLimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded.GlobalRegionUinLimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded.JobNumExceed", ProviderThrottled),
    ("FailedOperation.EngineServerLimitExceeded", ProviderThrottled),
    ("OperationDenied.TextIllegalDetected", ContentBlocked),
    ("OperationDenied.ImageIllegalDetected", ContentBlocked),
    ("FailedOperation.GenerateImageFailed", ContentBlocked),
    ("FailedOperation.ModerationFailed", ContentBlocked),
    ("FailedOperation.ModerationAudioFailed", ContentBlocked),
    ("InvalidParameter.ViolationContent", ContentBlocked),
    ("ResourceUnavailable.InArrears", ProviderQuotaSpent),
    ("ResourceUnavailable.LowBalance", ProviderQuotaSpent),
    ("ResourceUnavailable.NotExist", ProviderQuotaSpent),
    ("ResourceUnavailable.StopUsing", ProviderQuotaSpent),
    ("ResourceUnavailable.Delivering", ProviderQuotaSpent),
    ("ResourcesSoldOut.ChargeStatusException", ProviderQuotaSpent),
    ("ResourceInsufficient", ProviderQuotaSpent),
    ("ResourceInsufficient.ChargeResourceExhaust", ProviderQuotaSpent),
    ("FailedOperation.ServiceNotActivated", ProviderQuotaSpent),
    ("FailedOperation.ServiceStop", ProviderQuotaSpent),
    ("FailedOperation.ServiceStopArrears", ProviderQuotaSpent),
    ("FailedOperation.ResourcePackExhausted", ProviderQuotaSpent),
    ("FailedOperation.FreeResourcePackExhausted", ProviderQuotaSpent),
    ("FailedOperation.UserUnAuthError", ProviderQuotaSpent),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
async def test_a_code_of_api_3(code: str, kind: type[GenPulseError]) -> None:
    for model in (VOD, JOB):
        with pytest.raises(kind, match=code) as error:
            await answering(200, api_error(code)).submit(call(model, TEXT, prompt="a fox"))
        assert type(error.value) is kind


@pytest.mark.parametrize("code", ["FailedOperation.JobNotExist", "FailedOperation.JobNotFound"])
async def test_a_job_that_vclm_does_not_know(code: str) -> None:
    with pytest.raises(JobMissing):
        await answering(200, api_error(code)).poll(Job(id="1", handle={"action": "TextToVideoJob"}), call(JOB))


async def test_a_timeout_when_asking_is_no_unknown_outcome() -> None:
    cloud = answering(200, api_error("FailedOperation.RequestTimeout"))
    with pytest.raises(ProviderUnavailable):
        await cloud.poll(Job(id="1", handle={"action": "TextToVideoJob"}), call(JOB))


EXTENDED: list[tuple[str, type[GenPulseError]]] = [
    ("RequestLimitExceeded", ProviderFailed),
    ("FailedOperation", ProviderFailed),
    ("ResourceInsufficient", ProviderFailed),
    ("InternalError", ProviderFailed),
    ("TaskTimeout", ProviderFailed),
    ("ModelGenerateFailed", ProviderFailed),
    ("OperationCanceled", ProviderFailed),
    ("InvalidParameter.VoilationContent", ContentBlocked),
    ("ContentModerationFailed", ContentBlocked),
    ("InvalidParameter", ProviderRejected),
    ("InvalidParameterValue", ProviderRejected),
    ("InvalidParameter.MediaFormat", ProviderRejected),
    ("ResourceNotFound", ProviderRejected),
]


@pytest.mark.parametrize(("code", "kind"), EXTENDED)
async def test_what_a_task_of_vod_failed_with(code: str, kind: type[GenPulseError]) -> None:
    for number in (0, 70000):
        task = {"Status": "FINISH", "ErrCode": number, "ErrCodeExt": code, "Message": "no"}
        for name in ("AigcVideoTask", "AigcImageTask"):
            cloud = answering(200, {"Response": {"Status": "FINISH", name: task}})
            with pytest.raises(kind, match=code) as error:
                await cloud.poll(Job(id="1"), call(VOD))
            assert type(error.value) is kind


async def test_an_aborted_task_of_vod() -> None:
    with pytest.raises(ProviderFailed, match="aborted"):
        await answering(200, {"Response": {"Status": "ABORTED"}}).poll(Job(id="1"), call(VOD))


@pytest.mark.parametrize(
    ("status", "error", "code", "kind"),
    [
        (400, "invalid_request_error", "400001", ProviderRejected),
        (400, "invalid_request_error", "400004", ProviderRejected),
        (401, "authentication_error", "401002", ProviderAuthFailed),
        (402, "permission_error", "401007", ProviderQuotaSpent),
        (402, "permission_error", "403004", ProviderQuotaSpent),
        (403, "permission_error", "403001", ProviderAuthFailed),
        (429, "rate_limit_error", "429001", ProviderThrottled),
        (451, "content_filter_error", "451001", ContentBlocked),
        (502, "upstream_error", "502001", ProviderUnavailable),
        (500, "new_error", "500001", OutcomeUnknown),
    ],
)
async def test_an_error_of_tokenhub(status: int, error: str, code: str, kind: type[GenPulseError]) -> None:
    body = {"error": {"type": error, "code": code, "message": "no", "source": "gateway", "request_id": "1"}}
    for model in (HUB, "hy-image-3.0"):
        with pytest.raises(kind) as raised:
            await answering(status, body).submit(call(model, None, prompt="a fox"))
        assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", ProviderAuthFailed),
        (403, "SignatureDoesNotMatch", ProviderAuthFailed),
        (403, "InvalidAccessKeyId", ProviderAuthFailed),
        (404, "NoSuchBucket", ProviderAuthFailed),
        (400, "InvalidArgument", ProviderRejected),
        (503, "SlowDown", ProviderThrottled),
        (500, "InternalError", ProviderUnavailable),
        (503, "ServiceUnavailable", ProviderUnavailable),
    ],
)
async def test_an_error_of_the_bucket(files: Files, status: int, code: str, kind: type[GenPulseError]) -> None:
    text = f"<?xml version='1.0' encoding='utf-8' ?><Error><Code>{code}</Code><Message>no</Message></Error>"
    for method in ("PUT", "GET"):

        def answer(request: httpx.Request, method: str = method) -> httpx.Response:
            return httpx.Response(status, text=text) if request.method == method else httpx.Response(200)

        asked = call("ci-super-resolution", None, {"image": [files[MediaKind.IMAGE]]})
        with pytest.raises(kind, match=code) as error:
            await account(httpx.MockTransport(answer)).submit(asked)
        assert type(error.value) is kind


@pytest.mark.parametrize("body", [{}, {"Response": {}}, {"Response": {"RequestId": "1"}}, {"Response": "x"}, [], "x"])
@pytest.mark.parametrize("model", [VOD, VOD_PICTURE, JOB, PRO, HUB])
async def test_an_answer_without_a_task_is_no_answer(model: str, body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call(model, None, prompt="a fox"))


async def test_an_empty_file_is_no_answer(files: Files) -> None:
    cloud = account(httpx.MockTransport(lambda _request: httpx.Response(200)))
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call("ci-super-resolution", None, {"image": [files[MediaKind.IMAGE]]}))


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
@pytest.mark.parametrize("model", TASKS)
async def test_a_task_that_fails(
    world: World[Tencent], files: Files, model: str, code: str, kind: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(least(model, files))) is kind


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderUnavailable)])
@pytest.mark.parametrize("model", ["refine-image", "enhance-image", "hy-image-3.0", "hy-image-lite"])
async def test_what_fails_within_the_answer(
    world: World[Tencent], files: Files, model: str, code: str, kind: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(least(model, files))) is kind


@pytest.mark.parametrize("model", [*TASKS, *SYNC])
async def test_throttled_broken_and_wrong_in_the_clouds_words(world: World[Tencent], files: Files, model: str) -> None:
    for fault, kind in (("rate_limited", ProviderThrottled), ("server_error", ProviderUnavailable)):
        world.fault(type=fault)
        assert type(await world.refused(least(model, files))) is kind
    world.fault(type="latency", seconds=0)
    wrong = least(model, files, options={"Surprise": 1})
    assert type(await world.refused(wrong)) is ProviderRejected
