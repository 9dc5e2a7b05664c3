"""What request headers mean: request id, idempotency key, how long to wait, byte ranges, preconditions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from genpulse.errors import MalformedRequest, RangeNotSatisfiable
from genpulse.ids import new_id

MAX_WAIT_SECONDS = 60
MAX_IDEMPOTENCY_KEY = 255
#: For the document: what `idempotency_key` takes. Bare, with a quote at one end only, which is part of it, or quoted.
IDEMPOTENCY_KEY_FORM = r'^([!#-~][!-~]{0,254}|"|"[!-~]{0,253}[!#-~]|"[!-~]{1,255}")$'

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)
_ONE_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


def request_id(given: str | None) -> str:
    """The caller's X-Request-Id where it is safe to log and to echo, else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_id("req")


def idempotency_key(given: str | None) -> str | None:
    """The key, bare or as the quoted string of the IETF draft; both forms are the same key."""
    if given is None:
        return None
    quoted = len(given) > 1 and given[0] == given[-1] == '"'
    key = given[1:-1] if quoted else given
    if len(key) > MAX_IDEMPOTENCY_KEY or not _VISIBLE_ASCII.fullmatch(key):
        raise MalformedRequest(
            f"Idempotency-Key needs 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters; a UUID does well.",
            field="Idempotency-Key",
        )
    return key


def wait_seconds(prefer: str | None) -> int:
    """Seconds of `Prefer: wait=N`, at most 60; 0 where none is asked for. Other preferences are ignored (RFC 7240)."""
    found = _WAIT.search(prefer) if prefer else None
    return min(int(found[1]), MAX_WAIT_SECONDS) if found else 0


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` to `end`, `end` not included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def byte_range(given: str | None, size: int) -> ByteRange | None:
    """The range that a Range header asks for; None means the whole content.

    Several ranges, other units and nonsense are answered with the whole, which RFC 9110 allows. Raises
    RangeNotSatisfiable for one range that begins behind the end.
    """
    found = _ONE_RANGE.fullmatch(given.strip()) if given else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = size - min(int(found[2]), size), size
    else:
        start, end = int(found[1]), min(int(found[2] or size), size - 1) + 1
        if found[2] and int(found[2]) < start:
            return None
    if start >= size or start == end:
        raise RangeNotSatisfiable(f"The content has {size} bytes; ask for a range within it.", field="Range", size=size)
    return ByteRange(start, end)


def etag_matches(given: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag."""
    return given is not None and (
        given.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in given.split(","))
    )
