"""Tencent Cloud's TC3-HMAC-SHA256 signature, for all services of API 3.0, VOD among them.

As documented, and as the official SDK computes it (PyPI `tencentcloud-sdk-python-common`). What the action is stands in
headers that are not signed; the content type, the host and the body are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr

from genpulse.providers.signatures.base import derived_key, hmac_sha256, sha256_hex

_ALGORITHM = "TC3-HMAC-SHA256"
_SIGNED = "content-type;host"


@dataclass(frozen=True, kw_only=True)
class TencentSigner:
    """Signs for one service, such as `vod`; the token is of temporary keys."""

    secret_id: str
    secret_key: SecretStr
    service: str
    token: SecretStr | None = None

    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:
        # A GET has no content type of its own, and must have this one.
        content_type = request.headers.get("Content-Type", "application/x-www-form-urlencoded")
        timestamp = str(int(now.timestamp()))
        scope = (now.astimezone(UTC).strftime("%Y-%m-%d"), self.service, "tc3_request")
        canonical = _canonical(request, content_type)
        text = "\n".join((_ALGORITHM, timestamp, "/".join(scope), sha256_hex(canonical.encode())))
        signature = hmac_sha256(derived_key("TC3" + self.secret_key.get_secret_value(), *scope), text).hex()
        credential = "/".join((self.secret_id, *scope))
        added = {
            "Authorization": f"{_ALGORITHM} Credential={credential}, SignedHeaders={_SIGNED}, Signature={signature}",
            "Content-Type": content_type,
            "X-TC-Timestamp": timestamp,
        }
        return added | ({"X-TC-Token": self.token.get_secret_value()} if self.token else {})


def _canonical(request: httpx.Request, content_type: str) -> str:
    # Path and query as they are sent: they are not put into another form.
    path, _, query = request.url.raw_path.decode().partition("?")
    headers = f"content-type:{content_type}\nhost:{request.headers['Host']}\n"
    return "\n".join((request.method, path, query, headers, _SIGNED, sha256_hex(request.content)))
