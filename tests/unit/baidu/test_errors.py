"""Baidu Cloud: errors."""

from __future__ import annotations

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
from genpulse.providers.baidu import Baidu
from tests.clouds import Files, World
from tests.unit.baidu.shared import (
    ADVANCED,
    AT_ONCE,
    BASIC,
    LARGER,
    MUSE,
    PICTURE,
    TASKS,
    VOD,
    K,
    V,
    answering,
    call,
    least,
)


async def refusal(account: Baidu, model: str = PICTURE) -> GenPulseError:
    with pytest.raises(GenPulseError) as error:
        await account.submit(call(model, prompt="a fox"))
    return error.value


QIANFAN: list[tuple[int, str, str, type[GenPulseError]]] = [
    *((400, "invalid_request_error", code, ProviderRejected) for code in (
        *("malformed_json", "invalid_model", "invalid_messages", "characters_too_long", "tokens_too_long"),
        *("invalid_argument", "invalid_image_genration_prompt", "invalid_image_genration_refer_image"),
        *("invalid_image_url", "invalid_plugin_argument", "invalid_video_generation_argument"),
        "invalid_video_genration_argument",
    )),
    (400, "unsafe_request", "image_url_unsafe", ContentBlocked),
    (401, "access_denied", "no_parameter_permission", ProviderAuthFailed),
    *((401, "invalid_request_error", code, ProviderAuthFailed) for code in (
        *("invalid_model", "invalid_appid", "invalid_iam_token"),
    )),
    *((403, "unsafe_request", code, ContentBlocked) for code in (
        *("system_unsafe", "user_setting_unsafe", "functions_unsafe", "video_generation_prompt_unsafe"),
        *("video_generation_output_unsafe", "video_genration_prompt_unsafe"),
    )),
    (405, "method_not_supported", "method_not_supported", ProviderRejected),
    *((429, "rate_limit_exceeded", code, ProviderThrottled) for code in (
        *("rpm_rate_limit_exceeded", "tpm_rate_limit_exceeded", "input_tpm_rate_limit_exceeded"),
        *("output_tpm_rate_limit_exceeded", "preemptible_rate_limit_exceeded", "user_rate_limit_exceeded"),
        *("cluster_rate_limit_exceeded", "cluster_rpm_rate_limit_exceeded", "cluster_tpm_rate_limit_exceeded"),
        *("video_generation_concurrency_exceeded", "video_genration_concurrency_exceeded"),
    )),
    *((500, "internal_error", code, ProviderUnavailable) for code in (
        *("internal_error", "dispatch_internal_error", "image_genration_interal_error"),
        *("video_generation_internal_error", "video_genration_interal_error"),
    )),
    (501, "internal_error", "video_generation_risk_system_error", ProviderUnavailable),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "code", "error"), QIANFAN)
async def test_a_refusal_of_qianfan(status: int, kind: str, code: str, error: type[GenPulseError]) -> None:
    """By its code; without a known one by its type; without either by the status."""
    for told in ({"code": code, "type": kind}, {"code": code}, {"code": "something_new", "type": kind}):
        found = await refusal(answering(status, {"error": told | {"message": "no"}, "id": "as-1"}))
        assert type(found) is error
        assert f"no ({told['code']})" in found.message


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"code": "new", "message": "no"}}, ProviderRejected),
        (402, {"error": {"code": "new"}}, ProviderQuotaSpent),
        (429, {"error": "no"}, ProviderThrottled),
        (500, {"error": {"code": "new"}}, OutcomeUnknown),
        (502, "<html>", OutcomeUnknown),
        (200, {"id": "as-1"}, OutcomeUnknown),
        (200, [], OutcomeUnknown),
    ],
)
async def test_an_answer_that_is_not_known(status: int, body: object, error: type[GenPulseError]) -> None:
    assert type(await refusal(answering(status, body))) is error


async def test_a_task_without_an_id(files: Files) -> None:
    for model, told in (
        (MUSE, {"id": "as-1"}),
        (V, {"log_id": "1", "status": "created"}),
        (K, {"code": 0, "data": {}}),
    ):
        with pytest.raises(OutcomeUnknown):
            await answering(200, told).submit(least(model, files))


async def test_when_to_come_back() -> None:
    full = {"error": {"code": "video_genration_concurrency_exceeded", "type": "rate_limit_exceeded", "message": ""}}
    assert (await refusal(answering(429, full))).details["retry_after"] == 30
    assert (await refusal(answering(429, full, {"Retry-After": "7"}))).details["retry_after"] == 7
    fast = {"error": {"code": "rpm_rate_limit_exceeded", "type": "rate_limit_exceeded"}}
    assert (await refusal(answering(429, fast))).details["retry_after"] is None
    busy = {"error_code": 18, "error_msg": "Open api qps request limit reached"}
    assert (await refusal(answering(200, busy, {"Retry-After": "7"}), ADVANCED)).details["retry_after"] == 7
    assert (await refusal(answering(200, {"code": 1303, "message": "full"}), K)).details["retry_after"] == 30


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((code, ProviderRejected) for code in (1200, 1201, 1202, 1203, 1999)),
        (1301, ContentBlocked),
        (1302, ProviderThrottled),
        (1303, ProviderThrottled),
        *((code, ProviderUnavailable) for code in (5000, 5001, 5002)),
    ],
)
async def test_a_refusal_of_a_vendor(code: int, error: type[GenPulseError]) -> None:
    for status in (200, 400):
        assert type(await refusal(answering(status, {"code": code, "message": "no"}), K)) is error
    told = {"error": {"code": "system_unsafe", "message": "no"}}
    assert type(await refusal(answering(403, told), K)) is ContentBlocked


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        *((403, code, ProviderAuthFailed) for code in ("AccessDenied", "InvalidAccessKeyId", "OptInRequired")),
        *((400, code, ProviderAuthFailed) for code in ("InvalidHTTPAuthHeader", "SignatureDoesNotMatch")),
        (400, "RequestExpired", ProviderAuthFailed),
        (400, "InappropriateJSON", ProviderRejected),
        (429, "Whatever", ProviderThrottled),
        (500, "InternalError", ProviderUnavailable),
        (500, "Whatever", OutcomeUnknown),
    ],
)
async def test_a_refusal_of_vod(status: int, code: str, error: type[GenPulseError]) -> None:
    assert type(await refusal(answering(status, {"code": code, "message": "no", "requestId": "1"}), VOD)) is error


PLATFORM: list[tuple[int, type[GenPulseError]]] = [
    *((code, ProviderUnavailable) for code in (1, 2)),
    *((code, ProviderThrottled) for code in (4, 18, 216401)),
    *((code, ProviderQuotaSpent) for code in (17, 19, 282352)),
    *((code, ProviderAuthFailed) for code in (6, 13, 14, 15, 100, 110, 111)),
    *((code, ProviderRejected) for code in (216100, 216200, 216201, 216202, 282003, 282004, 336000)),
    *((code, ProviderFailed) for code in (216303, 216630, 282000)),
]


@pytest.mark.parametrize(("code", "error"), PLATFORM)
@pytest.mark.parametrize("model", [LARGER, BASIC, ADVANCED])
async def test_a_refusal_of_the_open_platform(files: Files, model: str, code: int, error: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as found:
        await answering(200, {"error_code": code, "error_msg": "no", "log_id": 1}).submit(least(model, files))
    assert type(found.value) is error
    assert f"no ({code})" in found.value.message


@pytest.mark.parametrize("code", [282003, 282004])
async def test_sensitive_words_are_named(code: int) -> None:
    detail = [{"msg": "sensitive", "words": ["fox", "hen"]}]
    error = await refusal(answering(200, {"error_code": code, "error_msg": "no", "error_detail": detail}), ADVANCED)
    assert (type(error), "sensitive fox, hen" in error.message) == (ContentBlocked, True)


@pytest.mark.parametrize("model", [*TASKS, *AT_ONCE])
async def test_a_lost_answer_stays_unknown(world: World[Baidu], files: Files, model: str) -> None:
    asked, account = least(model, files), world.account()
    world.fault(type="lost_answer")
    assert type(await world.refused(asked, account)) is OutcomeUnknown
    world.fault(type="malformed", kinds=["submit"])
    assert type(await world.refused(asked, account)) is OutcomeUnknown
    assert not account.can_find(asked)
    assert not account.remembers_key(asked)
    assert len(world.simulator.find_jobs()) == 2
