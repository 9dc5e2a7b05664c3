"""One way of sending to a cloud, so that no client has to think about what a lost answer means.

A request that was never sent may be sent again. A free one may always be. A paid one that was sent, and whose answer
did not come or cannot be read, has an unknown outcome and is never simply sent again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from genpulse.errors import (
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)

Read = TypeVar("Read", bound=BaseModel)

_TIMEOUTS = httpx.Timeout(60.0, connect=10.0, pool=10.0)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_MAX_ANSWER = 256 * 2**20  # a dozen large pictures in base64
_MOST_TEXT = 300


@dataclass(frozen=True)
class Answer:
    """A whole answer. `data` is its JSON; None where the body is none, such as a proxy's error page."""

    status: int
    headers: httpx.Headers
    content: bytes
    data: Any

    @property
    def retry_after(self) -> float | None:
        """Seconds until the cloud wants to hear from us again, from `Retry-After`: seconds or a date (RFC 9110)."""
        value = self.headers.get("Retry-After", "").strip()
        if not value:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            then = parsedate_to_datetime(value)
        except ValueError:
            return None
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


Refuse = Callable[[Answer], GenPulseError | None]
"""What a cloud's own error answer means; None leaves it to the HTTP status."""


class Wire:
    """Sends JSON to one account of one cloud and reads what comes back.

    `refuse` is asked about every answer, because some clouds report errors with status 200.
    """

    def __init__(
        self,
        cloud: str,
        base_url: str,
        client: httpx.AsyncClient,
        *,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        refuse: Refuse = lambda _answer: None,
    ) -> None:
        self.cloud = cloud
        self.base_url = base_url.rstrip("/")
        self._client = client
        self._auth = auth
        self._headers = dict(headers or {})
        self._refuse = refuse

    async def ask(self, method: str, path: str, into: type[Read], **sent: Any) -> Read:
        """Send what costs nothing. Raises ProviderUnavailable for an answer that is lost or cannot be read."""
        return await self._exchange(method, path, into, ProviderUnavailable, sent)

    async def pay(self, method: str, path: str, into: type[Read], **sent: Any) -> Read:
        """Send what may be billed. Raises OutcomeUnknown for an answer that is lost or cannot be read."""
        return await self._exchange(method, path, into, OutcomeUnknown, sent)

    async def ask_file(self, method: str, path: str, **sent: Any) -> Answer:
        """Send what costs nothing and is answered with a file, or with why there is none yet; the answer is whole."""
        return await self._answered(method, path, ProviderUnavailable, sent)

    async def pay_file(self, method: str, path: str, **sent: Any) -> Answer:
        """Send what may be billed and is answered with the file itself; the headers may tell more of it.

        Raises OutcomeUnknown where none comes.
        """
        answer = await self._answered(method, path, OutcomeUnknown, sent)
        if not answer.content:
            raise OutcomeUnknown(f"{self.cloud} answered without a file.")
        return answer

    async def _exchange(
        self, method: str, path: str, into: type[Read], lost: type[GenPulseError], sent: Mapping[str, Any]
    ) -> Read:
        answer = await self._answered(method, path, lost, sent)
        try:
            return into.model_validate(answer.data)
        except ValidationError as problem:
            missing = ", ".join(".".join(map(str, one["loc"])) or "body" for one in problem.errors()[:5])
            raise lost(f"{self.cloud} answered in a form we do not know (at {missing}).") from problem

    async def _answered(self, method: str, path: str, lost: type[GenPulseError], sent: Mapping[str, Any]) -> Answer:
        """The answer of a cloud that does what it was asked to; anything else raises."""
        answer = await self._send(method, path, lost, sent)
        error = self._refuse(answer) or self._error(answer, lost)
        if error is not None:
            raise error
        return answer

    async def _send(self, method: str, path: str, lost: type[GenPulseError], sent: Mapping[str, Any]) -> Answer:
        url = path if path.startswith(("http://", "https://")) else f"{self.base_url}{path}"
        rest = {"timeout": _TIMEOUTS, **sent, "headers": self._headers | dict(sent.get("headers", {}))}
        try:
            request = self._client.build_request(method, url, **rest)
            response = await self._client.send(request, auth=self._auth, stream=True, follow_redirects=False)
            try:
                content = await self._read(response, lost)
            finally:
                await response.aclose()
        except _NEVER_SENT as error:
            raise ProviderUnavailable(f"{self.cloud} cannot be reached.") from error
        except httpx.TransportError as error:
            late = isinstance(error, httpx.TimeoutException)
            why = "did not answer in time" if late else "closed the connection without an answer"
            raise lost(f"{self.cloud} {why}.") from error
        return Answer(response.status_code, response.headers, content, _json(content))

    async def _read(self, response: httpx.Response, lost: type[GenPulseError]) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > _MAX_ANSWER:
                raise lost(f"{self.cloud} answered with more than {_MAX_ANSWER:,} bytes.")
            parts.append(part)
        return b"".join(parts)

    def _error(self, answer: Answer, lost: type[GenPulseError]) -> GenPulseError | None:
        """What the status alone says."""
        status, text = answer.status, _text(answer)
        if 200 <= status < 300:
            return None
        said = f"{self.cloud} answered {status}{': ' + text if text else ''}"
        match status:
            case 401 | 403:
                return ProviderAuthFailed(said)
            case 402:
                return ProviderQuotaSpent(said)
            case 429:
                return throttled(said, answer)
            case 404 if lost is ProviderUnavailable:
                return JobMissing(said)
            case 408 | 425:
                return ProviderUnavailable(said)
            case _ if status >= 500 or status < 400:
                return lost(said)
        return ProviderRejected(said)


def throttled(message: str, answer: Answer) -> ProviderThrottled:
    """Come back later; when, if the answer says so."""
    return ProviderThrottled(message, retry_after=answer.retry_after)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _text(answer: Answer) -> str:
    """The readable part of an error: of JSON its message, of a proxy's page nothing."""
    data = answer.data
    for name in ("error", "detail", "message", "msg", "error_msg"):
        if isinstance(data, dict) and name in data:
            data = data[name]
            if isinstance(data, dict):
                data = data.get("message") or data.get("msg") or data.get("code")
            return str(data)[:_MOST_TEXT]
    return ""
