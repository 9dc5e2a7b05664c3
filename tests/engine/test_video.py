"""Files of video, written and read back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from engine import video
from genpulse.errors import InvalidInput
from genpulse.schemas.catalog import Size

COLOURS = ["red", "lime", "blue", "white", "black", (128, 64, 200), (10, 200, 100), (250, 240, 20)]


def write(path, *, size=(64, 48), fps=Fraction(8), colours=COLOURS):
    images = [Image.new("RGB", size, colour) for colour in colours]
    assert video.encode(path, video.timed(images, fps), fps=fps) == len(images)
    return path, images


def test_a_round_trip_keeps_size_rate_count_and_colours(tmp_path):
    path, images = write(tmp_path / "a.mp4")
    assert video.probe(path) == video.Clip(size=Size(64, 48), fps=Fraction(8), duration=1.0, frames=8)
    for frame, image in zip(video.decode(path), images, strict=True):
        assert frame.to_image().getpixel((30, 20)) == pytest.approx(image.getpixel((30, 20)), abs=4)


def test_equal_frames_are_equal_files_without_dates_or_versions(tmp_path):
    first = write(tmp_path / "a.mp4")[0].read_bytes()
    assert write(tmp_path / "b.mp4")[0].read_bytes() == first
    assert b"Lavf" not in first
    assert first.index(b"moov") < first.index(b"mdat"), "playing can start before everything has arrived"


def test_equal_detail_is_equal_too_every_time(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), np.uint8)
    images = [Image.fromarray(one).filter(ImageFilter.GaussianBlur(2)) for one in noise]

    def content():
        video.encode(tmp_path / "a.mp4", video.timed(images, Fraction(8)), fps=Fraction(8))
        return (tmp_path / "a.mp4").read_bytes()

    assert len({content() for _ in range(15)}) == 1


def test_it_is_what_browsers_play(tmp_path):
    with av.open(write(tmp_path / "a.mp4")[0]) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1


@pytest.mark.parametrize("size", [(33, 31), (2, 2), (1, 5), (64, 33)])
def test_sides_are_made_even(tmp_path, size):
    path, _ = write(tmp_path / "a.mp4", size=size)
    made = video.probe(path).size
    assert all(side % 2 == 0 and abs(side - asked) <= 1 for side, asked in zip(made, size, strict=True))


@pytest.mark.parametrize("fps", [Fraction(11), Fraction(30000, 1001), Fraction(15, 2), Fraction(60)])
def test_any_rate_is_kept_exactly(tmp_path, fps):
    path, _ = write(tmp_path / "a.mp4", fps=fps)
    assert video.probe(path).fps == fps


def test_a_failure_halfway_leaves_no_file(tmp_path):
    def frames():
        yield from video.timed([Image.new("RGB", (64, 64))] * 2, Fraction(8))
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        video.encode(tmp_path / "a.mp4", frames(), fps=Fraction(8))
    assert not list(tmp_path.iterdir())


def test_a_clip_cut_off_in_the_middle_is_the_input_s_fault(tmp_path):
    path, _ = write(tmp_path / "a.mp4", size=(320, 240), colours=COLOURS * 4)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 40])
    with pytest.raises(InvalidInput, match="video cannot be read"):
        video.probe(path)


def test_a_clip_from_a_phone_held_upright_stands_upright(tmp_path):
    image = Image.new("RGB", (64, 48), "black")
    ImageDraw.Draw(image).rectangle((0, 0, 31, 47), fill="white")
    path = tmp_path / "a.mp4"
    video.encode(path, video.timed([image] * 3, Fraction(8)), fps=Fraction(8))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    # "Turn by 90 degrees clockwise to show", as a phone writes it: fixed-point numbers, row by row.
    turn = [0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30]
    content[matrix : matrix + 36] = b"".join(number.to_bytes(4, "big") for number in turn)
    path.write_bytes(content)

    assert video.probe(path).size == (48, 64)
    shown = next(video.decode(path)).to_image()
    assert shown.size == (48, 64)
    assert [shown.getpixel(point)[0] > 128 for point in ((24, 5), (24, 58))] == [True, False]
