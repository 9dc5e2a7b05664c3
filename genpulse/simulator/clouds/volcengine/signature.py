"""The gateway before Visual: it checks signatures as Volcengine documents them, and has errors of its own."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from functools import reduce
from urllib.parse import quote

from genpulse.simulator.credentials import VOLCENGINE
from genpulse.simulator.wire import Call, Refusal

_CLOCK_WINDOW = 15 * 60
_GATEWAY_NUMBERS = {
    "MissingAuthenticationToken": 100004,
    "InvalidTimestamp": 100006,
    "InvalidActionOrVersion": 100008,
    "InvalidAccessKey": 100009,
    "SignatureDoesNotMatch": 100010,
}
_AUTHORIZATION = re.compile(
    r"HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), SignedHeaders=(?P<names>[^,]+), Signature=(?P<proof>\w+)"
)


def gateway(call: Call, status: int, code: str, message: str) -> Refusal:
    about = {
        "RequestId": secrets.token_hex(16),
        "Action": call.query.get("Action", ""),
        "Version": call.query.get("Version", ""),
        "Service": "cv",
        "Region": "cn-north-1",
        "Error": {"CodeN": _GATEWAY_NUMBERS[code], "Code": code, "Message": message},
    }
    return Refusal(status, {"ResponseMetadata": about})


def check_signature(call: Call, now: float) -> None:
    """Rebuilt from what the caller says it has signed."""
    given = _AUTHORIZATION.fullmatch(call.headers.get("Authorization", ""))
    if given is None:
        raise gateway(call, 401, "MissingAuthenticationToken", "The request is not signed.")
    if given["key"] != VOLCENGINE.access_key:
        raise gateway(call, 401, "InvalidAccessKey", "The access key is unknown.")
    moment = call.headers.get("X-Date", "")
    try:
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise gateway(call, 401, "InvalidTimestamp", "X-Date is missing or malformed.") from None
    if abs(signed_at - now) > _CLOCK_WINDOW:
        raise gateway(call, 401, "InvalidTimestamp", "The request has expired.")
    text = "\n".join(("HMAC-SHA256", moment, given["scope"], _sha256(_canonical(call, given["names"]))))
    key = reduce(_hmac, given["scope"].split("/"), str(VOLCENGINE.secret_key).encode())
    claimed = call.headers.get("X-Content-Sha256")
    body_differs = claimed is not None and claimed != hashlib.sha256(call.body).hexdigest()
    if body_differs or not hmac.compare_digest(_hmac(key, text).hex(), given["proof"]):
        message = "The request signature we calculated does not match the signature you provided."
        raise gateway(call, 401, "SignatureDoesNotMatch", message)


def _canonical(call: Call, names: str) -> str:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in _sorted_query(call))
    lines = "".join(f"{name}:{_header(call, name)}\n" for name in names.split(";"))
    url = call.request.url
    return "\n".join((call.request.method, quote(url.path), query, lines, names, hashlib.sha256(call.body).hexdigest()))


def _sorted_query(call: Call) -> list[tuple[str, str]]:
    return sorted(call.query.multi_items(), key=lambda pair: pair[0])


def _header(call: Call, name: str) -> str:
    value = call.headers.get(name, "").strip()
    return value.removesuffix(":80").removesuffix(":443") if name == "host" else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
