"""What is refused before the device is touched, and how the refusal reads."""

from __future__ import annotations

from fractions import Fraction

import pytest
from PIL import Image

from engine import video
from engine.local import LocalEngine
from genpulse.errors import InvalidInput, ModelUnavailable
from genpulse.schemas.states import Operation

I2I, T2V, I2V = Operation.IMAGE_TO_IMAGE, Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO
INTERPOLATE = Operation.VIDEO_INTERPOLATE


def refused(run, **changes):
    with pytest.raises(InvalidInput) as caught:
        run(**changes)
    return caught.value.field, caught.value.message


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"width": 70}, "width", "multiple of 8: take 64 or 72"),
        ({"height": 4096}, "height", "from 16 to 1024"),
        ({"width": 0}, "width", "from 16 to 1024"),
        ({"model": "flux", "width": 72}, "width", "multiple of 16: take 64 or 80"),
        ({"model": "ltx", "operation": T2V, "width": 48}, "width", "multiple of 32"),
        ({"steps": 101}, "steps", "from 1 to 100, not 101"),
        ({"steps": 0}, "steps", "from 1"),
        ({"count": 5}, "count", "from 1 to 4"),
        ({"count": 0}, "count", "from 1 to 4"),
        ({"guidance": 51.0}, "guidance", "from 0 to 50"),
        ({"seed": -1}, "seed", "from 0"),
        ({"seed": 2**53}, "seed", "from 0"),
        ({"prompt": "  "}, "prompt", "needed"),
        ({"prompt": "a" * 4001}, "prompt", "4000 at most"),
        ({"negative_prompt": "a" * 4001}, "negative_prompt", "4000 at most"),
        ({"operation": Operation.VIDEO_TO_VIDEO}, "operation", "text-to-image"),
        ({"operation": T2V}, "operation", "it does text-to-image, image-to-image"),
        ({"operation": I2I}, "image", "needed"),
        ({"model": "ltx", "operation": T2V, "duration": 4.5}, "duration", "from 0 to 4"),
        ({"model": "ltx", "operation": T2V, "fps": 61.0}, "fps", "from 1 to 60"),
        ({"model": "upscale", "operation": Operation.IMAGE_UPSCALE}, "image", "needed"),
        ({"model": "upscale", "operation": Operation.VIDEO_UPSCALE}, "video", "needed"),
        ({"model": "upscale"}, "operation", "it does image-upscale, video-upscale"),
        ({"model": "interpolate", "operation": Operation.VIDEO_INTERPOLATE}, "video", "needed"),
    ],
)
def test_a_bad_field_is_named_with_its_limit(run, changes, field, words):
    found, message = refused(run, **changes)
    assert found == field
    assert words in message


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"operation": I2I, "width": 128}, "image", "image is 64x64 and the output 128x64"),
        ({"operation": I2I, "strength": 0.2}, "strength", "use at least 0.34"),
        ({"operation": I2I, "strength": 1.2}, "strength", "from 0 to 1"),
        ({"model": "svd", "operation": I2V, "negative_prompt": "x"}, "negative_prompt", "leave it out"),
        ({"model": "upscale", "operation": Operation.IMAGE_UPSCALE, "scale": 5.0}, "scale", "from 1 to 4"),
        ({"model": "upscale", "operation": Operation.IMAGE_UPSCALE, "width": 32}, "width", "from 64 to 256"),
        ({"model": "upscale", "operation": Operation.IMAGE_UPSCALE, "width": 64, "height": 300}, "height", "to 256"),
    ],
)
def test_what_does_not_fit_the_picture_is_refused(run, picture, changes, field, words):
    found, message = refused(run, image=picture, **changes)
    assert found == field
    assert words in message


def test_a_single_step_needs_no_strength(run, picture):
    output = run(operation=I2I, image=picture, steps=1)
    assert output.parameters["strength"] == 1


def test_an_upscaled_picture_may_not_exceed_the_side_limit(run, tmp_path):
    large = tmp_path / "large.png"
    Image.new("RGB", (600, 64)).save(large)
    found, message = refused(run, model="upscale", operation=Operation.IMAGE_UPSCALE, image=large, scale=4.0)
    assert found == "scale"
    assert "2400x256 is more than 2048" in message


@pytest.mark.parametrize(("operation", "model"), [(Operation.VIDEO_UPSCALE, "upscale"), (INTERPOLATE, "interpolate")])
def test_a_clip_may_not_be_longer_than_the_model_takes(run, tmp_path, operation, model):
    long = tmp_path / "long.mp4"
    video.encode(long, video.timed([Image.new("RGB", (32, 32))] * 6, Fraction(1)), fps=Fraction(1))
    found, message = refused(run, model=model, operation=operation, video=long)
    assert found == "video"
    assert f"lasts 6.0 s; {model} takes up to 4 s" in message


def test_only_the_sizes_listed_are_made(tiny_model, task, tmp_path):
    entry = tiny_model("sd", sizes=((64, 64), (96, 64)))
    engine = LocalEngine({"sd": entry}, cache_bytes=2**30, cache_dir=tmp_path)

    def run(**changes):
        return engine.run(task(**changes), out_dir=tmp_path, on_progress=lambda done: None)

    found, message = refused(run, width=64, height=96)
    assert found == "width"
    assert "64x96 is not one of 64x64, 96x64" in message
    assert run(width=96).parameters["width"] == 96


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_damaged_picture_is_the_input_s_fault(run, tmp_path, content):
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    assert refused(run, operation=I2I, image=bad)[0] == "image"


def test_a_picture_cut_off_in_the_middle_is_the_input_s_fault(run, picture):
    picture.write_bytes(picture.read_bytes()[:-200])
    assert refused(run, operation=I2I, image=picture)[0] == "image"


@pytest.mark.parametrize("content", [b"", b"not a clip"])
def test_a_damaged_clip_is_the_input_s_fault(run, tmp_path, content):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(content)
    found, message = refused(run, model="interpolate", operation=Operation.VIDEO_INTERPOLATE, video=bad)
    assert found == "video"
    assert "Send an MP4 or WebM" in message


def test_sound_alone_is_no_clip(run, tmp_path):
    import av
    import numpy as np

    sound = tmp_path / "sound.mp4"
    with av.open(sound, "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
        frame.rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found, message = refused(run, model="interpolate", operation=Operation.VIDEO_INTERPOLATE, video=sound)
    assert found == "video"
    assert "no picture" in message


def test_a_model_that_is_not_in_the_catalogue_is_unavailable(run):
    with pytest.raises(ModelUnavailable, match="GENPULSE_ENGINE__MODELS") as caught:
        run(model="nowhere")
    assert caught.value.field == "model"
