"""The engine of the load tests: real files, at once."""

from __future__ import annotations

import time

import pytest

from engine import pictures, video
from engine.fake import FakeEngine
from genpulse.schemas.states import Operation


def test_pictures_are_real(task, tmp_path):
    seen: list[float] = []
    output = FakeEngine().run(task(count=2), out_dir=tmp_path, on_progress=seen.append)
    assert [file.name for file in output.files] == ["0.png", "1.png"]
    assert pictures.read(output.files[1]).size == (64, 64)
    assert seen == [1.0]


def test_sizes_are_honoured(task, tmp_path):
    output = FakeEngine().run(task(width=96, height=32), out_dir=tmp_path, on_progress=lambda done: None)
    assert pictures.size_of(output.files[0]) == (96, 32)


@pytest.mark.parametrize("operation", [Operation.TEXT_TO_VIDEO, Operation.VIDEO_UPSCALE, Operation.VIDEO_INTERPOLATE])
def test_clips_are_real(task, tmp_path, operation):
    output = FakeEngine().run(task(operation=operation), out_dir=tmp_path, on_progress=lambda done: None)
    assert output.files[0].name == "0.mp4"
    assert len(list(video.decode(output.files[0]))) == 8


def test_a_picture_costs_well_under_a_millisecond(task, tmp_path):
    engine, asked = FakeEngine(), task()
    engine.run(asked, out_dir=tmp_path, on_progress=lambda done: None)
    start = time.process_time()
    for _ in range(200):
        engine.run(asked, out_dir=tmp_path, on_progress=lambda done: None)
    assert (time.process_time() - start) / 200 < 0.0005


def test_the_local_engine_hands_fake_models_over(engine, task, tmp_path):
    output = engine.run(task(model="fake"), out_dir=tmp_path, on_progress=lambda done: None)
    assert output.files[0].read_bytes()[:4] == b"\x89PNG"
