"""Reading request bodies: never more than allowed, JSON without loopholes, and an uploaded file straight to disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from pydantic_core import from_json
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from genpulse.errors import InvalidInput, MalformedRequest, PayloadTooLarge

_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_ENVELOPE_BYTES = 64 * 1024  # what multipart may add around the file
_MOST_DIGITS = 15
#: Of a form: one is wanted, and a form of a browser may have a few others.
MAX_PARTS = 32


async def read_json(request: Request, limit: int) -> Any:
    """The body as JSON. Numbers that are none, broken Unicode and NUL, which no database keeps, are refused."""
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        raise HTTPException(415, "Send the body as JSON, with the header `Content-Type: application/json`.")
    body = b"".join([chunk async for chunk in _limited(request, limit)])
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedRequest(f"The body is not valid JSON: {error}.") from None
    if b"\\u0000" in body:
        _refuse_nul(value, ())
    return value


async def read_form(request: Request, limit: int) -> bytes:
    """The body of a small form, as it was sent."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Send the form as a browser does.")
    return b"".join([chunk async for chunk in _limited(request, limit)])


async def receive_file(request: Request, name: str, to: Path, limit: int) -> None:
    """Write the part `name` of a multipart body to a file while it comes in; at most `limit` bytes."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(415, f"Send the file as the part `{name}` of a multipart/form-data body.")
    # Parsing and writing block for a moment each time, so they have a thread.
    with await asyncio.to_thread(to.open, "wb") as file:
        part = _FilePart(name.encode(), file, limit)
        try:
            parser = MultipartParser(options[b"boundary"], part.callbacks())
            async for chunk in _limited(request, limit + _ENVELOPE_BYTES):
                await asyncio.to_thread(parser.write, chunk)
            parser.finalize()
        except FormParserError as error:
            raise MalformedRequest(f"The multipart body cannot be read: {error}.") from None
    if not part.complete:
        raise InvalidInput(
            f"The body has no file `{name}`; add it as a part of that name, with a file name.", field=name
        )


async def _limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > _MOST_DIGITS or int(length) > limit):
        raise _too_large(limit)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"At most {limit:,} bytes are accepted here; send less.", max_bytes=limit)


def _refuse_nul(value: Any, path: tuple[str, ...]) -> None:
    match value:
        case str() if "\0" in value:
            raise InvalidInput(f"`{'.'.join(path)}` holds the character \\u0000; remove it.", field=".".join(path))
        case dict():
            for key, one in value.items():
                _refuse_nul(key, (*path, key.replace("\0", "")))
                _refuse_nul(one, (*path, key))
        case list():
            for index, one in enumerate(value):
                _refuse_nul(one, (*path, str(index)))


class _FilePart:
    """Receives the pieces of a multipart body from the parser, and keeps those of one file."""

    def __init__(self, name: bytes, file: BinaryIO, limit: int) -> None:
        self.complete = False
        self._name = name
        self._file = file
        self._limit = limit
        self._size = 0
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._wanted = False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._write,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedRequest(f"The multipart body has more than {MAX_PARTS} parts; send the file alone.")
        self._wanted = False

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            # Without a file name it is a form field, sent by mistake: `-F file=path` for `-F file=@path`.
            self._wanted = not self.complete and options.get(b"name") == self._name and b"filename" in options
        self._header.clear()
        self._value.clear()

    def _write(self, data: bytes, start: int, end: int) -> None:
        if not self._wanted:
            return
        self._size += end - start
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._file.write(data[start:end])

    def _end(self) -> None:
        self.complete = self.complete or self._wanted
        self._wanted = False
