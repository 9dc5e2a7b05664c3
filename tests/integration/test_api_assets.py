"""Files: what may come in, and how it goes out."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from api.security_headers import NOTHING
from api.services import Services
from genpulse.db import utc_now
from genpulse.ids import new_id
from genpulse.schemas.assets import Asset
from genpulse.schemas.states import MediaKind
from tests.integration.conftest import assert_problem, plant_asset, png

PNG = png()
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def clip(path: Path) -> bytes:
    """A second of video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for level in range(0, 240, 30):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


async def upload(api: httpx.AsyncClient, content: bytes = PNG) -> dict[str, Any]:
    answer = await api.post("/v1/assets", files={"file": ("a.png", content)})
    assert answer.status_code == 201, answer.text
    asset: dict[str, Any] = answer.json()
    return asset


def bare(api: httpx.AsyncClient) -> dict[str, str]:
    """Headers of a request without a key."""
    return {"Authorization": ""}


# In -----------------------------------------------------------------------------------------------------------------


async def test_an_upload_is_known_by_its_content(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/assets", files={"file": ("../../lie.mp4", PNG, "video/mp4")})
    assert answer.status_code == 201
    asset = Asset.model_validate(answer.json())
    assert answer.headers["location"] == f"http://api.test/v1/assets/{asset.id}"
    assert (asset.kind, asset.media_type, asset.width, asset.bytes) == ("image", "image/png", 64, len(PNG))
    assert asset.poster_url is None
    assert Asset.model_validate((await api.get(f"/v1/assets/{asset.id}")).json()) == asset


async def test_a_video_gets_a_poster(api: httpx.AsyncClient, tmp_path: Path) -> None:
    asset = await upload(api, clip(tmp_path / "clip.mp4"))
    assert (asset["kind"], asset["duration"], asset["fps"]) == ("video", 1.0, 8.0)
    poster = await api.get(asset["poster_url"], headers=bare(api))
    assert (poster.status_code, poster.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(poster.content)).size == (64, 64)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", SVG, b"<!doctype html><script>alert(1)</script>", PNG[:60], b"GIF89a", b"\0" * 1000],
    ids=["empty", "text", "svg", "html", "cut-off", "head-only", "zeros"],
)
async def test_what_is_no_media_is_refused(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post("/v1/assets", files={"file": ("a.png", content, "image/png")})
    assert_problem(answer, 422, "media_rejected", "/file")
    assert (await api.get("/v1/assets")).json()["data"] == []


async def test_a_file_over_the_limit_is_refused_while_it_comes(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/assets", files={"file": ("a.png", PNG + b"\0" * 100_000)})
    assert assert_problem(answer, 413, "payload_too_large")["details"] == {"max_bytes": 100_000}
    answer = await api.post("/v1/assets", files={"file": ("a.png", b"\0" * 1_000_000)})
    assert_problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize(
    ("options", "status", "code", "pointers"),
    [
        ({"files": {"image": ("a.png", PNG)}}, 422, "invalid_input", ["/file"]),
        ({"files": {"file": (None, PNG)}}, 422, "invalid_input", ["/file"]),
        ({"data": {"file": "a.png"}}, 415, "unsupported_media_type", []),
        ({"json": {"file": "a.png"}}, 415, "unsupported_media_type", []),
        ({"content": PNG, "headers": {"Content-Type": "image/png"}}, 415, "unsupported_media_type", []),
        ({"content": PNG, "headers": {"Content-Type": "multipart/form-data"}}, 415, "unsupported_media_type", []),
        (
            {"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            400,
            "malformed_request",
            [],
        ),
        (
            {"content": b"--x\r\n" + b"a" * 9000, "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            400,
            "malformed_request",
            [],
        ),
        (
            {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            422,
            "invalid_input",
            ["/file"],
        ),
    ],
)
async def test_another_form_of_body_is_refused(
    api: httpx.AsyncClient, options: dict[str, Any], status: int, code: str, pointers: list[str]
) -> None:
    assert_problem(await api.post("/v1/assets", **options), status, code, *pointers)


async def test_other_parts_do_not_matter(api: httpx.AsyncClient) -> None:
    files = [("note", ("n.txt", b"hello")), ("file", ("a.png", PNG)), ("file", ("b.png", b"second"))]
    answer = await api.post("/v1/assets", files=files, data={"purpose": "input"})
    assert (answer.status_code, answer.json()["bytes"]) == (201, len(PNG))


async def test_a_key_is_needed_to_upload_to_list_and_to_delete(api: httpx.AsyncClient) -> None:
    asset = await upload(api)
    for method, path in [("POST", ""), ("GET", ""), ("GET", f"/{asset['id']}"), ("DELETE", f"/{asset['id']}")]:
        assert_problem(await api.request(method, f"/v1/assets{path}", headers=bare(api)), 401, "unauthenticated")


# Out ----------------------------------------------------------------------------------------------------------------


async def test_the_link_needs_no_key_and_the_key_no_link(api: httpx.AsyncClient) -> None:
    asset = await upload(api)
    by_link = await api.get(asset["url"], headers=bare(api))
    by_key = await api.get(f"/v1/assets/{asset['id']}/content")
    assert by_link.content == by_key.content == PNG
    assert dict(by_link.headers) | {"x-request-id": ""} == dict(by_key.headers) | {"x-request-id": ""}
    assert by_link.headers["content-type"] == "image/png"
    assert by_link.headers["content-length"] == str(len(PNG))
    assert by_link.headers["etag"] == f'"{asset["sha256"]}"'
    assert by_link.headers["accept-ranges"] == "bytes"
    assert by_link.headers["x-content-type-options"] == "nosniff"
    assert by_link.headers["content-security-policy"] == f"{NOTHING}; sandbox"
    assert by_link.headers["content-disposition"] == f'inline; filename="{asset["id"]}.png"'
    assert by_link.headers["cache-control"].startswith("private")


async def test_nobody_reads_without_link_or_key(api: httpx.AsyncClient) -> None:
    asset = await upload(api)
    assert_problem(await api.get(f"/v1/assets/{asset['id']}/content", headers=bare(api)), 401, "unauthenticated")


@pytest.mark.parametrize("change", ["signature", "expires", "key", "asset", "poster"])
async def test_a_changed_link_is_refused(api: httpx.AsyncClient, change: str) -> None:
    asset, other = await upload(api), await upload(api, png(32, 32))
    url = httpx.URL(asset["url"])
    match change:
        case "asset":
            url = url.copy_with(path=f"/v1/assets/{other['id']}/content")
        case "poster":
            url = url.copy_with(path=f"/v1/assets/{asset['id']}/poster")
        case _:
            url = url.copy_merge_params({change: url.params[change] + "0"})
    assert_problem(await api.get(url), 403, "forbidden")


async def test_an_expired_link_is_refused(api: httpx.AsyncClient, services: Services) -> None:
    asset = await upload(api)
    path = f"/v1/assets/{asset['id']}/content"
    valid, expired = [
        await api.get(f"{path}?{services.signer.sign(path, utc_now() + timedelta(seconds=seconds))}")
        for seconds in (60, -1)
    ]
    assert valid.status_code == 200
    assert "expired" in assert_problem(expired, 403, "forbidden")["detail"]


async def test_a_link_to_what_was_deleted_is_not_found(api: httpx.AsyncClient) -> None:
    asset = await upload(api)
    deleted = await api.delete(f"/v1/assets/{asset['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in (asset["url"], f"/v1/assets/{asset['id']}", f"/v1/assets/{asset['id']}/content"):
        assert_problem(await api.get(path), 404, "not_found")
    assert_problem(await api.delete(f"/v1/assets/{asset['id']}"), 404, "not_found")


N = len(PNG)


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=0-0", 0, 1),
        ("bytes=10-", 10, N),
        ("bytes=-10", N - 10, N),
        ("bytes=-999999", 0, N),
        ("bytes=10-999999", 10, N),
        (f"bytes={N - 1}-", N - 1, N),
        ("BYTES = 5 - 6", 5, 7),
    ],
)
async def test_a_range_is_answered_with_that_part(api: httpx.AsyncClient, given: str, start: int, end: int) -> None:
    asset = await upload(api)
    answer = await api.get(asset["url"], headers={"Range": given})
    assert answer.status_code == 206
    assert answer.content == PNG[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{N}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("given", ["bytes=", "bytes=-", "bytes=9-3", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "0-9"])
async def test_a_range_that_is_none_is_ignored(api: httpx.AsyncClient, given: str) -> None:
    asset = await upload(api)
    answer = await api.get(asset["url"], headers={"Range": given})
    assert (answer.status_code, answer.content) == (200, PNG)


@pytest.mark.parametrize("given", [f"bytes={N}-", "bytes=999999-9999999", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused(api: httpx.AsyncClient, given: str) -> None:
    asset = await upload(api)
    answer = await api.get(asset["url"], headers={"Range": given})
    assert_problem(answer, 416, "range_not_satisfiable", "/Range")
    assert answer.headers["content-range"] == f"bytes */{N}"


async def test_conditions_compare_the_content(api: httpx.AsyncClient) -> None:
    asset = await upload(api)
    etag = f'"{asset["sha256"]}"'
    for given, status in [(etag, 304), (f"W/{etag}", 304), (f'"x", {etag}', 304), ("*", 304), ('"x"', 200)]:
        answer = await api.get(asset["url"], headers={"If-None-Match": given})
        assert answer.status_code == status
        assert answer.headers["etag"] == etag
    for given, status in [(etag, 206), ('"x"', 200), ("Sun, 22 Nov 2026 12:00:00 GMT", 200)]:
        answer = await api.get(asset["url"], headers={"Range": "bytes=0-3", "If-Range": given})
        assert answer.status_code == status


async def test_head_has_the_headers_alone(api: httpx.AsyncClient) -> None:
    asset = await upload(api)
    whole = await api.head(asset["url"])
    assert (whole.status_code, whole.headers["content-length"], whole.content) == (200, str(N), b"")
    part = await api.head(asset["url"], headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.headers["content-length"]) == (206, "4")


async def test_a_file_that_storage_has_lost_is_told_before_the_first_byte(
    api: httpx.AsyncClient, services: Services
) -> None:
    row = await plant_asset(services)
    assert_problem(await api.get(f"/v1/assets/{row.id}/content"), 502, "asset_unavailable")
    assert_problem(await api.get(f"/v1/assets/{row.id}/poster"), 404, "not_found")


# Lists --------------------------------------------------------------------------------------------------------------


async def test_the_gallery_is_the_tenants_newest_first_and_in_pages(api: httpx.AsyncClient, services: Services) -> None:
    rows = [await plant_asset(services) for _ in range(5)]
    video = await plant_asset(services, kind=MediaKind.VIDEO, media_type="video/mp4")
    await plant_asset(services, tenant_id="other")
    listed = sorted([row.id for row in (*rows, video)], reverse=True)
    first = (await api.get("/v1/assets", params={"limit": 4})).json()
    rest = (await api.get("/v1/assets", params={"limit": 4, "starting_after": first["data"][-1]["id"]})).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [one["id"] for one in first["data"] + rest["data"]] == listed
    videos = (await api.get("/v1/assets", params={"kind": "video"})).json()["data"]
    assert [one["id"] for one in videos] == [video.id]


async def test_another_tenants_file_does_not_exist(api: httpx.AsyncClient, services: Services) -> None:
    foreign = await plant_asset(services, tenant_id="other")
    for method, path in [("GET", ""), ("GET", "/content"), ("GET", "/poster"), ("DELETE", "")]:
        assert_problem(await api.request(method, f"/v1/assets/{foreign.id}{path}"), 404, "not_found")
    assert_problem(await api.get(f"/v1/assets/{new_id('ast')}"), 404, "not_found")
