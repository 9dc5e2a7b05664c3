"""Tiny models, an engine that knows them, and something to look at."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from engine.local import LocalEngine
from genpulse.schemas.catalog import EngineModel, Size
from genpulse.schemas.engine import EngineOutput, EngineTask, OnProgress
from genpulse.schemas.states import Operation

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # some tests import torch before the engine does

PIPELINE_OPERATIONS = (
    Operation.TEXT_TO_IMAGE,
    Operation.IMAGE_TO_IMAGE,
    Operation.TEXT_TO_VIDEO,
    Operation.IMAGE_TO_VIDEO,
)
#: Said by a library about itself; nothing that we could change.
QUIET = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(QUIET))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EngineModel]:
    """Return a function from a name in `tiny.BUILDERS` to its entry in a catalogue; saved at first use."""
    from tests.engine import tiny

    root = tmp_path_factory.mktemp("tiny")
    folder = cache(lambda name: tiny.save(name, root / name))

    def entry(name: str, **changes: object) -> EngineModel:
        usual: dict[str, object] = {
            "source": str(folder(name)),
            "operations": PIPELINE_OPERATIONS,
            "native": Size(64, 64),
            "min_side": 16,
            "steps": 3,
            "frames": 8,
            "fps": 8,
        }
        return EngineModel.model_validate(usual | changes)

    return entry


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def engine(tiny_model: Callable[..., EngineModel], cache_dir: Path) -> LocalEngine:
    """An engine shared by all tests that leave it as it is."""
    models = {
        name: tiny_model(name)
        for name in ("sd", "sdxl", "flux", "ltx", "ltx-i2v", "wan", "wan-both", "wan-i2v", "pia", "svd")
    }
    models["upscale"] = EngineModel(
        kind="upscaler", operations=(Operation.IMAGE_UPSCALE, Operation.VIDEO_UPSCALE), max_side=2048
    )
    models["interpolate"] = EngineModel(kind="interpolator", operations=(Operation.VIDEO_INTERPOLATE,))
    models["fake"] = EngineModel(kind="fake")
    return LocalEngine(models, cache_bytes=2**30, cache_dir=cache_dir, device="cpu")


@pytest.fixture
def out_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def run(engine: LocalEngine, out_dir: Path, task: Callable[..., EngineTask]) -> Callable[..., EngineOutput]:
    """Return a function that runs the task so described on the shared engine."""

    def do(on_progress: OnProgress = lambda done: None, **changes: object) -> EngineOutput:
        return engine.run(task(**changes), out_dir=out_dir, on_progress=on_progress)

    return do


@pytest.fixture
def task() -> Callable[..., EngineTask]:
    """Return a function that makes a task, text to image by the tiny Stable Diffusion unless told otherwise."""

    def make(**changes: object) -> EngineTask:
        usual: dict[str, object] = {
            "model": "sd",
            "operation": Operation.TEXT_TO_IMAGE,
            "prompt": "a red circle on blue",
            "seed": 7,
        }
        return EngineTask(**(usual | changes))  # type: ignore[arg-type]

    return make


def drawing(width: int = 64, height: int = 64) -> Image.Image:
    """Draw shapes with hard edges."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.1, height * 0.1, width * 0.6, height * 0.6), fill="crimson", outline="black", width=2)
    draw.rectangle((width * 0.5, height * 0.5, width * 0.9, height * 0.85), fill="royalblue", outline="black")
    draw.line((0, height - 4, width, height * 0.4), fill="black", width=2)
    return image


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    drawing().save(path)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight frames of a disc that moves 8 pixels to the right each, at 8 frames per second."""
    from fractions import Fraction

    from engine import video

    path = tmp_path / "clip.mp4"
    video.encode(path, video.timed([disc(24 + 8 * index) for index in range(8)], Fraction(8)), fps=Fraction(8))
    return path


def disc(x: float, side: int = 128) -> Image.Image:
    image = Image.new("RGB", (side, side), "black")
    ImageDraw.Draw(image).ellipse((x - 10, side / 2 - 10, x + 10, side / 2 + 10), fill="white")
    return image
