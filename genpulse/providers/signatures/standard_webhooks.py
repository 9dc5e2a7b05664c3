"""Callbacks signed as the Standard Webhooks specification says: those of Kling, OpenAI and Replicate."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import SecretStr

from genpulse.errors import Forbidden
from genpulse.providers.signatures.base import check_recent, matches, required

_PREFIX = "whsec_"


@dataclass(frozen=True)
class StandardWebhookVerifier:
    """Knows the endpoint's secret, `whsec_` and base64.

    Whether a message came before is the caller's to know, by its `webhook-id`: this one is stateless.
    """

    secret: SecretStr

    def __post_init__(self) -> None:
        _key(self.secret)

    @classmethod
    def of(cls, secret: str | None) -> Self | None:
        """The verifier of an account, where its secret is known."""
        return cls(SecretStr(secret)) if secret else None

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        message, timestamp = required(headers, "webhook-id"), required(headers, "webhook-timestamp")
        signed = f"{message}.{timestamp}.".encode(errors="surrogatepass") + body
        expected = "v1," + b64encode(hmac.digest(_key(self.secret), signed, "sha256")).decode()
        # While a secret is being replaced there are several; entries of other versions match nothing.
        if not any(matches(given, expected) for given in required(headers, "webhook-signature").split()):
            raise Forbidden("the callback's signature is wrong")
        check_recent(timestamp, now=now)


def _key(secret: SecretStr) -> bytes:
    prefix, separator, encoded = secret.get_secret_value().partition("_")
    key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if prefix + separator != _PREFIX or not key:
        raise ValueError(f"a webhook's secret is {_PREFIX} and base64")
    return key
