"""The signature of Tencent's object storage (COS) and of the image processing that is asked for there.

As the official SDK computes it (`CosS3Auth` of PyPI `cos-python-sdk-v5`). The body is not signed.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

import httpx
from pydantic import SecretStr

from genpulse.providers.signatures.base import encode

#: Seconds before and after now in which the signature is good, as in the SDK.
_SINCE, _UNTIL = 60, 10_000


@dataclass(frozen=True, kw_only=True)
class TencentCosSigner:
    """Signs method, path, query and host; the host without its port, as the SDK does."""

    secret_id: str
    secret_key: SecretStr

    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:
        moment = int(now.timestamp())
        span = f"{moment - _SINCE};{moment + _UNTIL}"
        query = sorted((encode(name).lower(), encode(value)) for name, value in request.url.params.multi_items())
        text = "\n".join(("sha1", span, _sha1_hex(_canonical(request, query)), ""))
        key = _hmac_sha1_hex(self.secret_key.get_secret_value(), span)
        parts = {
            "q-sign-algorithm": "sha1",
            "q-ak": self.secret_id,
            "q-sign-time": span,
            "q-key-time": span,
            "q-header-list": "host",
            "q-url-param-list": ";".join(name for name, _ in query),
            "q-signature": _hmac_sha1_hex(key, text),
        }
        return {"Authorization": "&".join(f"{name}={value}" for name, value in parts.items())}


def _canonical(request: httpx.Request, query: list[tuple[str, str]]) -> str:
    pairs = "&".join(f"{name}={value}" for name, value in query)
    return "\n".join((request.method.lower(), request.url.path, pairs, f"host={encode(request.url.host)}", ""))


def _sha1_hex(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 – the scheme asks for SHA-1


def _hmac_sha1_hex(key: str, text: str) -> str:
    return hmac.digest(key.encode(), text.encode(), "sha1").hex()
