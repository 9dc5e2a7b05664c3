"""Every family that can be built tiny runs every operation that it has."""

from __future__ import annotations

import pytest
from PIL import Image

from engine import pictures, video
from engine.families import FAMILIES, arguments, family_of, native_frames
from genpulse.errors import InvalidInput, ModelUnavailable
from genpulse.schemas.catalog import Size
from genpulse.schemas.states import Operation

IMAGES = [("sd", "StableDiffusion"), ("sdxl", "StableDiffusionXL"), ("flux", "Flux")]
VIDEOS = [
    ("ltx", Operation.TEXT_TO_VIDEO, "LTXPipeline"),
    ("ltx", Operation.IMAGE_TO_VIDEO, "LTXImageToVideoPipeline"),
    ("ltx-i2v", Operation.IMAGE_TO_VIDEO, "LTXImageToVideoPipeline"),
    ("ltx-i2v", Operation.TEXT_TO_VIDEO, "LTXPipeline"),
    ("wan", Operation.TEXT_TO_VIDEO, "WanPipeline"),
    ("wan-i2v", Operation.IMAGE_TO_VIDEO, "WanImageToVideoPipeline"),
    ("wan-both", Operation.TEXT_TO_VIDEO, "WanPipeline"),
    ("wan-both", Operation.IMAGE_TO_VIDEO, "WanImageToVideoPipeline"),
    ("pia", Operation.IMAGE_TO_VIDEO, "PIAPipeline"),
    ("svd", Operation.IMAGE_TO_VIDEO, "StableVideoDiffusionPipeline"),
]


@pytest.mark.parametrize(("name", "class_name"), IMAGES)
def test_text_to_image(run, out_dir, name, class_name):
    output = run(model=name)
    (file,) = output.files
    assert file == out_dir / "0.png"
    with Image.open(file) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (64, 64), "RGB")
    assert output.parameters["pipeline"] == f"{class_name}Pipeline"


@pytest.mark.parametrize(("name", "class_name"), IMAGES)
def test_image_to_image(run, picture, name, class_name):
    output = run(model=name, operation=Operation.IMAGE_TO_IMAGE, image=picture, strength=0.34)
    assert output.parameters["pipeline"] == f"{class_name}Img2ImgPipeline"
    assert output.parameters["strength"] == 0.34
    assert pictures.size_of(output.files[0]) == (64, 64)


@pytest.mark.parametrize(("name", "operation", "class_name"), VIDEOS)
def test_video(run, picture, name, operation, class_name):
    image = picture if operation is Operation.IMAGE_TO_VIDEO else None
    output = run(model=name, operation=operation, image=image)
    (file,) = output.files
    clip = video.probe(file)
    assert file.name == "0.mp4"
    assert (clip.size, float(clip.fps), clip.frames) == (Size(64, 64), 8, 8)
    assert output.parameters["pipeline"] == class_name


def test_another_form_shares_the_weights_and_leaves_the_loaded_pipeline_as_it_was(engine, run, picture):
    before = run().files[0].read_bytes()
    held = engine._store.used("cpu")
    run(operation=Operation.IMAGE_TO_IMAGE, image=picture)
    assert engine._store.used("cpu") == held
    assert run().files[0].read_bytes() == before


@pytest.mark.parametrize(
    ("name", "operation"), [("wan", Operation.IMAGE_TO_VIDEO), ("wan-i2v", Operation.TEXT_TO_VIDEO)]
)
def test_weights_for_one_operation_are_not_bent_to_the_other(run, picture, name, operation):
    image = picture if operation is Operation.IMAGE_TO_VIDEO else None
    with pytest.raises(ModelUnavailable, match="expand_timesteps"):
        run(model=name, operation=operation, image=image)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": "flux", "negative_prompt": "blur"}, "negative_prompt"),
        ({"model": "sd", "strength": 0.5}, "strength"),
    ],
)
def test_an_argument_that_the_class_does_not_heed_is_refused(run, changes, field):
    with pytest.raises(InvalidInput, match="leave it out") as caught:
        run(**changes)
    assert caught.value.field == field


@pytest.mark.parametrize("class_name", sorted({name for family in FAMILIES for name in family.classes.values()}))
def test_every_class_of_the_table_exists_and_takes_what_we_pass(class_name):
    family = family_of(class_name)
    taken = arguments(class_name)
    assert family
    assert {"num_inference_steps", "generator", "callback_on_step_end", "output_type", family.guidance} <= taken
    serves = [operation for operation, name in family.classes.items() if name == class_name]
    assert "image" in taken or not {Operation.IMAGE_TO_IMAGE, Operation.IMAGE_TO_VIDEO} & set(serves)
    assert "num_frames" in taken or not {Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO} & set(serves)


def test_frames_are_never_rounded_down():
    ltx, pia = family_of("LTXPipeline"), family_of("PIAPipeline")
    assert ltx
    assert pia
    pipe = type("Pipe", (), {"vae_temporal_compression_ratio": 8})()
    assert [native_frames(pipe, ltx, frames) for frames in (1, 2, 8, 9, 10, 17)] == [1, 9, 9, 9, 17, 17]
    assert native_frames(pipe, pia, 8) == 8


def test_what_is_transparent_in_an_input_picture_is_white():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    flat = pictures.flatten(image)
    assert [flat.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]
