"""The shipped `local/shapes` draws what its prompts say; every miss is named in the failure."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline
from PIL import Image

from engine.training import exam, folder, scoring

FOLDER = Path(__file__).resolve().parents[2] / "engine" / "models" / "shapes"
FLOOR = 0.92


@pytest.fixture(scope="module")
def pipeline() -> DiffusionPipeline:
    torch.set_num_threads(2)
    return folder.read(FOLDER)


def test_pictures_show_what_the_prompts_say(pipeline: DiffusionPipeline) -> None:
    verdicts = exam.judge_pictures(pipeline, exam.picture_cases())
    assert exam.share_right(verdicts) >= FLOOR, "\n" + exam.report(verdicts)


def test_the_native_size_is_the_default(pipeline: DiffusionPipeline) -> None:
    assert exam.pictures(pipeline, ["a red circle"])[0].shape == (64, 64, 3)


def test_the_same_seed_gives_the_same_picture(pipeline: DiffusionPipeline) -> None:
    first, second = (exam.pictures(pipeline, ["a small green star"], seed=5)[0] for _ in range(2))
    assert (first == second).all()


def test_unknown_words_do_no_harm(pipeline: DiffusionPipeline) -> None:
    prompt = "a wonderful xylophonic red circle on a blue background, trending"
    seen = scoring.measure(exam.pictures(pipeline, [prompt])[0])
    assert (seen.colour, seen.background) == ("red", "blue")


def test_pictures_can_be_started_from_a_picture(pipeline: DiffusionPipeline) -> None:
    first = Image.fromarray(exam.picture_of(0, 0, 8, 4, 1))
    editor = AutoPipelineForImage2Image.from_pipe(pipeline)
    editor.set_progress_bar_config(disable=True)
    image = editor(
        prompt="a blue circle on a white background",
        image=first,
        strength=0.8,
        guidance_scale=2.0,
        num_inference_steps=10,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images[0]
    seen = scoring.measure((image * 255).round().astype("uint8"))
    assert (seen.colour, seen.shape, seen.background) == ("blue", "circle", "white")


def test_no_file_is_too_large_for_the_repository() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 16_000_000
