"""The command line: what it loads, what it documents, how it reads and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from genpulse import client as client_module
from genpulse.cli import app
from genpulse.cli.generate import Wish
from genpulse.client import Client, ClientError, Event, Unreachable

ROOT = Path(__file__).parents[2]
HEAVY = {"alembic", "fastapi", "httpx", "pydantic", "sqlalchemy", "structlog", "temporalio", "torch", "uvicorn"}

Answer = Callable[[httpx.Request], httpx.Response]


def genpulse(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "genpulse.cli", *arguments],
        env=os.environ | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def calling(answer: Answer) -> Client:
    return Client("http://test", "key", transport=httpx.MockTransport(answer))


# The command --------------------------------------------------------------------------------------------------------


def _commands(group: Any = None, name: str = "genpulse") -> Iterator[str]:
    group = group or typer.main.get_command(app)
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}"


def test_help_answers_without_loading_what_commands_need() -> None:
    program = (
        "import sys, genpulse.cli; from typer.main import get_command; get_command(genpulse.cli.app)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(loaded.stdout.split()) == set()


@pytest.mark.parametrize("command", list(_commands()))
def test_command_is_documented(command: str) -> None:
    assert f"`{command}" in (ROOT / "docs/cli.md").read_text("utf-8")


def test_version() -> None:
    from genpulse import __version__

    assert genpulse("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["jobs", "list"], {"GENPULSE_URL": "http://127.0.0.1:1"}, "Nothing answers at http://127.0.0.1:1"),
        (["jobs", "list"], {"GENPULSE_URL": "nonsense"}, "'nonsense' is no address of an API"),
        (["worker", "--queues", "gp-none"], {}, "There is no queue 'gp-none'; there are gp-workflows"),
        (["migrate"], {"GENPULSE_SERVER__PORT": "high"}, "GENPULSE_SERVER__PORT: Input should be a valid integer"),
        (["migrate"], {"GENPULSE_SERVER__COLOUR": "red"}, "GENPULSE_SERVER__COLOUR: Extra inputs are not permitted"),
        (
            ["migrate"],
            {"GENPULSE_SECURITY__ADMIN_KEY": "short"},
            "genpulse: GENPULSE_SECURITY__ADMIN_KEY needs 32 characters",
        ),
        (
            ["migrate"],
            {"GENPULSE_CREDITS__PRICES": '{"kling/kling-9": {"unit": "call", "credits": 1}}'},
            "genpulse: GENPULSE_CREDITS__PRICES has prices of what there is not: kling/kling-9.",
        ),
        (
            ["migrate"],
            {"GENPULSE_CREDITS__PRICES": '{"kling/avatar": {"unit": "second", "credits": 1}}'},
            "genpulse: The price of kling/avatar for image-to-video needs `at_most`",
        ),
        (["migrate"], {"GENPULSE_CREDITS__MARKUP": "-1"}, "GENPULSE_CREDITS__MARKUP: Input should be greater than or"),
        (["generate", "x", "--input", "seed"], {}, "--input 'seed' is not of the form KEY=VALUE"),
        (["generate", "x", "--image", "/no/such.png"], {}, "/no/such.png cannot be read: No such file or directory"),
        (["generate", "x", "--out", "/dev/null/x"], {}, "/dev/null/x cannot be used as a folder: Not a directory"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    result = genpulse(*arguments, **{"GENPULSE_DATA_DIR": str(tmp_path)} | environment)
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.returncode == 1


# Requests -----------------------------------------------------------------------------------------------------------


async def test_inputs_are_read_as_json_and_otherwise_as_text() -> None:
    inputs = ["duration=2", "prompt2=a=b", "loop=true", 'workflow={"a": 1}', "resolution=480p"]
    operation = "image-to-video"
    wish = Wish(prompt="x", model="local/motion", operation=operation, inputs=inputs, image=None, video=None)
    async with calling(lambda _request: httpx.Response(500)) as client:
        request = await wish.as_request(client)
    assert request == {
        "model": "local/motion",
        "operation": "image-to-video",
        "input": {
            "prompt": "x",
            "duration": 2,
            "prompt2": "a=b",
            "loop": True,
            "workflow": {"a": 1},
            "resolution": "480p",
        },
    }


async def test_a_problem_becomes_a_sentence_with_its_fields() -> None:
    problem = {
        "type": "about:blank",
        "title": "Unprocessable",
        "status": 422,
        "detail": "The request is invalid.",
        "instance": "/v1/generations",
        "code": "invalid_input",
        "request_id": "req_1",
        "errors": [{"pointer": "/input/width", "detail": "must be at most 8192"}],
        "details": {},
    }
    async with calling(lambda _request: httpx.Response(422, json=problem)) as client:
        with pytest.raises(
            ClientError, match=r"The request is invalid\. \(/input/width: must be at most 8192\)"
        ) as got:
            await client.submit({})
    assert got.value.problem is not None
    assert got.value.problem.code == "invalid_input"


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (httpx.Response(502, text="<html>"), "answered 502 Bad Gateway"),
        (httpx.Response(200, text="<html>"), "does not answer like GenPulse"),
    ],
)
async def test_an_answer_of_something_else_becomes_a_sentence(response: httpx.Response, sentence: str) -> None:
    async with calling(lambda _request: response) as client:
        with pytest.raises(ClientError, match=sentence):
            await client.get("gen_1")


# Event streams ------------------------------------------------------------------------------------------------------


def _block(number: int, kind: str, **data: Any) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class Stream(httpx.AsyncByteStream):
    """Chunks of an event stream, and how it ends."""

    def __init__(self, *chunks: bytes, breaks: bool = False) -> None:
        self._chunks = chunks
        self._breaks = breaks

    async def __aiter__(self) -> Any:
        for chunk in self._chunks:
            yield chunk
        if self._breaks:
            raise httpx.ReadError("gone")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_RECONNECT_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "_PATIENCE_SECONDS", 0.05)


async def _events(*streams: Stream) -> tuple[list[Event], list[str | None]]:
    waiting, resumed = list(streams), []

    def answer(request: httpx.Request) -> httpx.Response:
        resumed.append(request.headers.get("last-event-id"))
        return httpx.Response(200, stream=waiting.pop(0))

    async with calling(answer) as client:
        return [event async for event in client.events("gen_1")], resumed


async def test_events_come_whole_however_the_bytes_arrive() -> None:
    stream = b": ping\n\nretry: 1000\n\n" + _block(1, "status", status="a\u2028b") + _block(2, "done")
    expected = [Event("1", "status", {"status": "a\u2028b"}), Event("2", "done", {})]
    for size in (1, 7, len(stream)):
        chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert await _events(Stream(*chunks)) == (expected, [None])
    crlf = stream.replace(b"\n", b"\r\n")
    assert await _events(Stream(*(crlf[start : start + 1] for start in range(len(crlf))))) == (expected, [None])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("breaks", [True, False])
async def test_a_stream_that_ends_early_is_resumed_after_the_last_event(breaks: bool) -> None:
    first = Stream(_block(1, "status"), b"id: 2\nevent: prog", breaks=breaks)
    events, resumed = await _events(first, Stream(breaks=breaks), Stream(_block(2, "progress"), _block(3, "done")))
    assert [event.id for event in events] == ["1", "2", "3"]
    assert resumed == [None, "1", "1"]


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_stays_away_is_given_up() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with calling(answer) as client:
        with pytest.raises(Unreachable, match="Nothing answers at http://test"):
            [event async for event in client.events("gen_1")]


# Downloads ----------------------------------------------------------------------------------------------------------


ASSET = {
    "id": "ast_1",
    "object": "asset",
    "kind": "image",
    "media_type": "image/png",
    "bytes": 4,
    "sha256": "0" * 64,
    "width": 1,
    "height": 1,
    "duration": None,
    "fps": None,
    "url": "http://test/x",
    "poster_url": None,
    "created_at": "2026-01-01T00:00:00Z",
}


def files_in(folder: Path) -> list[tuple[str, bytes]]:
    return [(file.name, file.read_bytes()) for file in folder.iterdir()]


async def test_a_download_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    from genpulse.schemas.assets import Asset

    asset = Asset.model_validate(ASSET)
    async with calling(lambda _request: httpx.Response(200, stream=Stream(b"ab", breaks=True))) as client:
        with pytest.raises(Unreachable):
            await client.download(asset, tmp_path / "x.png")
    assert files_in(tmp_path) == []
    async with calling(lambda _request: httpx.Response(200, stream=Stream(b"ab", b"cd"))) as client:
        await client.download(asset, tmp_path / "x.png")
    assert files_in(tmp_path) == [("x.png", b"abcd")]
