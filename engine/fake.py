"""An engine that makes nothing up: real, tiny files at once, for load tests of everything around it."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from PIL import Image

from engine import video
from genpulse.schemas.engine import EngineOutput, EngineTask, OnProgress
from genpulse.schemas.states import Operation

_SIDE = 64
_FPS = 8
_FRAMES = 8
_COLOUR = (88, 64, 160)
_VIDEOS = frozenset(
    {
        Operation.TEXT_TO_VIDEO,
        Operation.IMAGE_TO_VIDEO,
        Operation.VIDEO_TO_VIDEO,
        Operation.VIDEO_UPSCALE,
        Operation.VIDEO_INTERPOLATE,
    }
)


class FakeEngine:
    """Implements `genpulse.schemas.engine.Engine`; every file of one kind and size is the same."""

    def run(self, task: EngineTask, *, out_dir: Path, on_progress: OnProgress) -> EngineOutput:
        """Write `count` files, without looking at any other input."""
        width, height = task.width or _SIDE, task.height or _SIDE
        is_video = task.operation in _VIDEOS
        content = _clip(width, height) if is_video else _picture(width, height)
        files = tuple(out_dir / f"{index}.{'mp4' if is_video else 'png'}" for index in range(task.count))
        for file in files:
            file.write_bytes(content)
        on_progress(1.0)
        return EngineOutput(files=files, parameters={"model": task.model, "width": width, "height": height})


@lru_cache(maxsize=32)
def _picture(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), _COLOUR).save(content, "PNG")
    return content.getvalue()


@lru_cache(maxsize=32)
def _clip(width: int, height: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "0.mp4"
        pictures = [Image.new("RGB", (width, height), _COLOUR)] * _FRAMES
        video.encode(file, video.timed(pictures, Fraction(_FPS)), fps=Fraction(_FPS))
        return file.read_bytes()
