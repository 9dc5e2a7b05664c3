"""Volcengine: errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Credentials, Job, Media, ModelCall
from genpulse.providers.volcengine import Volcengine
from tests.clouds import World
from tests.unit.volcengine.shared import (
    BASE,
    JIMENG,
    LENS,
    SEEDANCE,
    SEEDREAM,
    answering,
    call_of,
    upscaling,
    video,
)

ARK_ERRORS: list[tuple[int, str, type[GenPulseError]]] = [
    (400, "MissingParameter.prompt", ProviderRejected),
    (400, "InvalidParameter", ProviderRejected),
    (400, "InvalidParameter.UnsupportedParameter", ProviderRejected),
    (400, "InvalidParameter.TaskTypeConstraint", ProviderRejected),
    (400, "InvalidImageURL.InvalidFormat", ProviderRejected),
    (400, "InvalidImageURL.EmptyURL", ProviderRejected),
    (400, "InvalidEndpoint.ClosedEndpoint", ProviderRejected),
    (400, "SensitiveContentDetected.Violence", ContentBlocked),
    (400, "InputTextSensitiveContentDetected", ContentBlocked),
    (400, "InputImageSensitiveContentDetected.PrivacyInformation", ContentBlocked),
    (400, "SensitiveContentDetected", ContentBlocked),
    (400, "InputVideoSensitiveContentDetected.PolicyViolation", ContentBlocked),
    (400, "InputAudioSensitiveContentDetected", ContentBlocked),
    (400, "OutputTextSensitiveContentDetected", ContentBlocked),
    (400, "OutputAudioSensitiveContentDetected", ContentBlocked),
    (400, "OutputVideoSensitiveContentDetected.DeepFake", ContentBlocked),
    (401, "AuthenticationError", ProviderAuthFailed),
    (401, "InvalidAccountStatus", ProviderAuthFailed),
    (403, "AccessDenied", ProviderAuthFailed),
    (403, "OperationDenied.PermissionDenied", ProviderAuthFailed),
    (403, "OperationDenied.ServiceNotOpen", ProviderAuthFailed),
    (403, "OperationDenied.ServiceOverdue", ProviderQuotaSpent),
    (403, "AccountOverdueError", ProviderQuotaSpent),
    (404, "InvalidEndpointOrModel.NotFound", ProviderRejected),
    (404, "InvalidEndpointOrModel.ModelIDAccessDisabled", ProviderRejected),
    (404, "ModelNotOpen", ProviderRejected),
    (404, "NotFound", ProviderRejected),
    (429, "RateLimitExceeded.EndpointRPMExceeded", ProviderThrottled),
    (429, "ModelAccountIpmRateLimitExceeded", ProviderThrottled),
    (429, "RateLimitExceeded.EndpointTPMExceeded", ProviderThrottled),
    (429, "ModelAccountRpmRateLimitExceeded", ProviderThrottled),
    (429, "ModelAccountTpmRateLimitExceeded", ProviderThrottled),
    (429, "APIAccountRpmRateLimitExceeded", ProviderThrottled),
    (429, "AccountRateLimitExceeded", ProviderThrottled),
    (429, "RequestBurstTooFast", ProviderThrottled),
    (429, "InflightBatchsizeExceeded", ProviderThrottled),
    (429, "ModelLoadingError", ProviderThrottled),
    (429, "ServerOverloaded", ProviderThrottled),
    (429, "QuotaExceeded", ProviderThrottled),
    (429, "SetLimitExceeded", ProviderQuotaSpent),
    (500, "InternalServiceError", ProviderUnavailable),
    (500, "ContentSecurityDetectionError", ProviderUnavailable),
    (500, "SomethingNew", OutcomeUnknown),
    (400, "SomethingNew", ProviderRejected),
]


@pytest.mark.parametrize(("status", "code", "error"), ARK_ERRORS)
@pytest.mark.parametrize("model", [SEEDREAM, SEEDANCE])
async def test_what_ark_s_codes_mean(model: str, status: int, code: str, error: type[GenPulseError]) -> None:
    body = {"error": {"code": code, "message": "no", "param": "size", "type": "BadRequest"}}
    async with answering(status, body) as account:
        with pytest.raises(GenPulseError) as told:
            await account.submit(call_of(model))
    assert type(told.value) is error
    assert "no" in told.value.message


async def test_a_full_queue_is_left_alone_for_a_while() -> None:
    async with answering(429, {"error": {"code": "QuotaExceeded", "message": "no"}}) as account:
        with pytest.raises(ProviderThrottled) as told:
            await account.submit(video())
    assert told.value.details["retry_after"] == 60


VISUAL_ERRORS: list[tuple[int, int, type[GenPulseError]]] = [
    *((400, code, ContentBlocked) for code in (50411, 50412, 50413, 50511, 50512, 50516, 50517, 50518, 50519)),
    *((400, code, ProviderFailed) for code in (50520, 50521, 50522)),
    (429, 50429, ProviderThrottled),
    (429, 50430, ProviderThrottled),
    (500, 50500, ProviderUnavailable),
    (500, 50501, ProviderUnavailable),
    (400, 50215, ProviderRejected),
    (500, 59999, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "code", "error"), VISUAL_ERRORS)
async def test_what_visual_s_codes_mean(status: int, code: int, error: type[GenPulseError]) -> None:
    async with answering(status, {"code": code, "data": None, "message": "no", "status": code}) as account:
        with pytest.raises(GenPulseError) as told:
            await account.submit(call_of(JIMENG))
    assert type(told.value) is error


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "SignatureDoesNotMatch", ProviderAuthFailed),
        (200, "InvalidAccessKey", ProviderAuthFailed),
        (400, "InvalidTimestamp", ProviderAuthFailed),
        (403, "AccessDenied", ProviderAuthFailed),
        (403, "SomethingNew", ProviderAuthFailed),
        (404, "InvalidActionOrVersion", ProviderRejected),
        (429, "FlowLimitExceeded", ProviderThrottled),
        (500, "SomethingNew", OutcomeUnknown),
    ],
)
async def test_what_the_gateway_s_codes_mean(status: int, code: str, error: type[GenPulseError]) -> None:
    body = {"ResponseMetadata": {"Error": {"CodeN": 1, "Code": code, "Message": "no"}}, "code": 10000}
    async with answering(status, body) as account:
        with pytest.raises(GenPulseError) as told:
            await account.submit(call_of(JIMENG))
    assert type(told.value) is error


LINKED = Media(path=Path("none.png"), media_type="image/png", url="https://files.example/a.png")
CALLS = {
    "image": call_of(SEEDREAM),
    "video": video(),
    "visual": call_of(JIMENG),
    "visual at once": upscaling(LINKED, LENS, {}),
}
EACH = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@EACH
async def test_wrong_credentials_are_refused(world: World[Volcengine], call: ModelCall) -> None:
    wrong = world.account(api_key="other", access_key="AKLTsim", secret_key="other")
    none = Volcengine(BASE, Credentials(), world.http)
    with pytest.raises(ProviderAuthFailed):
        await wrong.submit(call)
    with pytest.raises(ProviderAuthFailed, match="this model needs"):
        await none.submit(call)


async def test_a_clock_that_is_wrong_is_refused(world: World[Volcengine]) -> None:
    world.clock.advance(16 * 60)
    with pytest.raises(ProviderAuthFailed, match="expired"):
        await world.account().submit(call_of(JIMENG))


async def test_an_unknown_access_key_and_none_are_refused(world: World[Volcengine]) -> None:
    unknown = world.account(access_key="AKother", secret_key="sim-volcengine-secret")
    with pytest.raises(ProviderAuthFailed, match="access key is unknown"):
        await unknown.submit(call_of(JIMENG))
    answer = await world.http.post("http://sim/volcengine/?Action=CVSync2AsyncSubmitTask&Version=2022-08-31")
    assert answer.json()["ResponseMetadata"]["Error"]["Code"] == "MissingAuthenticationToken"


@EACH
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"type": "rate_limited"}, ProviderThrottled),
        ({"type": "server_error", "status": 500}, ProviderUnavailable),
        ({"type": "server_error", "html": True}, OutcomeUnknown),
        ({"type": "lost_answer"}, OutcomeUnknown),
        ({"type": "malformed"}, OutcomeUnknown),
        ({"type": "hung"}, OutcomeUnknown),
    ],
    ids=lambda one: one.get("type") if isinstance(one, dict) else "",
)
async def test_what_can_go_wrong_on_the_way(
    world: World[Volcengine], call: ModelCall, fault: dict[str, Any], error: type[GenPulseError]
) -> None:
    world.fault(**fault)
    with pytest.raises(error):
        await world.account().submit(call)


@EACH
@pytest.mark.parametrize(("code", "error"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_what_a_job_failed_with(
    world: World[Volcengine], call: ModelCall, code: str, error: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    expected = ProviderUnavailable if call.model in {SEEDREAM, LENS} and code == "internal" else error
    with pytest.raises(expected):
        await world.made(call)


async def test_a_set_without_one_picture_is_refused() -> None:
    refused = {"error": {"code": "OutputImageSensitiveContentDetected", "message": "no"}}
    async with answering(200, {"data": [refused]}) as account:
        with pytest.raises(ContentBlocked):
            await account.submit(call_of(SEEDREAM))


async def test_pictures_are_in_the_answer_or_nowhere(world: World[Volcengine]) -> None:
    world.fault(type="no_outputs")
    with pytest.raises(ProviderFailed, match="without a picture"):
        await world.account().submit(call_of(SEEDREAM))
    async with answering(200, {"data": [{"b64_json": "abc"}]}) as account:
        with pytest.raises(OutcomeUnknown):
            await account.submit(call_of(SEEDREAM))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("failed", "InvalidParameter.TaskTypeMismatch", ProviderRejected),
        ("failed", "ServerOverloaded", ProviderFailed),
        ("failed", None, ProviderFailed),
        ("expired", None, ProviderFailed),
        ("cancelled", None, ProviderRejected),
    ],
)
async def test_how_a_task_can_end(status: str, code: str | None, error: type[GenPulseError]) -> None:
    task = {"id": "cgt-1", "status": status, "error": {"code": code, "message": "no"} if code else None}
    async with answering(200, task) as account:
        with pytest.raises(GenPulseError) as told:
            await account.poll(Job(id="cgt-1"), video())
    assert type(told.value) is error
