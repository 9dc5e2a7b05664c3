"""Files on their way in and out: outputs and uploads into storage, stored files back to the shape a model accepts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx

from genpulse.adapters import Fitted, fit_image, needs_fitting
from genpulse.db import Database, utc_now
from genpulse.errors import AdaptionRequired, GenPulseError, InvalidInput
from genpulse.failpoints import Failpoint
from genpulse.ids import new_id
from genpulse.media import MediaLimits, is_quick, poster, probe
from genpulse.models import AssetRow
from genpulse.net import download
from genpulse.providers.base import Media
from genpulse.records import StepWork
from genpulse.repositories import assets
from genpulse.schemas.assets import MediaInfo
from genpulse.schemas.catalog import ImageRules, Size
from genpulse.schemas.generations import Adaption, media_references
from genpulse.schemas.plans import StepOrder
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind
from genpulse.storage import Storage

T = TypeVar("T")

_DOWNLOAD_SECONDS = 120.0
#: Files unpacked at once by a process: each may take as much memory as the largest picture has pixels.
_AT_ONCE = max(2, os.cpu_count() or 2)


@dataclass
class Staged:
    """Media inputs of a step as local files, those of a list as `name.0`, and what had to be changed about them."""

    files: dict[str, Path] = field(default_factory=dict)
    fitted: set[str] = field(default_factory=set)
    adaptions: list[Adaption] = field(default_factory=list)


class Assets:
    """Moves files between storage, callers and models. `client` fetches inputs that are given by URL."""

    def __init__(self, database: Database, storage: Storage, client: httpx.AsyncClient, limits: MediaLimits) -> None:
        self._database = database
        self._storage = storage
        self._client = client
        self._limits = limits
        self._unpacking = asyncio.Semaphore(_AT_ONCE)

    @Failpoint("assets.upload")
    async def upload(self, path: Path, tenant_id: str) -> AssetRow:
        """Store a caller's file. Raises MediaRejected for what is no sound image, video or audio within the limits."""
        row = await self.ingest(path, tenant_id)
        async with self._database.transaction() as session:
            await assets.add(session, [row])
        return row

    async def ingest(
        self, path: Path, tenant_id: str, *, made_by: StepOrder | None = None, index: int | None = None
    ) -> AssetRow:
        """Probe a file and store its bytes and, for a video, a poster. The row is for the caller to insert."""
        info = await self._inspect(path, lambda: probe(path, limits=self._limits))
        sha256, size = await self._storage.put_file(path)
        return AssetRow(
            id=new_id("ast"),
            tenant_id=tenant_id,
            sha256=sha256,
            bytes=size,
            poster_sha256=await self._store_poster(path) if info.kind == MediaKind.VIDEO else None,
            generation_id=made_by.generation_id if made_by else None,
            position=made_by.position if made_by else None,
            output_index=index,
            created_at=utc_now(),
            **info.model_dump(),
        )

    async def ingest_outputs(self, paths: Sequence[Path], order: StepOrder) -> list[AssetRow]:
        """Store what a step has made."""
        return [
            await self.ingest(path, order.tenant_id, made_by=order, index=index) for index, path in enumerate(paths)
        ]

    async def as_media(self, path: Path, *, url: str | None = None) -> Media:
        """A staged input as a cloud's client takes it."""
        info = await self._inspect(path, lambda: probe(path, limits=self._limits))
        return Media(path=path, media_type=info.media_type, url=url)

    async def _store_poster(self, video: Path) -> str:
        with TemporaryDirectory(prefix="genpulse-poster-") as folder:
            still = Path(folder) / "poster.jpg"
            async with self._unpacking:
                await asyncio.to_thread(poster, video, still)
            sha256, _ = await self._storage.put_file(still)
            return sha256

    async def stage(self, work: StepWork, rules: Mapping[str, ImageRules], folder: Path) -> Staged:
        """Bring the media inputs of a step into `folder`, fitted to what its model accepts.

        Frames of the result take its shape; what is only looked at for reference keeps its own. Raises AdaptionRequired
        where fitting is needed but `adapt` is off, and for a URL what `download` raises.
        """
        staged, given = Staged(), work.input
        made = Size(given["width"], given["height"]) if {"width", "height"} <= given.keys() else None
        for name, value in media_references(given):
            field = name.partition(".")[0]
            target = None if field == "reference_images" else made
            path = folder / f"{name}-source"
            info, size = await self._fetch(work, name, value, path)
            staged.files[name] = path
            if field in rules and work.adapt:
                fit = partial(fit_image, path, rules[field], folder / name, target=target)
                if fitted := await self._inspect(path, fit):
                    staged.files[name] = fitted.path
                    staged.fitted.add(name)
                    staged.adaptions.append(_adaption(work.step_id, fitted))
            elif field in rules and (why := needs_fitting(info, size, rules[field], target=target)):
                raise AdaptionRequired(f"`adapt` is off, and `{name}` does not fit: {why}.", field=f"input.{name}")
        return staged

    async def _fetch(self, work: StepWork, name: str, value: Mapping[str, Any], to: Path) -> tuple[MediaInfo, int]:
        source = work.sources.get(name)
        if source is not None:
            await self._storage.fetch_to(source.sha256, to)
            return MediaInfo.model_validate(source, from_attributes=True), source.bytes
        most = min(self._limits.max_bytes, work.input_bytes or self._limits.max_bytes)
        try:
            size = await download(self._client, value["url"], to, max_bytes=most, timeout=_DOWNLOAD_SECONDS)
            info = await self._inspect(to, lambda: probe(to, limits=self._limits))
        except GenPulseError as error:
            error.field = f"input.{name}.url"
            raise
        needed = MEDIA_FIELDS[name.partition(".")[0]]
        if info.kind != needed:
            raise InvalidInput(
                f"`{name}` takes {needed}, but the URL gave {info.media_type}.", field=f"input.{name}.url"
            )
        return info, size

    async def _inspect(self, path: Path, look: Callable[[], T]) -> T:
        if is_quick(path):
            return look()
        async with self._unpacking:
            return await asyncio.to_thread(look)


def _adaption(step_id: str, fitted: Fitted) -> Adaption:
    return Adaption(kind="image-fitted", step=step_id, added_step=None, message=fitted.message)
