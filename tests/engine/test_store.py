"""What stays in memory."""

from __future__ import annotations

import gc
import weakref

import pytest

from engine.local import LocalEngine
from engine.store import Resident, Store
from genpulse.errors import ModelUnavailable


class Weights:
    """Something that a weak reference can watch."""


class Loads:
    """Counts how often each key was loaded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.log: list[str] = []

    def use(self, key: str, size: int = 40, device: str = "cpu") -> None:
        with self.borrow(key, size, device):
            pass

    def borrow(self, key: str, size: int = 40, device: str = "cpu"):
        def load() -> Resident:
            self.log.append(key)
            return Resident(Weights(), size, device)

        return self.store.borrow(key, device=device, expected=size, load=load)


def test_what_fits_is_loaded_once():
    loads = Loads(Store(100))
    for key in "abab":
        loads.use(key)
    assert loads.log == ["a", "b"]
    assert loads.store.used("cpu") == 80


def test_the_least_recently_used_goes_first():
    loads = Loads(Store(100))
    for key in "abacab":
        loads.use(key)
    assert loads.log == ["a", "b", "c", "b"]


def test_room_is_made_before_loading():
    store = Store(100)
    loads = Loads(store)
    loads.use("a", 90)

    def load() -> Resident:
        assert store.used("cpu") == 0
        return Resident(Weights(), 90, "cpu")

    with store.borrow("b", device="cpu", expected=90, load=load):
        pass


def test_what_is_in_use_stays():
    loads = Loads(Store(50))
    with loads.borrow("a"), loads.borrow("b"):
        assert loads.store.used("cpu") == 80
        loads.store.clear()
        assert "a" in loads.store
        assert "b" in loads.store
    assert loads.store.used("cpu") <= 50


def test_a_model_larger_than_the_budget_is_dropped_after_use():
    loads = Loads(Store(10))
    loads.use("a")
    assert "a" not in loads.store


def test_each_device_has_its_own_budget():
    loads = Loads(Store(50))
    loads.use("a", device="cpu")
    loads.use("b", device="cuda")
    assert (loads.store.used("cpu"), loads.store.used("cuda")) == (40, 40)


def test_a_failed_load_leaves_nothing():
    store = Store(100)

    def load() -> Resident:
        raise ModelUnavailable("gone")

    with pytest.raises(ModelUnavailable), store.borrow("a", device="cpu", expected=0, load=load):
        pass
    assert "a" not in store


def test_the_engine_evicts_under_a_small_budget_and_loads_again(tiny_model, task, tmp_path):
    names = ("sd", "sdxl")
    engine = LocalEngine(
        {name: tiny_model(name) for name in names}, cache_bytes=2_500_000, cache_dir=tmp_path, device="cpu"
    )

    def run(name):
        output = engine.run(task(model=name), out_dir=tmp_path, on_progress=lambda done: None)
        return output.files[0].read_bytes()

    first = run("sd")
    watched = weakref.ref(engine._store._residents["sd"].value)
    run("sdxl")
    gc.collect()
    assert "sd" not in engine._store
    assert watched() is None
    assert run("sd") == first
    assert "sdxl" not in engine._store
