"""The sweep drops what nobody needs, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from PIL import Image

from genpulse.assets import Assets
from genpulse.db import Database
from genpulse.media import MediaLimits
from genpulse.net import http_client
from genpulse.repositories import assets
from genpulse.schemas.upkeep import DutyReport
from genpulse.settings import UploadSettings
from genpulse.storage import Storage
from genpulse.sweep import Sweeper
from tests.tables import create_tables

LONG_AGO = timedelta(seconds=-5)  # by the clock of the file system, which may be behind ours
YOUNG = timedelta(hours=1)


async def test_only_files_without_an_asset_are_dropped_once_they_are_old(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'genpulse.db'}")
    await create_tables(database)
    storage = Storage.open((tmp_path / "assets").as_uri())
    async with http_client() as client:
        desk = Assets(database, storage, client, MediaLimits(**UploadSettings().model_dump()))
        kept, deleted = [await desk.upload(_picture(tmp_path / name, name), "default") for name in ("red", "blue")]
    async with database.transaction() as session:
        assert await assets.remove(session, "default", deleted.id)

    assert await Sweeper(database, storage, kept_for=YOUNG).sweep() == DutyReport(counts={"files": 0})
    assert await Sweeper(database, storage, kept_for=LONG_AGO).sweep() == DutyReport(counts={"files": 1})
    left = [blob.sha256 async for blob in storage.blobs(older_than=LONG_AGO)]
    assert left == [kept.sha256]
    await database.dispose()


def _picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (8, 8), colour).save(path, "PNG")
    return path
