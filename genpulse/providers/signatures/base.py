"""What signers and verifiers have in common: their shape, their place in httpx, and the few operations they share."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Protocol
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from genpulse.errors import Forbidden

_TOLERANCE = timedelta(minutes=5)


class Signer(Protocol):
    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:
        """Return the headers that make the request ours; its body has been read."""


class Verifier(Protocol):
    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        """Raise Forbidden unless the cloud sent exactly these bytes, and recently where it signs the time."""


@dataclass(frozen=True)
class BearerKey:
    """The plain API key of a cloud that asks for no signature."""

    key: SecretStr

    def sign(self, request: httpx.Request, *, now: datetime) -> dict[str, str]:  # noqa: ARG002 – the shape of a Signer
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"}


class SignedAuth(httpx.Auth):
    """Signs each request as it leaves, with the time it leaves at."""

    requires_request_body = True

    def __init__(self, signer: Signer, clock: Callable[[], datetime]) -> None:
        self._signer = signer
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self._signer.sign(request, now=self._clock()))
        yield request


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hmac_sha256(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def derived_key(secret: str, *scope: str) -> bytes:
    """Return the key that only works within the scope: each of its parts is signed with the key before it."""
    return reduce(hmac_sha256, scope, secret.encode())


def encode(text: str) -> str:
    """Percent-encode everything but letters, digits and `-_.~`."""
    return quote(text, safe="")


def matches(given: str, expected: str) -> bool:
    """Compare in constant time; what was given may be any text."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def required(headers: Mapping[str, str], name: str) -> str:
    """Return the header, however it is capitalised; raise Forbidden without it."""
    value = next((value for known, value in headers.items() if known.lower() == name.lower()), "")
    if not value:
        raise Forbidden(f"the callback is not signed: it has no {name} header")
    return value


def check_recent(timestamp: str, *, now: datetime) -> None:
    """Raise Forbidden unless the Unix time is now, give or take what clocks differ and deliveries take."""
    try:
        age = int(now.timestamp()) - int(timestamp)
    except ValueError:
        raise Forbidden("the callback's timestamp is not a whole number of seconds") from None
    if abs(age) > _TOLERANCE.total_seconds():
        raise Forbidden(f"the callback's timestamp is more than {_TOLERANCE.seconds // 60} minutes off")
