"""Progress, cancelling, seeds and turns."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from PIL import ImageChops

from engine import pictures
from engine.slot import Slot
from genpulse.schemas.states import Operation


class Cancelled(Exception):
    pass


class Canceller:
    """Lets a run come to a certain fraction, then ends it."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.seen: list[float] = []

    def __call__(self, done: float) -> None:
        self.seen.append(done)
        if done >= self.at:
            raise Cancelled


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"count": 3},
        {"model": "ltx", "operation": Operation.TEXT_TO_VIDEO, "count": 2},
        {"model": "ltx", "operation": Operation.TEXT_TO_VIDEO, "fps": 24.0},
    ],
    ids=["picture", "pictures", "clips", "interpolated"],
)
def test_progress_rises_to_one(engine, task, tmp_path, changes):
    seen = []
    engine.run(task(**changes), out_dir=tmp_path, on_progress=seen.append)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 1)
    assert len({*seen}) >= 5


def test_progress_is_reported_for_each_step(engine, task, tmp_path):
    seen = []
    engine.run(task(steps=9), out_dir=tmp_path, on_progress=seen.append)
    assert [round(done, 2) for done in seen[2:11]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_progress_comes_from_the_calling_thread(engine, task, tmp_path):
    threads = set()
    engine.run(task(), out_dir=tmp_path, on_progress=lambda done: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("name", ["sd", "sdxl", "flux"])
def test_cancelling_between_steps_leaves_the_pipeline_usable(engine, task, tmp_path, name):
    def run(on_progress):
        return engine.run(task(model=name, steps=6), out_dir=tmp_path, on_progress=on_progress).files[0].read_bytes()

    before = run(lambda done: None)
    (tmp_path / "0.png").unlink()
    stopper = Canceller(at=0.25)
    with pytest.raises(Cancelled):
        run(stopper)
    assert stopper.seen[-1] < 0.5
    assert not list(tmp_path.iterdir())
    assert run(lambda done: None) == before


def test_cancelling_while_a_clip_is_written_leaves_no_file(engine, task, tmp_path):
    with pytest.raises(Cancelled):
        engine.run(
            task(model="ltx", operation=Operation.TEXT_TO_VIDEO), out_dir=tmp_path, on_progress=Canceller(at=0.95)
        )
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_file_and_another_seed_another(engine, task, tmp_path):
    files = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        output = engine.run(task(seed=seed), out_dir=folder, on_progress=lambda done: None)
        files.append(output.files[0].read_bytes())
        assert output.parameters["seed"] == seed
    assert files[0] == files[1] != files[2]


def test_the_same_seed_gives_the_same_clip(engine, task, tmp_path):
    clip = task(model="ltx", operation=Operation.TEXT_TO_VIDEO, fps=12.0)
    files = [engine.run(clip, out_dir=tmp_path, on_progress=lambda done: None).files[0].read_bytes() for _ in "ab"]
    assert files[0] == files[1]


def test_a_drawn_seed_is_reported_and_repeats_the_picture(engine, task, tmp_path):
    output = engine.run(task(seed=None), out_dir=tmp_path, on_progress=lambda done: None)
    drawn = output.files[0].read_bytes()
    again = engine.run(task(seed=output.parameters["seed"]), out_dir=tmp_path, on_progress=lambda done: None)
    assert again.files[0].read_bytes() == drawn


def test_each_picture_of_several_is_the_one_of_its_own_seed(engine, task, tmp_path):
    together = engine.run(task(count=3), out_dir=tmp_path, on_progress=lambda done: None)
    assert [file.name for file in together.files] == ["0.png", "1.png", "2.png"]
    images = [pictures.read(file) for file in together.files]
    assert images[0] != images[1]
    for offset, image in enumerate(images):
        alone = engine.run(task(seed=7 + offset), out_dir=tmp_path, on_progress=lambda done: None)
        difference = ImageChops.difference(pictures.read(alone.files[0]), image)
        assert max(high for _, high in difference.getextrema()) <= 1  # a batch rounds differently


def test_what_was_really_used_is_reported(engine, task, tmp_path, picture):
    output = engine.run(
        task(operation=Operation.IMAGE_TO_IMAGE, image=picture, guidance=3.5),
        out_dir=tmp_path,
        on_progress=lambda done: None,
    )
    used = output.parameters
    assert used["model"] == "sd"
    assert (used["width"], used["height"], used["steps"], used["guidance"], used["strength"]) == (64, 64, 3, 3.5, 0.6)
    assert (used["device"], used["dtype"]) == ("cpu", "float32")
    assert {"torch", "diffusers", "transformers"} <= used.keys()


def test_callers_in_several_threads_take_turns(engine, task, tmp_path):
    failures = []

    def run(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            engine.run(task(model=("sd", "sdxl")[number % 2]), out_dir=folder, on_progress=lambda done: None)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len({(tmp_path / str(number) / "0.png").read_bytes() for number in range(6)}) == 2


def test_a_waiting_run_can_be_cancelled(engine, task, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.slot._POLL_SECONDS", 0.01)
    calls = []

    def impatient(done):
        calls.append(done)
        if len(calls) > 3:
            raise Cancelled

    with engine._slot.hold(lambda: None), pytest.raises(Cancelled):
        engine.run(task(), out_dir=tmp_path, on_progress=impatient)
    assert set(calls) == {0}
    assert engine.run(task(), out_dir=tmp_path, on_progress=lambda done: None).files


def test_the_slot_serves_in_the_order_of_asking(monkeypatch):
    monkeypatch.setattr("engine.slot._POLL_SECONDS", 0.01)
    slot, order, asked = Slot(), [], [threading.Event() for _ in range(4)]

    def queue(number):
        with slot.hold(asked[number].set):
            order.append(number)

    threads = [threading.Thread(target=queue, args=(number,)) for number in range(4)]
    with slot.hold(lambda: None):
        for thread, event in zip(threads, asked, strict=True):
            thread.start()
            assert event.wait(5)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_no_socket_is_opened(engine, task, tmp_path, tiny_model, monkeypatch):
    from engine.local import LocalEngine

    def refuse(*args, **kwargs):
        raise AssertionError("the engine reached for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    fresh = LocalEngine({"sd": tiny_model("sd")}, cache_bytes=2**30, cache_dir=tmp_path)
    assert fresh.run(replace(task(), seed=3), out_dir=tmp_path, on_progress=lambda done: None).files
