"""Frames in between: where the moving thing is, and how many there are."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from engine import video
from engine.interpolate import resample, retime
from genpulse.schemas.states import Operation
from tests.engine.conftest import disc
from tests.engine.test_run import Cancelled, Canceller
from tests.engine.test_upscale import with_sound

OPERATION = Operation.VIDEO_INTERPOLATE


def place(frame: av.VideoFrame) -> float:
    """Where the disc is, from the left."""
    bright = np.asarray(frame.to_image().convert("L"), float)
    bright[bright < 40] = 0
    return float((bright.sum(0) * np.arange(bright.shape[1])).sum() / bright.sum())


def discs(count: int, step: float = 8, fps: int = 8) -> list[av.VideoFrame]:
    return list(video.timed([disc(24 + step * index) for index in range(count)], Fraction(fps)))


def test_without_a_rate_the_frames_are_doubled_and_the_disc_lands_between_its_neighbours(run, clip):
    seen: list[float] = []
    output = run(on_progress=seen.append, model="interpolate", operation=OPERATION, video=clip)
    (file,) = output.files
    made = video.probe(file)
    assert (float(made.fps), made.frames, made.duration) == (16, 16, 1.0)
    places = [place(frame) for frame in video.decode(file)]
    assert places[:15] == pytest.approx([24 + 4 * index for index in range(15)], abs=0.7)
    assert places[15] == pytest.approx(80, abs=0.7)
    assert seen == sorted(seen)
    assert len({*seen}) >= 16


@pytest.mark.parametrize(("fps", "frames"), [(12.0, 12), (24.0, 24), (60.0, 60), (29.97, 30), (8.0, 8), (5.0, 5)])
def test_any_rate_gives_exactly_its_frames_and_keeps_the_duration(run, clip, fps, frames):
    output = run(model="interpolate", operation=OPERATION, video=clip, fps=fps)
    made = video.probe(output.files[0])
    assert made.frames == frames == len(list(video.decode(output.files[0])))
    assert made.duration == pytest.approx(1, abs=0.01)
    for index, frame in enumerate(video.decode(output.files[0])):
        assert place(frame) == pytest.approx(min(24 + 64 * index / fps, 80), abs=1)


def test_the_sound_stays(run, tmp_path):
    output = run(model="interpolate", operation=OPERATION, video=with_sound(tmp_path / "source.mp4"))
    with av.open(output.files[0]) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert container.streams.video[0].frames == 12


def test_it_can_be_cancelled(run, out_dir, clip):
    with pytest.raises(Cancelled):
        run(on_progress=Canceller(0.5), model="interpolate", operation=OPERATION, video=clip)
    assert not list(out_dir.iterdir())


@pytest.mark.parametrize(("made", "wanted"), [(8, 8), (8, 24), (8, 13), (8, 5), (9, 17), (8, 1), (1, 6), (2, 30)])
def test_a_native_clip_is_spread_over_exactly_the_frames_wanted(made, wanted):
    frames = list(retime(discs(made), fps=Fraction(12), count=wanted))
    assert len(frames) == wanted
    assert [frame.pts for frame in frames] == list(range(wanted))
    assert {frame.time_base for frame in frames} == {Fraction(1, 12)}
    last = 24 + 8 * (made - 1)
    assert place(frames[0]) == pytest.approx(24, abs=0.7)
    assert place(frames[-1]) == pytest.approx(last if wanted > 1 else 24, abs=1)


@pytest.mark.parametrize(
    ("changes", "fps", "frames"),
    [
        ({}, 8, 8),
        ({"fps": 24.0}, 24, 24),
        ({"duration": 2.0}, 8, 16),
        ({"duration": 0.5, "fps": 12.0}, 12, 6),
        ({"duration": 3.0, "fps": 25.0}, 25, 75),
    ],
)
def test_a_generated_clip_has_the_duration_and_rate_asked_for(run, picture, changes, fps, frames):
    output = run(model="ltx", operation=Operation.IMAGE_TO_VIDEO, image=picture, **changes)
    made = video.probe(output.files[0])
    assert (made.fps, made.frames) == (fps, frames)
    assert (output.parameters["fps"], output.parameters["frames"]) == (fps, frames)


def test_colours_come_through():
    from PIL import Image

    colours = [(230, 30, 40), (20, 160, 70), (40, 60, 220)]
    for colour in colours:
        frames = video.timed([Image.new("RGB", (64, 64), colour)] * 3, Fraction(8))
        for frame in resample(frames, fps=Fraction(16), count=6):
            assert frame.to_ndarray(format="rgb24")[32, 32] == pytest.approx(colour, abs=3)


@pytest.mark.parametrize("side", [16, 24, 32])
def test_clips_too_small_for_motion_search_are_blended(side):
    from PIL import Image

    shades = video.timed([Image.new("RGB", (side, side), (60 * index,) * 3) for index in range(4)], Fraction(8))
    assert len(list(resample(shades, fps=Fraction(16), count=8))) == 8
