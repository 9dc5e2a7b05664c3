"""The same facts hold in a folder, in memory and on a real S3 service."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore, S3Store
from pydantic import SecretStr

from genpulse import storage as module
from genpulse.errors import AssetUnavailable, DependencyDown
from genpulse.settings import Settings
from genpulse.storage import Storage
from tests.servers.s3 import S3Server, s3_server

MEGABYTE = 2**20
NOWHERE = "0" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def on_s3(server: S3Server, **changes: str) -> Storage:
    given = {"url": f"s3://{server.bucket}/some/prefix", "endpoint": server.endpoint, "secret": server.secret_key}
    given |= changes
    return Storage.open(
        given["url"],
        endpoint=given["endpoint"],
        access_key=SecretStr(server.access_key),
        secret_key=SecretStr(given["secret"]),
    )


@pytest.fixture(params=["file", "memory", "s3"])
def storage(request, tmp_path) -> Storage:
    if request.param == "s3":
        return on_s3(request.getfixturevalue("server"))
    return Storage.open("memory:///" if request.param == "memory" else (tmp_path / "a b").as_uri())


@pytest.fixture
def make(tmp_path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "source"
        path.write_bytes(content)
        return path

    return write


async def whole(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("size", [0, 1, 1000, 4 * MEGABYTE, 4 * MEGABYTE + 1, 20 * MEGABYTE])
async def test_what_was_put_comes_back(storage, make, tmp_path, size):
    content = os.urandom(size)
    sha256, stored = await storage.put_file(make(content))
    assert (sha256, stored) == (hashlib.sha256(content).hexdigest(), size)
    assert await storage.size(sha256) == size
    assert await whole(storage.read(sha256)) == content
    await storage.fetch_to(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (5, 5), (999, 1000), (0, 4 * MEGABYTE), (4 * MEGABYTE - 3, 4 * MEGABYTE + 3), (1, 9 * MEGABYTE)],
)
async def test_a_range_is_read_exactly(storage, make, start, end):
    content = os.urandom(9 * MEGABYTE)
    sha256, _ = await storage.put_file(make(content))
    assert await whole(storage.read(sha256, start, end)) == content[start:end]


async def test_a_range_without_end_runs_to_the_end(storage, make):
    sha256, _ = await storage.put_file(make(b"0123456789"))
    assert await whole(storage.read(sha256, 7)) == b"789"


async def test_a_large_file_is_never_in_memory_whole(storage, make, tmp_path):
    path = make(os.urandom(64 * MEGABYTE))
    tracemalloc.start()
    try:
        sha256, _ = await storage.put_file(path)
        await storage.fetch_to(sha256, tmp_path / "copy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * MEGABYTE


async def test_a_missing_blob_is_unavailable(storage, tmp_path):
    for attempt in (storage.size(NOWHERE), whole(storage.read(NOWHERE)), whole(storage.read(NOWHERE, 0, 5))):
        with pytest.raises(AssetUnavailable, match=f"{NOWHERE} is gone"):
            await attempt
    with pytest.raises(AssetUnavailable):
        await storage.fetch_to(NOWHERE, tmp_path / "copy")


async def test_a_blob_shorter_than_recorded_is_unavailable_not_silently_cut(make, tmp_path):
    storage = Storage.open(tmp_path.as_uri())
    sha256, _ = await storage.put_file(make(b"0123456789"))
    with pytest.raises(AssetUnavailable, match="shorter"):
        await whole(storage.read(sha256, 5, 15))


async def test_damage_is_noticed_when_fetching(make, tmp_path):
    storage = Storage.open((tmp_path / "store").as_uri())
    sha256, _ = await storage.put_file(make(b"0123456789"))
    (tmp_path / "store" / "blobs" / sha256[:2] / sha256).write_bytes(b"012345678X")
    with pytest.raises(AssetUnavailable, match="damaged"):
        await storage.fetch_to(sha256, tmp_path / "copy")


async def test_a_deleted_blob_is_gone_and_deleting_again_is_no_error(storage, make):
    sha256, _ = await storage.put_file(make(os.urandom(100)))
    await storage.delete(sha256)
    with pytest.raises(AssetUnavailable):
        await storage.size(sha256)
    await storage.delete(sha256)


async def test_many_put_the_same_content_at_once(storage, make):
    content = os.urandom(9 * MEGABYTE)
    path = make(content)
    results = await asyncio.gather(*(storage.put_file(path) for _ in range(8)))
    assert len(set(results)) == 1
    assert await whole(storage.read(results[0][0])) == content


async def test_blobs_are_listed_with_their_age_for_the_sweep(storage, make):
    await storage.check()  # leaves an object that is no blob
    sha256, size = await storage.put_file(make(os.urandom(123)))
    listed = {blob.sha256: blob async for blob in storage.blobs(older_than=timedelta(seconds=-5))}
    assert listed[sha256].bytes == size
    assert abs(datetime.now(UTC) - listed[sha256].stored_at) < timedelta(minutes=1)
    assert all(len(name) == 64 for name in listed)
    assert [blob async for blob in storage.blobs(older_than=timedelta(minutes=5))] == []


# ---------------------------------------------------------------------------------------------------- stored once


def blob_path(root: Path, sha256: str) -> Path:
    return root / "blobs" / sha256[:2] / sha256


async def put_again(make: Callable[[bytes], Path], root: Path, content: bytes = b"0123456789") -> Path:
    storage = Storage.open(root.as_uri())
    return blob_path(root, (await storage.put_file(make(content)))[0])


async def test_content_that_is_there_is_not_written_again(make, tmp_path):
    path = await put_again(make, tmp_path / "store")
    before = path.stat()
    assert (await put_again(make, tmp_path / "store")).stat().st_ino == before.st_ino


async def test_a_blob_of_the_wrong_length_is_written_again(make, tmp_path):
    path = await put_again(make, tmp_path / "store")
    path.write_bytes(b"01234")
    assert (await put_again(make, tmp_path / "store")).read_bytes() == b"0123456789"


async def test_an_old_blob_is_made_young_so_that_the_sweep_leaves_it(make, tmp_path):
    path = await put_again(make, tmp_path / "store")
    thirteen_hours_ago = path.stat().st_mtime - 13 * 3600
    os.utime(path, (thirteen_hours_ago, thirteen_hours_ago))
    storage = Storage.open((tmp_path / "store").as_uri())
    assert [blob.sha256 async for blob in storage.blobs(older_than=timedelta(hours=12))] == [path.name]
    await put_again(make, tmp_path / "store")
    assert [blob async for blob in storage.blobs(older_than=timedelta(hours=12))] == []


async def test_a_blob_is_synced_with_its_folders_even_when_reused(make, tmp_path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    for _ in range(2):
        synced.clear()
        path = await put_again(make, tmp_path / "store")
        assert synced == [str(step) for step in (path, *list(path.parents)[:3])]


async def test_a_write_that_fails_leaves_nothing_under_the_name(make, tmp_path):
    root = tmp_path / "store"
    storage = Storage.open(root.as_uri())
    (root / "blobs").write_bytes(b"a file where the folder should be")
    with pytest.raises(DependencyDown):
        await storage.put_file(make(b"0123456789"))


# ------------------------------------------------------------------------------------------------- reach and rights


async def test_a_working_store_passes_the_check(storage):
    await storage.check()


async def assert_down(storage: Storage, path: Path) -> None:
    """Every operation says that storage is down, and nothing about where it is or why."""
    for attempt in (
        storage.check(),
        storage.put_file(path),
        anext(storage.blobs(older_than=timedelta(0))),
    ):
        with pytest.raises(DependencyDown, match=r"^storage does not answer$"):
            await attempt


async def test_a_wrong_secret_is_refused(server, make):
    storage = on_s3(server, secret="wrong")
    await assert_down(storage, make(b"x"))
    for attempt in (storage.size(NOWHERE), storage.delete(NOWHERE)):
        with pytest.raises(DependencyDown):
            await attempt


async def test_a_missing_bucket_is_noticed(server, make):
    await assert_down(on_s3(server, url="s3://nowhere"), make(b"x"))


async def test_a_server_that_is_down_is_noticed(server, make, monkeypatch):
    monkeypatch.setattr(module, "_RETRIES", 0)
    storage = on_s3(server, endpoint="http://127.0.0.1:1")
    await assert_down(storage, make(b"x"))
    with pytest.raises(DependencyDown):
        await whole(storage.read(NOWHERE))


async def test_objects_lie_under_the_prefix(server, make):
    sha256, _ = await on_s3(server).put_file(make(os.urandom(9)))
    assert blob_path(server.folder / "some" / "prefix", sha256).exists()


async def test_settings_open_the_store_they_name(server, tmp_path, make):
    settings = Settings.model_validate(
        {
            "storage": {
                "url": f"s3://{server.bucket}",
                "endpoint": server.endpoint,
                "region": "us-east-1",
                "access_key": server.access_key,
                "secret_key": server.secret_key,
            }
        }
    )
    sha256, _ = await Storage.from_settings(settings).put_file(make(os.urandom(9)))
    assert blob_path(server.folder, sha256).exists()
    embedded = Settings(data_dir=tmp_path / "data")
    sha256, _ = await Storage.from_settings(embedded).put_file(make(b"x"))
    assert blob_path(tmp_path / "data" / "assets", sha256).exists()


@pytest.mark.parametrize(
    "url",
    ["", "folder", "file://host/folder", "file:folder", "s3:///prefix", "s3://b?x=1", "http://host/b", "memory://x"],
)
def test_another_kind_of_url_is_refused(url):
    with pytest.raises(ValueError, match="file:///folder, memory:/// or s3://bucket/prefix"):
        Storage.open(url)


def test_without_endpoint_and_keys_it_is_aws_with_its_own_ways_to_find_keys():
    store = Storage.open("s3://bucket/a/b/")._store
    assert isinstance(store, S3Store)
    assert store.prefix == "a/b"
    assert not {"endpoint", "access_key_id", "secret_access_key"} & store.config.keys()


def test_the_local_store_is_the_folder_named(tmp_path):
    store = Storage.open((tmp_path / "ü %20").as_uri())._store
    assert isinstance(store, LocalStore)
    assert store.prefix == tmp_path / "ü %20"
