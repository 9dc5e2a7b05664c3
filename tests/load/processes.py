"""What processes cost, from `/proc`."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Cpu:
    """CPU milliseconds that groups of processes used between two looks; a group may change in between."""

    groups: Mapping[str, Callable[[], Iterable[int]]]
    before: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        self.before = self._now()

    def used(self) -> dict[str, float]:
        now = self._now()
        return {name: now[name] + self.lost.get(name, 0.0) - self.before[name] for name in now}

    def add(self, name: str, ms: float) -> None:
        """What a process had used that is killed now, and nobody can ask any more."""
        self.lost[name] = self.lost.get(name, 0.0) + ms

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_ms, pids())) for name, pids in self.groups.items()}


def cpu_ms(pid: int) -> float:
    """Its own time and that of its children that have ended; none for a process that has ended itself."""
    with contextlib.suppress(FileNotFoundError):
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) * 1000 / os.sysconf("SC_CLK_TCK")
    return 0.0


def memory_mb(pid: int) -> float:
    """Resident megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine() -> str:
    """What the figures were measured on."""
    found = subprocess.run(["grep", "-m1", "model name", "/proc/cpuinfo"], capture_output=True, text=True, check=False)
    model = found.stdout.partition(":")[2].strip()
    return f"{os.cpu_count()} cores, {model or platform.processor()}, Python {platform.python_version()}"
