"""Files by content: each is stored once under its SHA-256, in a folder, an S3 bucket or memory.

What `put_file` returned for is safe: on disk and synced, or acknowledged by S3. Nothing is ever held in memory whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store
from pydantic import SecretStr

from genpulse.errors import AssetUnavailable, DependencyDown
from genpulse.failpoints import Failpoint
from genpulse.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Config  # exists for type checkers only

_CHUNK_BYTES = 4 * 2**20
_PART_BYTES = 8 * 2**20
_PARTS_AT_ONCE = 4
_PREFIX = "blobs"
#: The folders that blobs are spread over, by the first two characters of their names.
SHARDS = tuple(f"{number:02x}" for number in range(256))
_CHECK_KEY = "check"
#: Of all that only read: whoever dies there has changed nothing.
_READING = Failpoint("storage.read")
#: A blob is uploaded again instead of reused when it is older than this, which makes it young again. The sweep takes
#: only blobs older than a day: what was reused just now is out of its reach for half a day.
_REUSED_FOR = timedelta(hours=12)
#: Retries beyond this are the workflow's, which can also go elsewhere.
_RETRIES = 3
_RETRY_FOR = timedelta(seconds=20)


@dataclass(frozen=True)
class Blob:
    """A stored file as the sweep sees it."""

    sha256: str
    bytes: int
    stored_at: datetime


class Storage:
    """Stores and reads blobs. Raises AssetUnavailable for what is not there and DependencyDown when storage fails."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lasting: set[Path] = set()  # folders of the local store whose own names are on disk

    @classmethod
    def open(
        cls,
        url: str,
        *,
        endpoint: str = "",
        region: str = "us-east-1",
        access_key: SecretStr | None = None,
        secret_key: SecretStr | None = None,
    ) -> Self:
        """Open `file:///folder`, `memory:///` or `s3://bucket/prefix`. Nothing is contacted yet; see `check`.

        `endpoint` names an S3-compatible service other than AWS. Without keys, AWS's own ways to find them apply.
        """
        match urlsplit(url):
            case ("file", "", path, "", "") if path.startswith("/"):
                return cls(LocalStore(unquote(path), mkdir=True))
            case ("memory", "", _, "", ""):
                return cls(MemoryStore())
            case ("s3", bucket, path, "", "") if bucket:
                config: S3Config = {"bucket": bucket, "region": region}
                if endpoint:
                    config["endpoint"] = endpoint
                if access_key and secret_key:
                    config["access_key_id"] = access_key.get_secret_value()
                    config["secret_access_key"] = secret_key.get_secret_value()
                return cls(_s3(config, prefix=path.strip("/")))
        raise ValueError(f"storage must be file:///folder, memory:/// or s3://bucket/prefix, not {url}")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        storage = settings.storage
        return cls.open(
            settings.storage_url,
            endpoint=storage.endpoint,
            region=storage.region,
            access_key=storage.access_key,
            secret_key=storage.secret_key,
        )

    @Failpoint("storage.put")
    async def put_file(self, path: Path) -> tuple[str, int]:
        """Store the file and return its SHA-256 and length. Storing the same content again, or at once, is harmless."""
        sha256, size = await asyncio.to_thread(_digest, path)
        if not await self._is_young(sha256, size):
            with _translated():
                await obstore.put_async(
                    self._store, _key(sha256), path, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
                )
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            # Also what another process has put there a moment ago and may not have synced yet.
            with _translated():
                await asyncio.to_thread(self._sync, self._store.prefix, _key(sha256))
        return sha256, size

    def _sync(self, root: Path, key: str) -> None:
        """Bring the file and the folders that name it to disk: the local store renames, but does not sync."""
        _fsync(root / key)
        new = []
        for folder in Path(key).parents:
            _fsync(root / folder)
            if folder in self._lasting:
                break
            new.append(folder)
        self._lasting.update(new)

    async def _is_young(self, sha256: str, size: int) -> bool:
        with _translated():
            try:
                stored = await obstore.head_async(self._store, _key(sha256))
            except FileNotFoundError:
                return False
        return stored["size"] == size and datetime.now(UTC) - stored["last_modified"] < _REUSED_FOR

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`.

        Each chunk is a request of its own, so a slow reader keeps no connection to storage open.
        """
        stop = await self.size(sha256) if end is None else end
        for position in range(start, stop, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, stop - position)
            with _reading(sha256):
                async with _READING:
                    chunk = await obstore.get_range_async(self._store, _key(sha256), start=position, length=length)
            if len(chunk) != length:
                raise AssetUnavailable(f"the stored file {sha256} is shorter than it should be")
            yield bytes(chunk)

    @Failpoint("storage.fetch")
    async def fetch_to(self, sha256: str, path: Path) -> None:
        """Write the blob to a local file, checking that it is what its name says."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            async for chunk in self.read(sha256):
                await asyncio.to_thread(_write_and_digest, file, digest, chunk)
        if digest.hexdigest() != sha256:
            raise AssetUnavailable(f"the stored file {sha256} is damaged")

    async def size(self, sha256: str) -> int:
        with _reading(sha256):
            async with _READING:
                return (await obstore.head_async(self._store, _key(sha256)))["size"]

    @Failpoint("storage.delete")
    async def delete(self, sha256: str) -> None:
        """Remove the blob; one that is already gone is no error."""
        with _translated(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, _key(sha256))

    async def blobs(self, *, older_than: timedelta, shard: str = "") -> AsyncIterator[Blob]:
        """Yield the blobs of a shard, or all, that were stored before then.

        For the sweep; a day or more keeps it away from those just reused.
        """
        before = datetime.now(UTC) - older_than
        with _translated():
            async with _READING:
                async for batch in obstore.list(self._store, prefix=f"{_PREFIX}/{shard}" if shard else _PREFIX):
                    for stored in batch:
                        if stored["last_modified"] < before:
                            yield Blob(stored["path"].rpartition("/")[2], stored["size"], stored["last_modified"])

    @Failpoint("storage.check")
    async def check(self) -> None:
        """Raise DependencyDown unless something can be written and read back."""
        with _translated():
            await obstore.put_async(self._store, _CHECK_KEY, _CHECK_KEY.encode())
            await obstore.head_async(self._store, _CHECK_KEY)


def _s3(config: S3Config, *, prefix: str) -> S3Store:
    return S3Store(
        prefix=prefix or None,
        # The bulk call is not understood by every S3-compatible service.
        config={**config, "disable_bulk_delete": True},
        client_options={"allow_http": config.get("endpoint", "").startswith("http://")},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
    )


def _key(sha256: str) -> str:
    """Two characters make 256 folders, which keeps each of them small."""
    return f"{_PREFIX}/{sha256[:2]}/{sha256}"


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def _write_and_digest(file: BinaryIO, digest: hashlib._Hash, chunk: bytes) -> None:
    digest.update(chunk)
    file.write(chunk)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    """Whatever else goes wrong at the store means that it is down: its reasons are for the log, not for callers."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise DependencyDown("storage does not answer") from error


@contextmanager
def _reading(sha256: str) -> Iterator[None]:
    with _translated():
        try:
            yield
        except FileNotFoundError as error:
            raise AssetUnavailable(f"the stored file {sha256} is gone") from error
