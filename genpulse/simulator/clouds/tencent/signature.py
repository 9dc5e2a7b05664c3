"""The two signatures of Tencent Cloud, rebuilt from what the caller says it has signed; and how errors are worded."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from datetime import UTC, datetime
from functools import reduce
from urllib.parse import quote

from starlette.responses import Response

from genpulse.simulator.credentials import TENCENT
from genpulse.simulator.wire import Call, Refusal

_CLOCK_WINDOW = 300
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<date>[^/]+)/(?P<service>[^/]+)/tc3_request, ?"
    r"SignedHeaders=(?P<names>[^,]+), ?Signature=(?P<proof>\w+)"
)
_ERROR = """<?xml version='1.0' encoding='utf-8' ?>
<Error>
\t<Code>{0}</Code>
\t<Message>{1}</Message>
\t<Resource>{2}</Resource>
\t<RequestId>{3}</RequestId>
\t<TraceId>{3}</TraceId>
</Error>
"""


def api_error(code: str, message: str) -> Refusal:
    """API 3.0 answers 200, whatever happens."""
    error = {"Code": code, "Message": message}
    return Refusal(200, {"Response": {"Error": error, "RequestId": str(uuid.uuid4())}})


def cos_error(call: Call, status: int, code: str, message: str) -> Refusal:
    text = _ERROR.format(code, message, call.request.url.path, uuid.uuid4().hex)
    return Refusal.by(Response(text, status, media_type="application/xml"))


def check_tc3(call: Call, now: float) -> str:
    """The service that the request was signed for. Raises what the cloud answers to a wrong signature."""
    given = _AUTHORIZATION.fullmatch(call.headers.get("Authorization", ""))
    if given is None:
        raise api_error("AuthFailure.InvalidAuthorization", "The request header `Authorization` is invalid.")
    if given["id"] != TENCENT.access_key:
        raise api_error("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
    timestamp = call.headers.get("X-TC-Timestamp", "")
    if not timestamp.isdecimal() or abs(int(timestamp) - now) > _CLOCK_WINDOW:
        raise api_error("AuthFailure.SignatureExpire", "The provided credentials have expired.")
    date = datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d")
    scope = (date, given["service"], "tc3_request")
    text = "\n".join(("TC3-HMAC-SHA256", timestamp, "/".join(scope), _sha256(_canonical(call, given["names"]))))
    key = reduce(_hmac, scope, f"TC3{TENCENT.secret_key}".encode())
    if date != given["date"] or not hmac.compare_digest(_hmac(key, text).hex(), given["proof"]):
        raise api_error("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")
    return given["service"]


def check_cos(call: Call, now: float) -> None:
    """Over method, path, the parameters and headers that are named, and a span of time."""
    given = dict(part.partition("=")[::2] for part in call.headers.get("Authorization", "").split("&"))
    if not {"q-ak", "q-sign-time", "q-key-time", "q-header-list", "q-signature"} <= given.keys():
        raise cos_error(call, 403, "AccessDenied", "Access Denied.")
    if given["q-ak"] != TENCENT.access_key:
        raise cos_error(call, 403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist.")
    since, _, until = given["q-sign-time"].partition(";")
    if not (since.isdecimal() and until.isdecimal() and int(since) <= now <= int(until)):
        raise cos_error(call, 403, "AccessDenied", "Request has expired")
    key = _hmac_sha1(str(TENCENT.secret_key), given["q-key-time"])
    texts = [f"sha1\n{given['q-sign-time']}\n{_sha1(text)}\n" for text in _formats(call, given)]
    if not any(hmac.compare_digest(_hmac_sha1(key, text), given["q-signature"]) for text in texts):
        raise cos_error(call, 403, "SignatureDoesNotMatch", "The Signature you specified is invalid.")


def _canonical(call: Call, names: str) -> str:
    lines = "".join(f"{name}:{call.headers.get(name, '').strip()}\n" for name in names.split(";"))
    url, unsigned = call.request.url, call.headers.get("X-TC-Content-SHA256") == "UNSIGNED-PAYLOAD"
    body = _sha256("UNSIGNED-PAYLOAD") if unsigned else hashlib.sha256(call.body).hexdigest()
    return "\n".join((call.request.method, quote(url.path), url.query, lines, names, body))


def _formats(call: Call, given: dict[str, str]) -> list[str]:
    """A caller that knows only a host signs the path without the cloud's name before it."""
    query = sorted((quote(name, safe="").lower(), quote(value, safe="")) for name, value in call.query.multi_items())
    signed = set(given.get("q-url-param-list", "").split(";"))
    pairs = "&".join(f"{name}={value}" for name, value in query if name in signed)
    headers = {name: call.headers.get(name, "") for name in given["q-header-list"].split(";")}
    host = call.headers.get("host", "")
    lines = [_lines(headers | ({"host": one} if "host" in headers else {})) for one in (host, host.partition(":")[0])]
    paths = (call.request.url.path, call.inner_path)
    return [f"{call.request.method.lower()}\n{path}\n{pairs}\n{line}\n" for path in paths for line in lines]


def _lines(headers: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(headers.items()))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the scheme asks for SHA-1


def _hmac_sha1(key: str, text: str) -> str:
    return hmac.digest(key.encode(), text.encode(), "sha1").hex()
