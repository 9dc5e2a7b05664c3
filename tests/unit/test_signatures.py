"""Signatures are those that the clouds' own libraries make, and cover what they are said to cover."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from genpulse.errors import Forbidden
from genpulse.providers import signatures
from genpulse.providers.signatures import (
    BaiduSigner,
    BearerKey,
    BflWebhookVerifier,
    KlingSigner,
    SignedAuth,
    StandardWebhookVerifier,
    TencentCosSigner,
    TencentSigner,
    VolcengineSigner,
    baidu,
    tencent,
    tencent_cos,
    volcengine,
)
from genpulse.providers.signatures.base import derived_key

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OCTOBER = datetime.fromtimestamp(1760000000, UTC)
JSON = {"Content-Type": "application/json"}
#: Space, plus, slash, tilde, an empty value, a repeated name, and names whose order changes once they are encoded.
ODD = "b=2&b=1&a+b=%2B%20%2F~&a%3A=1&a0=&%c3%a9=一%26%3d"
ODD_ONCE = ODD.replace("&b=1", "")
TEXT = st.text(st.characters(codec="utf-8"))


def volcengine_signer(secret="SKEXAMPLE", **options):
    return VolcengineSigner(access_key="AKEXAMPLE", secret_key=SecretStr(secret), **options)


def tencent_signer(secret="SECRETEXAMPLE", *, service="vod", **options):
    return TencentSigner(secret_id="AKIDEXAMPLE", secret_key=SecretStr(secret), service=service, **options)


def cos_signer(secret="SECRETEXAMPLE"):
    return TencentCosSigner(secret_id="AKIDEXAMPLE", secret_key=SecretStr(secret))


def baidu_signer(secret="SKEXAMPLE", **options):
    return BaiduSigner(access_key="AKEXAMPLE", secret_key=SecretStr(secret), **options)


def kling_signer(secret="test-secret-key-000000000000000001"):
    return KlingSigner(access_key="test-access-key-0001", secret_key=SecretStr(secret))


def digest(canonical):
    return hashlib.sha256(canonical.encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------- Volcengine

SUBMIT = "https://visual.volcengineapi.com/?Action=CVSync2AsyncSubmitTask&Version=2022-08-31"
SUBMITTED = b'{"req_key": "jimeng_t2i_v40", "prompt": "a red apple"}'
GET_RESULT = SUBMIT.replace("SubmitTask", "GetResult")
ASKED = b'{"req_key": "jimeng_t2i_v40", "task_id": "123456", "req_json": "{\\"return_url\\": true}"}'


@pytest.mark.parametrize(
    ("url", "body", "token", "canonical", "signature"),
    [
        (
            SUBMIT,
            SUBMITTED,
            None,
            "b4e5b11e788c57f1b1101dad471ebad9dcad02f175881d76dcc01f6003bd6b8e",
            "fbf18b0a28b5b09585c46eecebf4125819c352bbdc732230f2632fd023fa43ca",
        ),
        (
            GET_RESULT,
            ASKED,
            None,
            "166d5aafee43f519fcd14903d4939e492830ec7615645db3f8b0350105fb7d3a",
            "61747e864c665b344dce2bea479796c5f9254af06d6a784e022e31cc9272228a",
        ),
        (
            SUBMIT,
            SUBMITTED,
            "STSEXAMPLE",
            "00e1374bf38cfd236c7cc2b24aedbe0e8ecfebe7411a9d2984803bfc9ff98ef1",
            "de7163c59e07c2bd600003c5333e2c6fd2324c38b4732f9b783fe2e4d771038a",
        ),
        (
            SUBMIT.replace("https://visual.volcengineapi.com", "http://127.0.0.1:8080"),
            SUBMITTED,
            None,
            "dca168a7f634fc374b82d84e90779031bf7332c187ce6474f9d4bb7f06f73c22",
            "9e2134c7d952f16ba92c72c307c2a75e7b8c948f0858dbd3ac04e2164fd910c1",
        ),
    ],
    ids=["submit", "query", "token", "port"],
)
def test_volcengine_as_its_sdk_signs(url, body, token, canonical, signature):
    request = httpx.Request("POST", url, headers=JSON, content=body)
    added = volcengine_signer(session_token=SecretStr(token) if token else None).sign(request, now=NOON)
    names = "content-type;host;x-content-sha256;x-date" + (";x-security-token" if token else "")
    expected = {
        "X-Date": "20260101T120000Z",
        "X-Content-Sha256": hashlib.sha256(body).hexdigest(),
        "Authorization": "HMAC-SHA256 Credential=AKEXAMPLE/20260101/cn-north-1/cv/request, "
        f"SignedHeaders={names}, Signature={signature}",
    }
    assert added == expected | ({"X-Security-Token": token} if token else {})
    signed = volcengine._signed_headers(request, added)
    assert digest(volcengine._canonical(request, signed)) == canonical


def test_volcengine_s_canonical_request_and_key_in_the_open():
    request = httpx.Request("POST", SUBMIT, headers=JSON, content=SUBMITTED)
    signed = volcengine._signed_headers(request, volcengine_signer().sign(request, now=NOON))
    assert volcengine._canonical(request, signed).splitlines() == [
        "POST",
        "/",
        "Action=CVSync2AsyncSubmitTask&Version=2022-08-31",
        "content-type:application/json",
        "host:visual.volcengineapi.com",
        "x-content-sha256:b88f387ce4533706c4d1f698865af3f33ac36e2492a4a4e42e9be79ad315a6d3",
        "x-date:20260101T120000Z",
        "",
        "content-type;host;x-content-sha256;x-date",
        "b88f387ce4533706c4d1f698865af3f33ac36e2492a4a4e42e9be79ad315a6d3",
    ]
    key = derived_key("SKEXAMPLE", "20260101", "cn-north-1", "cv", "request")
    assert key.hex() == "accb613067476436fc1f0a50b3d2753f07d9c909b3ed52be3e17f3b881572b9b"


def test_volcengine_s_odd_characters_as_its_sdk_signs():
    # PyPI volcengine 1.0.229, SignerV4.sign
    get = httpx.Request("GET", f"https://visual.volcengineapi.com/?{ODD}")
    assert volcengine_signer().sign(get, now=OCTOBER)["Authorization"] == (
        "HMAC-SHA256 Credential=AKEXAMPLE/20251009/cn-north-1/cv/request, SignedHeaders=host;x-content-sha256;x-date, "
        "Signature=51e66b259759f57bb8d84b3e17af7b3933bde0f0f979cd9fbb3ec3e25cb28f8a"
    )
    post = httpx.Request(
        "POST",
        f"http://visual.volcengineapi.com:443/a b/é?{ODD}",  # a port that goes without saying is not signed
        headers=JSON | {"X-Extra": " v 1 ", "User-Agent": "unsigned"},
        content='{"prompt":"一只猫"}'.encode(),
    )
    assert volcengine_signer(session_token=SecretStr("STSEXAMPLE")).sign(post, now=OCTOBER)["Authorization"] == (
        "HMAC-SHA256 Credential=AKEXAMPLE/20251009/cn-north-1/cv/request, "
        "SignedHeaders=content-type;host;x-content-sha256;x-date;x-extra;x-security-token, "
        "Signature=acd20186524bc6814761d8a6fca6f47a1e1ab0c0f4ab924c527177218a81c573"
    )


# ------------------------------------------------------------------------------------------------------------- Tencent


@pytest.mark.parametrize(
    ("service", "host", "body", "token", "hashes"),
    [
        (
            "hunyuan",
            "hunyuan.tencentcloudapi.com",
            b'{"Prompt": "a red apple", "Resolution": "1024:1024", "Num": 1}',
            None,
            (
                "9080941446758940974f2c6fd6ca9f26d1c84c8b9582e7fa55a84f296a776508",
                "8e8a173c5f7e931aac4905b0dc1085e5f36d9e0c1263f990b2fe33e49b6740d8",
            ),
        ),
        (
            "vclm",
            "vclm.tencentcloudapi.com",
            b'{"JobId": "123456"}',
            None,
            (
                "f16dcbc34db312fb734349849c1e13d819cea321365408cce8079e9e6804346e",
                "7625ade0e12d5426fe621aca24727e61cf1645c92df1e9816f9f39d56c92390c",
            ),
        ),
        (
            "aiart",
            "aiart.tencentcloudapi.com",
            b'{"JobId": "123456"}',
            "TOKENEXAMPLE",
            (
                "a74bab51b9170a36a268ff3c8289db435ca451039de672c37af4d814cd9db9d3",
                "b61c6e077b3c0251866916eec462fa79d3f70c723cd4541284adbb626025a7b2",
            ),
        ),
        (
            "hunyuan",
            "127.0.0.1:8080",
            b'{"JobId": "123456"}',
            None,
            (
                "8600bf726cb541123d740cf6636211ca37542ab5069007aaa2f38f9f87ad5990",
                "e3add016bd87c2870cd34bf59793dc9e48ee2941aa9ff830aa4339ae592a45e9",
            ),
        ),
        (
            "hunyuan",
            "hunyuan.tencentcloudapi.com",
            b'{"Prompt": "\\u4e00\\u53ea\\u732b"}',
            None,
            (
                "8984975f2f9f51eed305a18f11917f1fb10dc3b67e96a8b12c7ca0a2a2f9bd6b",
                "26aaf3b6f54e6e7ace662df85c951ac26af1f858f201ce8055d736dec271f72a",
            ),
        ),
    ],
    ids=["submit", "query", "token", "port", "escapes"],
)
def test_tencent_as_its_sdk_signs(service, host, body, token, hashes):
    canonical, signature = hashes
    request = httpx.Request("POST", f"http://{host}/", headers=JSON | {"X-TC-Action": "DoThis"}, content=body)
    signer = tencent_signer(service=service, token=SecretStr(token) if token else None)
    expected = {
        "Content-Type": "application/json",
        "X-TC-Timestamp": "1760000000",
        "Authorization": f"TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2025-10-09/{service}/tc3_request, "
        f"SignedHeaders=content-type;host, Signature={signature}",
    }
    assert signer.sign(request, now=OCTOBER) == expected | ({"X-TC-Token": token} if token else {})
    assert digest(tencent._canonical(request, "application/json")) == canonical


@pytest.mark.parametrize(
    ("service", "key"),
    [
        ("hunyuan", "4d50f094b30ddf18f1ce73c7507fb06f2ea6440cfdb6716bb5ef17b514e27525"),
        ("vclm", "d00cefb87c8a14bc1a83eae1c9ab8597569eb8ac678658d83695a52dfc83d330"),
        ("aiart", "3fee195ca5b2b2dec4290dda6ceaf5c776b409b66c61ff285f4c95dd75ae5453"),
    ],
)
def test_tencent_s_key_of_a_service_and_day(service, key):
    assert derived_key("TC3SECRETEXAMPLE", "2025-10-09", service, "tc3_request").hex() == key


def test_tencent_s_odd_characters_as_its_sdk_signs():
    # PyPI tencentcloud-sdk-python-common 3.1.195, AbstractClient._build_req_with_tc3_signature
    query = "b=2&a+b=%2B+%2F~&a0=&%C3%A9=%E4%B8%80%26%3D"  # signed as it is sent
    get = httpx.Request("GET", f"https://vod.tencentcloudapi.com/?{query}")
    added = tencent_signer().sign(get, now=OCTOBER)
    assert added["Content-Type"] == "application/x-www-form-urlencoded"
    assert added["Authorization"].endswith("=acfdb7f3075035adead84bb61990ddbf356747719eaf665a6fd4c04a5d019dcb")
    post = httpx.Request(
        "POST", "https://vod.tencentcloudapi.com", headers=JSON, content=json.dumps({"TaskId": "一 +/"}).encode()
    )
    authorization = tencent_signer().sign(post, now=OCTOBER)["Authorization"]
    assert authorization.endswith("=fddca11fca4f24d6634795d3d837772fd09a2313b1b2e185de58ea110ff681f7")


BUCKET = "https://examplebucket-1250000000.cos.ap-guangzhou.myqcloud.com"
UPSCALE = "/demo.jpeg?ci-process=AISuperResolution"


@pytest.mark.parametrize(
    ("url", "names", "signature"),
    [
        (BUCKET + UPSCALE, "ci-process", "49ffc46cb71a6fca0b91c6b2255d9edf4dd027e1"),
        ("http://127.0.0.1:8080" + UPSCALE, "ci-process", "9aab8afb4eec8394c5da8c606a7bb4288941ae79"),
        # PyPI cos-python-sdk-v5 1.9.44, CosS3Auth
        (
            f"{BUCKET}/a b/é.png?ci-process=AIEnhanceImage&denoise=3&A+b=%2B%20/~&é=一%26%3d&watermark=",
            "%c3%a9;a%20b;ci-process;denoise;watermark",
            "d8f6bdb0aea24a3978a48b250d0bd882db686187",
        ),
        (
            f"{BUCKET}/?ci-process=AISuperResolution&detect-url=https%3A%2F%2Fexample.com%2Fa%20b.png%3Fx%3D1%26y%3D2",
            "ci-process;detect-url",
            "37d0739c5663ae3c03dda602607ba869b6211f1e",
        ),
    ],
    ids=["file", "port", "odd", "address"],
)
def test_tencent_s_storage_as_its_sdk_signs(url, names, signature):
    assert cos_signer().sign(httpx.Request("GET", url), now=OCTOBER) == {
        "Authorization": "q-sign-algorithm=sha1&q-ak=AKIDEXAMPLE&q-sign-time=1759999940;1760010000"
        "&q-key-time=1759999940;1760010000&q-header-list=host"
        f"&q-url-param-list={names}&q-signature={signature}"
    }


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (BUCKET, "b47a40de1e1086021518623273f9545fffba60e2"),
        ("http://127.0.0.1:8080", "d019a36176e2243645bb5ecaf297140c48b8d502"),
    ],
)
def test_tencent_s_storage_in_the_open(host, expected):
    canonical = tencent_cos._canonical(httpx.Request("GET", host + UPSCALE), [("ci-process", "AISuperResolution")])
    assert tencent_cos._sha1_hex(canonical) == expected
    key = tencent_cos._hmac_sha1_hex("SECRETEXAMPLE", "1759999940;1760010000")
    assert key == "e9c4f367a23e5ababf3564f6dc009177d9112c46"


# --------------------------------------------------------------------------------------------------------------- Baidu

TOKEN = httpx.Request("GET", "https://iam.bj.baidubce.com/v1/BCE-BEARER/token?expireInSeconds=86400")
VOD = "https://vod.bj.baidubce.com/v2/aigc/image_to_image"
DRAW = "https://aip.baidubce.com/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl"


@pytest.mark.parametrize(
    ("request_", "minutes", "rest"),
    [
        (TOKEN, 30, "1800/host;x-bce-date/4f14ff5242ce0cd8b66a33bf2051e2f224a889512009bb04a2255c4315bad9a1"),
        (
            httpx.Request("POST", VOD, content=b"{}"),
            30,
            "1800/host;x-bce-date/d2f2c4bd7d40ef84a20a10b8a939bc4c8e4f5e43efc70e75f64ba2e294e3a1b0",
        ),
        (
            httpx.Request("POST", DRAW, headers=JSON, content=b"{}"),
            5,
            "300/content-type;host;x-bce-date/0a803c77fe0085259a1286f30879d3288b9d61289a9c82c76b51ecbfdae30ae0",
        ),
        # PyPI bce-python-sdk 0.9.79, bce_v1_signer.sign
        (
            httpx.Request("GET", f"https://vod.bj.baidubce.com/v2/a b/é?{ODD_ONCE}&Authorization=unsigned"),
            30,
            "1800/host;x-bce-date/1f5164f47bacd2c4ff137b0fb813011db21fa0b3eeea8af9b177d6affa2cc2d1",
        ),
        (
            httpx.Request(
                "POST",
                "https://vod.bj.baidubce.com/v2/aigc/text_to_video",
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Content-MD5": "",  # an empty header does not count
                    "x-bce-extra": " v 1/2 ",
                    "x-bce-extra-two": "v",
                },
            ),
            30,
            (
                "1800/content-type;host;x-bce-date;x-bce-extra;x-bce-extra-two/"
                "558d2f7c118a87fedfbaefa6f5b0f0aea82219cf393e66913e51dcdbcabacdf4"
            ),
        ),
    ],
    ids=["token", "vod", "short", "odd", "headers"],
)
def test_baidu_as_its_sdk_signs(request_, minutes, rest):
    assert baidu_signer(lifetime=timedelta(minutes=minutes)).sign(request_, now=OCTOBER) == {
        "x-bce-date": "2025-10-09T08:53:20Z",
        "Authorization": f"bce-auth-v1/AKEXAMPLE/2025-10-09T08:53:20Z/{rest}",
    }


@pytest.mark.parametrize(
    ("request_", "names", "canonical"),
    [
        (TOKEN, "host x-bce-date", "74449d84a2f67588bafdc4cf1e71c098ebb8b0fd0e0a2ee874a57e92806422e1"),
        (
            httpx.Request("POST", VOD),
            "host x-bce-date",
            "daae0f4aa8165bb4d39d81505f48e8b952f1d800b5a966f87ac93d74a0949b96",
        ),
        (
            httpx.Request("POST", DRAW, headers=JSON),
            "host content-type x-bce-date",  # in any order
            "6a68b73ab5da8fb5f590645926f323bc70f82103cdde042948e94952aff390f1",
        ),
    ],
)
def test_baidu_s_canonical_request(request_, names, canonical):
    headers = httpx.Headers(request_.headers)
    headers["x-bce-date"] = "2025-10-09T08:53:20Z"
    assert digest(baidu._canonical(request_, headers, names.split())) == canonical


def test_baidu_s_signature_over_headers_that_are_not_named():
    request = httpx.Request(
        "POST",
        "http://127.0.0.1:8080/v2/aigc/image_to_image?a b=一/~&empty=",
        headers={"Content-Type": "application/json; charset=utf-8", "x-bce-date": "2025-10-09T08:53:20Z"},
        content=b"nineteen bytes long",
    )
    canonical = baidu._canonical(request, request.headers, request.headers)
    assert canonical == (
        "POST\n/v2/aigc/image_to_image\na%20b=%E4%B8%80%2F~&empty=\ncontent-length:19\n"
        "content-type:application%2Fjson%3B%20charset%3Dutf-8\nhost:127.0.0.1%3A8080\n"
        "x-bce-date:2025-10-09T08%3A53%3A20Z"
    )
    assert digest(canonical) == "f4d5807ac4fea3582bb8ce913c8f3790bf6ce69a1de13055330d3dc2b592d7eb"
    signature = baidu_signer()._signature("bce-auth-v1/AKEXAMPLE/2025-10-09T08:53:20Z/1800", canonical)
    assert signature == "70376f41ca613a0056c03303df4d8f63203ba994d003420f2ea6fe5704fadba7"


@pytest.mark.parametrize(
    ("lifetime", "key"),
    [
        (1800, "da0e6f02641bf02bb7f653ef93a342d18ddc00e020c0ba9be5404507c132be4a"),
        (300, "26b1b875d6e8d639681388d75db4f26da2740ce3790bea1334a66bcc5ed44aac"),
    ],
)
def test_baidu_s_key_of_a_time_and_lifetime(lifetime, key):
    prefix = f"bce-auth-v1/AKEXAMPLE/2025-10-09T08:53:20Z/{lifetime}"
    assert derived_key("SKEXAMPLE", prefix).hex() == key


def test_baidu_signs_each_value_of_a_repeated_name_in_sorted_order():
    request = httpx.Request("GET", f"{VOD}?b=2&b=1&a=3")
    assert baidu._canonical(request, request.headers, ()) == "GET\n/v2/aigc/image_to_image\na=3&b=1&b=2"


# --------------------------------------------------------------------------------------------------------------- Kling


def test_kling_s_token_as_pyjwt_makes_it():
    # PyPI PyJWT 2.15.1
    now = datetime.fromtimestamp(1700000000.9, UTC)
    assert kling_signer().sign(TOKEN, now=now) == {
        "Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJpc3MiOiJ0ZXN0LWFjY2Vzcy1rZXktMDAwMSIsImV4cCI6MTcwMDAwMTgwMCwibmJmIjoxNjk5OTk5OTk1fQ."
        "fcAd2dOqFR2uC0zFchRB-TtQizOC2NpMKOmUmBYmBRo"
    }
    odd = KlingSigner(access_key='AK é/"', secret_key=SecretStr("secret-key-of-32-bytes-or-more-é"))
    assert odd.sign(TOKEN, now=OCTOBER) == {
        "Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJpc3MiOiJBSyBcdTAwZTkvXCIiLCJleHAiOjE3NjAwMDE4MDAsIm5iZiI6MTc1OTk5OTk5NX0."
        "SWYLJlNLhA2q9-HBJnFuDdV1h5gHNTGTQyewmnjrWPg"
    }


# ---------------------------------------------------------------------------------------------------------- all of them

SIGNERS = {
    "volcengine": volcengine_signer,
    "tencent": tencent_signer,
    "cos": cos_signer,
    "baidu": baidu_signer,
    "kling": kling_signer,
}
#: What an intruder may try, and the schemes that do not notice because they do not sign it.
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "PUT"}, "kling"),
    "host": ({"url": "https://other.com/v1/x?a=1&b=2"}, "kling"),
    "path": ({"url": "https://cloud.com/v1/y?a=1&b=2"}, "kling"),
    "slash": ({"url": "https://cloud.com/v1/x/?a=1&b=2"}, "kling"),
    "value": ({"url": "https://cloud.com/v1/x?a=1&b=3"}, "kling"),
    "name": ({"url": "https://cloud.com/v1/x?a=1&c=2"}, "kling"),
    "empty": ({"url": "https://cloud.com/v1/x?a=1&b=2&c"}, "kling"),
    "joint": ({"url": "https://cloud.com/v1/x?a=1%26b=2"}, "kling"),
    "header": ({"headers": {"Content-Type": "text/plain"}}, "kling cos"),
    "body": ({"content": b'{"n":2}'}, "kling cos baidu"),
}


def authorization(name, *, secret="a-secret-key-of-thirty-two-bytes", now=NOON, **change):
    usual = {"method": "POST", "url": "https://cloud.com/v1/x?a=1&b=2", "headers": JSON, "content": b'{"n":1}'}
    return SIGNERS[name](secret).sign(httpx.Request(**usual | change), now=now)["Authorization"]


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_request_has_another_signature(name, change):
    parts, unnoticed = CHANGES[change]
    noticed = authorization(name, **parts) != authorization(name)
    assert noticed == (name not in unnoticed.split())


@pytest.mark.parametrize("name", SIGNERS)
def test_another_time_or_key_makes_another_signature(name):
    assert authorization(name, now=NOON + timedelta(seconds=1)) != authorization(name)
    assert authorization(name, secret="A-secret-key-of-thirty-two-bytes") != authorization(name)


@pytest.mark.parametrize("name", SIGNERS)
def test_the_same_moment_in_another_zone_makes_the_same_signature(name):
    assert authorization(name, now=NOON.astimezone(timezone(timedelta(hours=9)))) == authorization(name)


@pytest.mark.parametrize("name", ["volcengine", "cos", "baidu"])
@given(st.lists(st.tuples(TEXT, TEXT)))
def test_a_query_is_signed_for_what_it_says_however_it_is_written(name, pairs):
    plus = httpx.URL("https://cloud.com", params=pairs)
    percent = httpx.URL(str(plus).replace("+", "%20"))
    assert authorization(name, url=plus) == authorization(name, url=percent)


@pytest.mark.parametrize("name", SIGNERS)
async def test_httpx_sends_what_was_signed(name):
    seen = []

    def cloud(request):
        seen.append(request)
        return httpx.Response(200)

    signer = SIGNERS[name]()
    client = httpx.AsyncClient(transport=httpx.MockTransport(cloud), auth=SignedAuth(signer, lambda: NOON))
    async with client:
        await client.post("https://cloud.com/v1/x", params={"a b": "é/"}, files={"file": b"streamed"})
    sent = seen[0]
    expected = signer.sign(sent, now=NOON)
    assert {header: sent.headers[header] for header in expected} == expected


@pytest.mark.parametrize("name", SIGNERS)
def test_signing_again_replaces_the_first_signature(name):
    signer, request = SIGNERS[name](), httpx.Request("POST", VOD, headers=JSON, content=b"{}")
    request.headers.update(signer.sign(request, now=OCTOBER))
    again = signer.sign(request, now=NOON)
    assert again == signer.sign(httpx.Request("POST", VOD, headers=JSON, content=b"{}"), now=NOON)


def test_a_bearer_key_is_sent_as_it_is():
    assert BearerKey(SecretStr("api-key")).sign(TOKEN, now=NOON) == {"Authorization": "Bearer api-key"}


@pytest.mark.parametrize(
    "holder",
    [
        volcengine_signer("hidden", session_token=SecretStr("hidden")),
        tencent_signer("hidden", token=SecretStr("hidden")),
        cos_signer("hidden"),
        baidu_signer("hidden"),
        kling_signer("hidden"),
        BearerKey(SecretStr("hidden")),
        StandardWebhookVerifier(SecretStr("whsec_hidden")),
        BflWebhookVerifier(SecretStr("hidden")),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_secrets_are_not_shown(holder):
    assert "hidden" not in f"{holder!r} {holder}"


def test_the_package_s_names():
    assert sorted(signatures.__all__) == signatures.__all__
    assert all(hasattr(signatures, name) for name in signatures.__all__)


# ----------------------------------------------------------------------------------------------------------- callbacks

KLING = (
    "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=",
    {
        "webhook-id": "9876543210",
        "webhook-timestamp": "1781080794",
        "webhook-signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
    },
    b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}',
)
GENERIC = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    {
        "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": "1735689600",
        "webhook-signature": "v1,ntey/nCoFO7qSd8ns7CRZZlk5v3nNExx0xj7ryns2Ps=",
    },
    b'{"type":"job.completed","timestamp":"2025-01-01T00:00:00Z","data":{"id":"job_1"}}',
)


def check(message, *, late=0, body=None, secret=None, **changed):
    known, headers, sent = message
    headers = headers | {f"webhook-{name}": value for name, value in changed.items()}
    now = datetime.fromtimestamp(int(message[1]["webhook-timestamp"]) + late, UTC)
    StandardWebhookVerifier(SecretStr(secret or known)).verify(headers, sent if body is None else body, now=now)


@pytest.mark.parametrize("message", [KLING, GENERIC], ids=["kling", "generic"])
@pytest.mark.parametrize("late", [-300, 0, 300])
def test_a_standard_webhook_is_accepted_for_five_minutes(message, late):
    check(message, late=late)


@pytest.mark.parametrize("late", [-301, 301, 10**6])
def test_a_standard_webhook_of_another_time_is_refused(late):
    with pytest.raises(Forbidden, match="more than 5 minutes off"):
        check(KLING, late=late)


RIGHT = KLING[1]["webhook-signature"]


@pytest.mark.parametrize(
    "change",
    [
        {"body": KLING[2].replace(b"succeeded", b"succeedeD")},
        {"body": b""},
        {"id": "9876543211"},
        {"id": "é\ud800"},
        {"timestamp": "1781080795"},
        {"timestamp": "soon"},
        {"signature": RIGHT.replace("U", "u", 1)},
        {"signature": RIGHT.replace("v1", "v2")},
        {"signature": RIGHT.removeprefix("v1,")},
        {"signature": RIGHT.replace("v1,", "v1,,")},
        {"signature": "é\ud800"},
        {"secret": "whsec_" + base64.b64encode(b"another").decode()},
    ],
)
def test_no_part_of_a_standard_webhook_can_be_changed(change):
    with pytest.raises(Forbidden, match="signature is wrong"):
        check(KLING, **change)


@pytest.mark.parametrize("name", KLING[1])
def test_no_header_of_a_standard_webhook_can_be_left_out(name):
    with pytest.raises(Forbidden, match=f"not signed: it has no {name} header"):
        check(KLING, **{name.removeprefix("webhook-"): ""})


def test_one_of_several_signatures_suffices_however_the_headers_are_capitalised():
    secret, headers, body = KLING
    headers = {name.title(): value for name, value in headers.items()} | {
        "Webhook-Signature": f"v1a,xyz  nonsense v1,AAAA {RIGHT}"
    }
    now = datetime.fromtimestamp(1781080794, UTC)
    StandardWebhookVerifier(SecretStr(secret)).verify(headers, body, now=now)


def test_a_signed_timestamp_that_is_no_number_is_refused():
    text = b"9876543210.soon." + KLING[2]
    mac = hmac.digest(b"testsecrettestsecrettestsecret12", text, "sha256")
    signature = "v1," + base64.b64encode(mac).decode()
    with pytest.raises(Forbidden, match="not a whole number"):
        check(KLING, timestamp="soon", signature=signature)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec", "dGVzdA==", "whsk_dGVzdA==", "whsec_t?st", "whsec_é"])
def test_what_is_no_webhook_secret_is_refused(secret):
    with pytest.raises(ValueError, match=r"whsec_ and base64|base64|ASCII"):
        StandardWebhookVerifier(SecretStr(secret))


def test_a_webhook_secret_may_lack_its_padding():
    check(KLING, secret=KLING[0].rstrip("="))


# The second test case of RFC 4231.
JEFE, QUESTION = BflWebhookVerifier(SecretStr("Jefe")), b"what do ya want for nothing?"
ANSWER = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_a_callback_of_black_forest_labs_is_accepted():
    JEFE.verify({"x-bfl-signature": ANSWER}, QUESTION, now=NOON)
    BflWebhookVerifier(JEFE.secret, header="X-Signature").verify({"x-signature": ANSWER}, QUESTION, now=NOON)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"X-BFL-Signature": ANSWER}, QUESTION + b"?"),
        ({"X-BFL-Signature": ANSWER.replace("3", "4", 1)}, QUESTION),
        ({"X-BFL-Signature": ANSWER.removeprefix("sha256=")}, QUESTION),
        ({"X-BFL-Signature": ANSWER.upper()}, QUESTION),
        ({"X-BFL-Signature": "é"}, QUESTION),
    ],
)
def test_a_changed_callback_of_black_forest_labs_is_refused(headers, body):
    with pytest.raises(Forbidden, match="signature is wrong"):
        JEFE.verify(headers, body, now=NOON)


def test_an_unsigned_callback_of_black_forest_labs_is_refused():
    with pytest.raises(Forbidden, match="not signed"):
        JEFE.verify({"X-Signature": ANSWER}, QUESTION, now=NOON)
    with pytest.raises(ValueError, match="anyone could sign"):
        BflWebhookVerifier(SecretStr(""))
