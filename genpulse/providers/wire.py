"""One way of sending to a cloud, so that no client has to think about what a lost answer means.

A request that was never sent may be sent again. A free one may always be. A paid one that was sent, and whose answer
did not come or cannot be read, has an unknown outcome and is never simply sent again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from genpulse.errors import (
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)

Read = TypeVar("Read", bound=BaseModel)

_TIMEOUTS = httpx.Timeout(60.0, connect=10.0, pool=10.0)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_MAX_ANSWER = 256 * 2**20  # a dozen large pictures in base64
_MAX_ERROR = 2**20
_MOST_TEXT = 300
_LONGEST_REST = 24 * 3600.0
#: What cannot unpack to more than about a thousand times its size; two of them, one within the other, could.
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})


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
        seconds = _seconds(self.headers.get("Retry-After", "").strip())
        return None if seconds is None or math.isnan(seconds) else min(max(0.0, seconds), _LONGEST_REST)


Refuse = Callable[[Answer], GenPulseError | None]
"""What a cloud's own error answer means; None leaves it to the HTTP status."""


class Wire:
    """Sends JSON to one account of one cloud and reads what comes back.

    `refuse` is asked about every answer, because some clouds report errors with status 200. An answer may name the
    address to ask next. Credentials go there only if it is of the origin of `base_url`, or https at one of the `own`
    domains of the cloud; a wire without credentials may be led `anywhere`.
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
        own: Sequence[str] = (),
        anywhere: bool = False,
    ) -> None:
        assert not (anywhere and (auth or headers)), "credentials do not go anywhere"
        self.cloud = cloud
        self.base_url = base_url.rstrip("/")
        self._home = _origin(self.base_url)
        self._own = tuple(own)
        self._anywhere = anywhere
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
        url = self._address(path)
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
        except httpx.RequestError as error:
            late = isinstance(error, httpx.TimeoutException)
            why = "did not answer in time" if late else "closed the connection without an answer"
            raise lost(f"{self.cloud} {why}.") from error
        return Answer(response.status_code, response.headers, content, _json(content))

    def is_own(self, url: str) -> bool:
        """Whether credentials may go to an address that an answer has named."""
        origin = _origin(url)
        if origin is None:
            return False
        scheme, host, port = origin
        ours = any(host == one or host.endswith(f".{one}") for one in self._own)
        return origin == self._home or (ours and scheme == "https" and port is None)

    def _address(self, path: str) -> str:
        if path.startswith("/"):
            return f"{self.base_url}{path}"
        # Anything else would become part of the host: `@elsewhere.example/`, `.elsewhere.example/`.
        if not (self.is_own(path) or (self._anywhere and _origin(path))):
            raise ProviderFailed(
                f"{self.cloud} named an address that is not its own; nothing is sent there.", retryable=False
            )
        return path

    async def _read(self, response: httpx.Response, lost: type[GenPulseError]) -> bytes:
        """The body; of an error that is too long, nothing, because its status says enough."""
        if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
            raise lost(f"{self.cloud} answered in a compression that was not asked for.")
        most = _MAX_ERROR if response.is_error else _MAX_ANSWER
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > most and response.is_error:
                return b""
            if size > most:
                raise lost(f"{self.cloud} answered with more than {most:,} bytes.")
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


def _seconds(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decoded only now, which may fail
    except (httpx.InvalidURL, UnicodeError):
        return None
    return (parsed.scheme, host, parsed.port) if host and not parsed.userinfo else None


def _json(content: bytes) -> Any:
    """Its depth is limited, as the standard library's is not: that would end in a RecursionError."""
    try:
        return from_json(content)
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
