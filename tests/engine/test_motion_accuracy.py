"""The shipped `local/motion` does what its prompts say; every miss is named in the failure. Figures: docs/models.md."""

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, PIAPipeline

from engine.training import exam, folder

FOLDER = Path(__file__).resolve().parents[2] / "engine" / "models" / "motion"
#: Of the clips, whose motion is right, and who are right in colour, shape and first picture as well. Another processor
#: rounds differently, which decides about a clip or two.
MOTION_FLOOR, FLOOR = 0.9, 0.7
#: How a verdict tells that the motion itself was wrong, whatever became of colour and shape.
MOTION_WRONG = ("degrees off", "only ", "area times", "strayed", "went back")


@pytest.fixture(scope="module")
def pipeline() -> DiffusionPipeline:
    torch.set_num_threads(2)
    return folder.read(FOLDER)


def test_the_folder_is_an_image_to_video_pipeline(pipeline: DiffusionPipeline) -> None:
    assert isinstance(pipeline, PIAPipeline)


def test_objects_move_as_the_prompts_say(pipeline: DiffusionPipeline) -> None:
    verdicts = exam.judge_clips(pipeline, exam.clip_cases())
    moved = [one for one in verdicts if not any(sign in wrong for wrong in one.wrong for sign in MOTION_WRONG)]
    assert len(moved) >= MOTION_FLOOR * len(verdicts), "\n" + exam.report(verdicts)
    assert exam.share_right(verdicts) >= FLOOR, "\n" + exam.report(verdicts)


def test_the_same_seed_gives_the_same_clip(pipeline: DiffusionPipeline) -> None:
    case = exam.clip_cases()[0]
    first, second = (exam.clip(pipeline, case.prompt, case.first, seed=3) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_no_file_is_too_large_for_the_repository() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 16_000_000
