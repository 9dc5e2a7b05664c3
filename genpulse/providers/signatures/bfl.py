"""Callbacks of Black Forest Labs: an HMAC-SHA256 of the body, as the vendor's guide shows it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from genpulse.errors import Forbidden
from genpulse.providers.signatures.base import matches, required


@dataclass(frozen=True)
class BflWebhookVerifier:
    """Knows the secret that went with the request, and which header bears the signature: examples differ.

    No time is signed, so a callback can be repeated for ever: take it as a hint to ask for the result.
    """

    secret: SecretStr
    header: str = "X-BFL-Signature"

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("without a secret anyone could sign")

    def verify(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        now: datetime,  # noqa: ARG002 – the shape of a Verifier
    ) -> None:
        expected = "sha256=" + hmac.digest(self.secret.get_secret_value().encode(), body, "sha256").hex()
        if not matches(required(headers, self.header), expected):
            raise Forbidden("the callback's signature is wrong")
