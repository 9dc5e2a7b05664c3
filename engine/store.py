"""The models held in memory: the most recently used stay, within a budget for each device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.runtime import release_memory


@dataclass
class Resident:
    """A loaded model: `value` is a pipeline or a network, `size` the bytes of its weights on `device`."""

    value: Any
    size: int
    device: str
    pins: int = 0


class Store:
    """A cache of residents by last use; used only by the holder of the device's slot, so it needs no lock.

    A model larger than the whole budget is loaded, used, and dropped right after.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._residents: dict[str, Resident] = {}  # least recently used first

    def __contains__(self, key: str) -> bool:
        return key in self._residents

    @contextmanager
    def borrow(self, key: str, *, device: str, expected: int, load: Callable[[], Resident]) -> Iterator[Resident]:
        """Lend the model for the block, loading it if it is not here; `expected` bytes are made free before that."""
        resident = self._residents.pop(key, None)
        if resident is None:
            self._trim(device, self._budget - expected)
            resident = load()
        self._residents[key] = resident
        resident.pins += 1
        try:
            yield resident
        finally:
            resident.pins -= 1
            self._trim(resident.device, self._budget)

    def used(self, device: str) -> int:
        """Return the bytes of weights held on the device."""
        return sum(resident.size for resident in self._residents.values() if resident.device == device)

    def clear(self) -> None:
        """Drop everything that is not in use, on every device."""
        for device in {resident.device for resident in self._residents.values()}:
            self._trim(device, 0)
        release_memory()  # also where nothing was dropped: what ran out may be lying in a freed block

    def _trim(self, device: str, budget: int) -> None:
        idle = [key for key, held in self._residents.items() if held.device == device and not held.pins]
        before = self.used(device)
        while idle and self.used(device) > budget:
            del self._residents[idle.pop(0)]
        if self.used(device) < before:
            release_memory()
