"""Baidu AI Cloud's bce-auth-v1 signature, for VOD and for short-lived bearer tokens.

As the official SDK computes it (`bce_v1_signer` of PyPI `bce-python-sdk`). The body is not signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from genpulse.providers.signatures.base import encode, hmac_sha256


@dataclass(frozen=True, kw_only=True)
class BaiduSigner:
    """Signs method, path, query and the headers that say what is asked, and names these; good for the lifetime."""

    access_key: str
    secret_key: SecretStr
    lifetime: timedelta = timedelta(minutes=30)

    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:
        moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = httpx.Headers(request.headers)
        headers["x-bce-date"] = moment
        names = sorted(name for name, value in headers.items() if _is_signed(name) and value.strip())
        prefix = f"bce-auth-v1/{self.access_key}/{moment}/{self.lifetime // timedelta(seconds=1)}"
        signature = self._signature(prefix, _canonical(request, headers, names))
        return {"Authorization": f"{prefix}/{';'.join(names)}/{signature}", "x-bce-date": moment}

    def _signature(self, prefix: str, canonical: str) -> str:
        # The second key is the text of the first digest, not its bytes.
        key = hmac_sha256(self.secret_key.get_secret_value().encode(), prefix).hex()
        return hmac_sha256(key.encode(), canonical).hex()


def _is_signed(name: str) -> bool:
    # Baidu's own headers count even where they are not named.
    return name in {"content-md5", "content-type", "host"} or name.startswith("x-bce-")


def _canonical(request: httpx.Request, headers: httpx.Headers, names: Iterable[str]) -> str:
    pairs = [pair for pair in request.url.params.multi_items() if pair[0].lower() != "authorization"]
    query = "&".join(sorted(f"{encode(name)}={encode(value)}" for name, value in pairs))
    lines = sorted(f"{encode(name)}:{encode(headers[name].strip())}" for name in names)
    return "\n".join((request.method, quote(request.url.path), query, *lines))
