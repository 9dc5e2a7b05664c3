"""One try to send an event: what goes over the wire, and what the answer means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from genpulse.errors import UnsafeUrl

#: For all of it: name, connection, request and answer.
SECONDS = 20.0
#: Answers in which `Retry-After` is heard.
_ASK_FOR_TIME = frozenset({429, 502, 503, 504})
_MOST_BYTES = 4096
_MOST_TEXT = 500


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a try. `error` is a sentence, and None only where the event has arrived."""

    status_code: int | None = None
    error: str | None = None
    text: str | None = None
    retry_after: float | None = None
    seconds: float = 0.0

    @property
    def is_gone(self) -> bool:
        """The receiver wants nothing at this address any more."""
        return self.status_code == httpx.codes.GONE


async def post_event(client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send the event once. Whatever goes wrong is in the answer."""
    begun = time.monotonic()
    status, text, wait, error = None, None, None, None
    try:
        async with asyncio.timeout(SECONDS):
            request = client.build_request("POST", url, content=body, headers=_HEADERS | dict(headers))
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                status, wait = response.status_code, _retry_after(response)
                error = _why_not(response)
                text = await _beginning(response)
            finally:
                await response.aclose()
    except (TimeoutError, httpx.TimeoutException):
        # Of an answer whose status says that it has arrived the rest does not matter.
        error = error if status else f"It did not answer within {SECONDS:g} seconds."
    except httpx.ConnectError:
        error = "No connection could be made."
    except httpx.TransportError:
        error = error if status else "The connection broke before there was an answer."
    except UnsafeUrl as unsafe:
        error = f"It was not sent: {unsafe.message}."
    return Answer(status_code=status, error=error, text=text, retry_after=wait, seconds=time.monotonic() - begun)


#: Nothing compressed, so that what is read is what was received.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


def _why_not(response: httpx.Response) -> str | None:
    status = response.status_code
    if response.is_success:
        return None
    if response.is_redirect:
        return f"It answered {status}, a redirect, which is not followed."
    if status == httpx.codes.GONE:
        return "It answered 410: it wants no events any more."
    return f"It answered {status}."


async def _beginning(response: httpx.Response) -> str:
    """The first lines of the answer, for whoever has to find out what was wrong."""
    read = b""
    async for part in response.aiter_raw():
        read += part
        if len(read) >= _MOST_BYTES:
            break
    # No database keeps NUL.
    return read[:_MOST_BYTES].decode(errors="replace").replace("\0", "�")[:_MOST_TEXT]


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds until the receiver wants to hear from us again: `Retry-After` is a number of them, or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if response.status_code not in _ASK_FOR_TIME or not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # no date, or one that no clock will show
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
