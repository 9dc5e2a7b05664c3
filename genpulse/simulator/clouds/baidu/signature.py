"""bce-auth-v1, rebuilt from what the caller says it has signed; and the tokens that stand for a signature."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from urllib.parse import quote

from genpulse.simulator.credentials import BAIDU
from genpulse.simulator.wire import Call

ACCESS_TOKEN_SECONDS = 30 * 24 * 3600
_MISMATCH = "SignatureDoesNotMatch"
_CLOCKS_DIFFER = 15 * 60
_USUAL = ("host", "content-md5", "content-length", "content-type")
_AUTHORIZATION = re.compile(
    r"(?P<prefix>bce-auth-v1/(?P<key>[^/]+)/(?P<moment>[^/]+)/(?P<seconds>\d+))"
    r"/(?P<names>[^/]*)/(?P<proof>[0-9a-f]{64})"
)
_ACCESS_TOKEN = re.compile(r"24\.[0-9a-f]{32}\.\d+\.(\d+)\.282335-1000001")
_BEARER_TOKEN = re.compile(r"bce-v3/ALTAK-(\d+)/[0-9a-f]{40}")


def wrong_signature(call: Call, now: float) -> str | None:
    """What is wrong with it, as the code of a signed service; None where nothing is."""
    given = _AUTHORIZATION.fullmatch(call.headers.get("Authorization", ""))
    if given is None:
        return "InvalidHTTPAuthHeader"
    if given["key"] != BAIDU.access_key:
        return "InvalidAccessKeyId"
    try:
        moment = datetime.strptime(given["moment"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return "InvalidHTTPAuthHeader"
    if not moment - _CLOCKS_DIFFER <= now <= moment + int(given["seconds"]):
        return "RequestExpired"
    key = _hmac(str(BAIDU.secret_key), given["prefix"])
    texts = _canonical(call, given["names"].lower())
    return None if any(hmac.compare_digest(_hmac(key, text), given["proof"]) for text in texts) else _MISMATCH


def access_token(expires_at: int) -> str:
    """Of the Open AI platform; it tells when it expires."""
    return f"24.{_mark(expires_at)[:32]}.{ACCESS_TOKEN_SECONDS}.{expires_at}.282335-1000001"


def access_token_expiry(token: str) -> int | None:
    """None where it is none of ours."""
    found = _ACCESS_TOKEN.fullmatch(token)
    return int(found[1]) if found and token == access_token(int(found[1])) else None


def bearer_token(expires_at: int) -> str:
    """A short-lived key of Qianfan."""
    return f"bce-v3/ALTAK-{expires_at}/{_mark(expires_at)[:40]}"


def is_bearer(token: str, now: float) -> bool:
    found = _BEARER_TOKEN.fullmatch(token)
    return bool(found and token == bearer_token(int(found[1])) and now < int(found[1]))


def _canonical(call: Call, names: str) -> Iterator[str]:
    """One for each way in which clients are seen to sign: with and without Baidu's own headers, the port, and the
    cloud's name before the path.
    """
    query = "&".join(
        sorted(
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, value in call.query.multi_items()
            if name.lower() != "authorization"
        )
    )
    own = {name for name in call.headers if name.startswith("x-bce-")}
    listed = {name for name in names.split(";") if name}
    host = call.headers.get("host", "")
    signed = (listed, listed | own) if listed else ({*_USUAL} | own,)
    paths = (call.request.url.path, call.inner_path)
    for headers, one, path in product(signed, (host, host.partition(":")[0]), paths):
        yield "\n".join((call.request.method, quote(path), query, *_lines(call, headers, one)))


def _lines(call: Call, names: set[str], host: str) -> list[str]:
    values = {name: (host if name == "host" else call.headers.get(name, "")).strip() for name in names}
    return sorted(f"{quote(name, safe='')}:{quote(value, safe='')}" for name, value in values.items() if value)


def _mark(expires_at: int) -> str:
    return hashlib.sha256(f"{BAIDU.secret_key}{expires_at}".encode()).hexdigest()


def _hmac(key: str, text: str) -> str:
    return hmac.digest(key.encode(), text.encode(), "sha256").hex()
