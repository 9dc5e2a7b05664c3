"""Progress, cancelling, seeds and turns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ImageChops

from engine import pictures
from engine.local import LocalEngine
from engine.slot import Slot
from genpulse.schemas.engine import EngineOutput
from genpulse.schemas.states import Operation


def content(output: EngineOutput) -> bytes:
    return output.files[0].read_bytes()


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
def test_progress_rises_to_one(run, changes):
    seen: list[float] = []
    run(seen.append, **changes)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 1)
    assert len({*seen}) >= 5


def test_progress_is_reported_for_each_step(run):
    seen: list[float] = []
    run(seen.append, steps=9)
    assert [round(done, 2) for done in seen[2:11]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_progress_comes_from_the_calling_thread(run):
    threads = set()
    run(lambda done: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("name", ["sd", "sdxl", "flux"])
def test_cancelling_between_steps_leaves_the_pipeline_usable(run, out_dir, name):
    before = content(run(model=name, steps=6))
    (out_dir / "0.png").unlink()
    stopper = Canceller(at=0.25)
    with pytest.raises(Cancelled):
        run(stopper, model=name, steps=6)
    assert stopper.seen[-1] < 0.5
    assert not list(out_dir.iterdir())
    assert content(run(model=name, steps=6)) == before


def test_cancelling_while_a_clip_is_written_leaves_no_file(run, out_dir):
    with pytest.raises(Cancelled):
        run(Canceller(at=0.95), model="ltx", operation=Operation.TEXT_TO_VIDEO)
    assert not list(out_dir.iterdir())


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(run):
    first, again, other = (content(run(seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_same_seed_gives_the_same_clip(run):
    first, again, other = (
        content(run(model="ltx", operation=Operation.TEXT_TO_VIDEO, fps=12.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_drawn_seed_is_reported_and_repeats_the_picture(run):
    output = run(seed=None)
    drawn = content(output)
    assert content(run(seed=output.parameters["seed"])) == drawn


def test_each_picture_of_several_is_the_one_of_its_own_seed(run):
    together = run(count=3)
    assert [file.name for file in together.files] == ["0.png", "1.png", "2.png"]
    images = [pictures.read(file) for file in together.files]
    assert images[0] != images[1]
    for offset, image in enumerate(images):
        difference = ImageChops.difference(pictures.read(run(seed=7 + offset).files[0]), image)
        assert np.asarray(difference).max() <= 1  # a batch rounds differently


def test_what_was_really_used_is_reported(run, picture):
    used = run(operation=Operation.IMAGE_TO_IMAGE, image=picture, guidance=3.5).parameters
    assert used["model"] == "sd"
    assert (used["width"], used["height"], used["steps"], used["guidance"], used["strength"]) == (64, 64, 3, 3.5, 0.6)
    assert (used["seed"], used["device"], used["dtype"]) == (7, "cpu", "float32")
    assert {"torch", "diffusers", "transformers"} <= used.keys()


def test_callers_in_several_threads_take_turns(engine, task, tmp_path):
    def one(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        asked = task(model=("sd", "sdxl")[number % 2])
        return content(engine.run(asked, out_dir=folder, on_progress=lambda done: None))

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(one, range(6)))
    assert made == made[:2] * 3


def test_a_waiting_run_can_be_cancelled(engine, run, monkeypatch):
    monkeypatch.setattr("engine.slot._POLL_SECONDS", 0.01)
    calls = []

    def impatient(done):
        calls.append(done)
        if len(calls) > 3:
            raise Cancelled

    with engine._slot.hold(lambda: None), pytest.raises(Cancelled):
        run(impatient)
    assert set(calls) == {0}
    assert run().files


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


def test_no_socket_is_opened(task, tmp_path, tiny_model, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the engine reached for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    fresh = LocalEngine({"sd": tiny_model("sd")}, cache_bytes=2**30, cache_dir=tmp_path)
    assert fresh.run(task(), out_dir=tmp_path, on_progress=lambda done: None).files
