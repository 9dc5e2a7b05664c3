"""Google: where it is sent."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from genpulse.errors import (
    ProviderAuthFailed,
)
from genpulse.providers.base import Credentials, Finished, Job, Output
from genpulse.providers.google import Google
from tests.unit.google.shared import (
    EXPRESS,
    NAME,
    VEO,
    VIDEO,
    call,
)


def listening(answers: list[dict[str, Any]], seen: list[httpx.Request], **credentials: Any) -> Google:
    """An account that sends to Google itself, and is answered by these."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=answers[len(seen) - 1])

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return Google("", Credentials(**credentials), client)


@pytest.mark.parametrize(
    ("credentials", "address", "header"),
    [
        (
            {"access_key": "t", "options": {"project": "p", "location": "us-central1"}},
            f"https://us-central1-aiplatform.googleapis.com/v1beta1/{NAME}:predictLongRunning",
            ("Authorization", "Bearer t"),
        ),
        (
            {"access_key": "t", "api_key": "k", "options": {"project": "p"}},
            f"https://aiplatform.googleapis.com/v1beta1/{NAME.replace('us-central1', 'global')}:predictLongRunning",
            ("Authorization", "Bearer t"),
        ),
        (
            {"api_key": "k"},
            f"https://aiplatform.googleapis.com/v1beta1/{EXPRESS}:predictLongRunning",
            ("x-goog-api-key", "k"),
        ),
        (
            {"api_key": "k", "secret_key": "express"},
            f"https://aiplatform.googleapis.com/v1beta1/{EXPRESS}:predictLongRunning",
            ("x-goog-api-key", "express"),
        ),
    ],
)
async def test_where_veo_is(credentials: dict[str, Any], address: str, header: tuple[str, str]) -> None:
    seen: list[httpx.Request] = []
    await listening([{"name": f"{NAME}/operations/1"}], seen, **credentials).submit(call(VEO))
    name, value = header
    assert (str(seen[0].url), seen[0].headers[name]) == (address, value)
    assert len({"authorization", "x-goog-api-key"} & set(seen[0].headers)) == 1


async def test_where_gemini_is() -> None:
    seen: list[httpx.Request] = []
    cloud = listening([{"id": "v1_x", "status": "queued"}], seen, api_key="k")
    assert await cloud.submit(call(VIDEO)) == Job(id="v1_x")
    assert str(seen[0].url) == "https://generativelanguage.googleapis.com/v1/interactions"
    assert (seen[0].headers["x-goog-api-key"], seen[0].url.query) == ("k", b"")


async def test_a_stored_video_is_fetched_with_the_token() -> None:
    done = {"name": "x", "done": True, "response": {"videos": [{"gcsUri": "gs://bucket/a folder/0.mp4"}]}}
    cloud = listening([done], [], access_key="t", options={"project": "p", "location": "us-central1"})
    state = await cloud.poll(Job(id=f"{NAME}/operations/1"), call(VEO))
    assert isinstance(state, Finished)
    assert state.outputs == [
        Output(
            url="https://storage.googleapis.com/storage/v1/b/bucket/o/a%20folder%2F0.mp4?alt=media",
            headers={"Authorization": "Bearer t"},
        )
    ]


@pytest.mark.parametrize(
    ("credentials", "words"), [({}, "ACCESS_KEY"), ({"access_key": "t"}, "OPTIONS")], ids=["nothing", "no project"]
)
async def test_what_vertex_needs_is_said(credentials: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderAuthFailed, match=words):
        await listening([], [], **credentials).submit(call(VEO))


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://generativelanguage.googleapis.com/v1/files/x:download?alt=media", True),
        ("https://storage.googleapis.com/x", True),
        ("https://elsewhere.example/x", False),
        ("https://evilgoogleapis.com/x", False),
    ],
)
async def test_the_key_is_shown_to_google_alone(link: str, shown: bool) -> None:
    step = {"type": "model_output", "content": [{"type": "video", "uri": link, "mime_type": "video/mp4"}]}
    cloud = listening([{"id": "v1_x", "status": "completed", "steps": [step]}], [], api_key="k")
    state = await cloud.submit(call(VIDEO))
    assert isinstance(state, Finished), "done at once"
    assert state.outputs[0].headers == ({"x-goog-api-key": "k"} if shown else {})
