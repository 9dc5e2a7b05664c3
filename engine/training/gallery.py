"""Contact sheets of what the shipped pipelines make, for the documentation and for people's eyes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from diffusers import DiffusionPipeline
from PIL import Image

from engine.training import exam
from engine.training.motion import FRAMES
from engine.training.scoring import Picture


def grid(pictures: Sequence[Picture], columns: int, gap: int = 4) -> Image.Image:
    """Lay pictures out in rows on white."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + gap) + gap, (number % columns) * (width + gap) + gap
        sheet[top : top + height, left : left + width] = picture
    return Image.fromarray(sheet)


def shapes_sheet(pipeline: DiffusionPipeline, path: Path) -> None:
    """The pictures of the first prompts of the exam, eight to a row."""
    prompts = [case.prompt for case in exam.picture_cases(48)]
    _save(grid(exam.pictures(pipeline, prompts), columns=8), path)


def motion_sheet(pipeline: DiffusionPipeline, path: Path) -> None:
    """A row of frames for each motion."""
    cases = exam.clip_cases()[:10]
    frames = [
        frame for number, case in enumerate(cases) for frame in exam.clip(pipeline, case.prompt, case.first, number)
    ]
    _save(grid(frames, columns=FRAMES), path)


def _save(sheet: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
