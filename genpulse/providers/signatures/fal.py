"""Callbacks of fal: signed with Ed25519 by one of the keys that it publishes."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from genpulse.errors import Forbidden
from genpulse.providers.signatures.base import check_recent, required, sha256_hex

_SIGNED = ("X-Fal-Webhook-Request-Id", "X-Fal-Webhook-User-Id", "X-Fal-Webhook-Timestamp")


@dataclass(frozen=True)
class FalWebhookVerifier:
    """Knows fal's public keys, the `x` of its JWKS: base64url without padding."""

    keys: Sequence[str]

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        signed = [required(headers, name) for name in _SIGNED]
        message = "\n".join((*signed, sha256_hex(body))).encode()
        try:
            signature = bytes.fromhex(required(headers, "X-Fal-Webhook-Signature"))
        except ValueError:
            raise Forbidden("the callback's signature is not hexadecimal") from None
        if not any(_signed(key, signature, message) for key in self.keys):
            raise Forbidden("the callback's signature is wrong")
        check_recent(signed[-1], now=now)


def _signed(key: str, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(key + "=" * (-len(key) % 4))).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
