"""What means to become large, or is something else, is refused by the API wherever a file can come in."""

from __future__ import annotations

import base64
import tempfile
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from api.services import Services
from tests.bombs import bombs
from tests.integration.conftest import assert_problem

BOMBS = bombs()
_ALL = timedelta(0)


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_and_leaves_nothing_behind(
    api: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where files are looked at until the request is over
    stored = {blob.sha256 async for blob in services.storage.blobs(older_than=_ALL)}
    answer = await api.post("/v1/assets", files={"file": ("picture.png", BOMBS[name], "image/png")})
    problem = assert_problem(answer, 422, "media_rejected", "/file")
    assert len(problem["detail"]) < 500
    for internal in ("Traceback", "/tmp", "genpulse-upload", "PIL.", "av."):
        assert internal not in answer.text
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - of a test
    assert {blob.sha256 async for blob in services.storage.blobs(older_than=_ALL)} == stored
    assert (await api.get("/v1/assets")).json()["data"] == []


@pytest.mark.parametrize("name", ["png of 50,000 by 50,000", "mp4 of 400,000,000 samples", "svg that laughs"])
async def test_a_bomb_within_a_submission_is_refused(api: httpx.AsyncClient, name: str) -> None:
    data = f"data:image/png;base64,{base64.b64encode(BOMBS[name]).decode()}"
    body = {"model": "local/motion", "operation": "image-to-video", "input": {"prompt": "x", "image": {"data": data}}}
    assert_problem(await api.post("/v1/generations", json=body), 422, "media_rejected", "/input/image/data")
