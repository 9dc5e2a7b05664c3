"""Kling's access key and secret key: a JSON Web Token (RFC 7519, HS256) for each request, as its documents ask."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import httpx
from pydantic import SecretStr

from genpulse.providers.signatures.base import hmac_sha256

#: Seconds before and after now in which the token is good.
_SINCE, _UNTIL = 5, 1800


@dataclass(frozen=True, kw_only=True)
class KlingSigner:
    """Says who asks, not what: a token fits any request. The single API key of newer accounts is a BearerKey."""

    access_key: str
    secret_key: SecretStr

    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:  # noqa: ARG002 – the shape of a Signer
        moment = int(now.timestamp())
        claims = {"iss": self.access_key, "exp": moment + _UNTIL, "nbf": moment - _SINCE}
        text = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
        signature = hmac_sha256(self.secret_key.get_secret_value().encode(), text)
        return {"Authorization": f"Bearer {text}.{_base64(signature)}"}


def _segment(content: Mapping[str, object]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
