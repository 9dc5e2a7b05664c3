"""Volcengine's HMAC-SHA256 signature, for the Visual (Jimeng) service.

As the official SDK computes it (`SignerV4` of PyPI `volcengine`): like AWS's version 4, but the chain of keys begins
with the bare secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from genpulse.providers.signatures.base import derived_key, encode, hmac_sha256, sha256_hex

_ALGORITHM = "HMAC-SHA256"


@dataclass(frozen=True, kw_only=True)
class VolcengineSigner:
    """Signs the body, the query and every header that says what is asked; the session token is of temporary keys."""

    access_key: str
    secret_key: SecretStr
    session_token: SecretStr | None = None
    region: str = "cn-north-1"
    service: str = "cv"

    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        added = {"X-Date": moment, "X-Content-Sha256": sha256_hex(request.content)}
        if self.session_token:
            added["X-Security-Token"] = self.session_token.get_secret_value()
        signed = _signed_headers(request, added)
        scope = (moment[:8], self.region, self.service, "request")
        text = "\n".join((_ALGORITHM, moment, "/".join(scope), sha256_hex(_canonical(request, signed).encode())))
        signature = hmac_sha256(derived_key(self.secret_key.get_secret_value(), *scope), text).hex()
        credential = "/".join((self.access_key, *scope))
        added["Authorization"] = (
            f"{_ALGORITHM} Credential={credential}, SignedHeaders={';'.join(signed)}, Signature={signature}"
        )
        return added


def _signed_headers(request: httpx.Request, added: dict[str, str]) -> dict[str, str]:
    headers = httpx.Headers(request.headers)
    headers.update(added)
    # The gateway reads the host without the ports that go without saying.
    headers["Host"] = headers["Host"].removesuffix(":80").removesuffix(":443")
    return {
        name: value.strip()
        for name, value in sorted(headers.items())
        if name in {"content-type", "content-md5", "host"} or name.startswith("x-")
    }


def _canonical(request: httpx.Request, signed: dict[str, str]) -> str:
    # Sorted by name alone: values of a repeated one keep their order.
    pairs = sorted(request.url.params.multi_items(), key=itemgetter(0))
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    return "\n".join(
        (request.method, quote(request.url.path), query, lines, ";".join(signed), sha256_hex(request.content))
    )
