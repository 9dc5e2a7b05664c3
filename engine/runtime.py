"""The heavy libraries: imported on demand, with the settings that must be made before or right after."""

from __future__ import annotations

import importlib.metadata
import os
from functools import cache
from pathlib import Path

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@cache
def prepare() -> None:
    """Import torch and diffusers, 10 to 20 seconds the first time, and fit them to this machine."""
    # OpenMP reads this when torch loads it. Its default spins at every parallel region, which beside other busy
    # processes made one picture take 13 s instead of 0.5 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import diffusers
    import torch
    import transformers

    torch.set_num_threads(cores())
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()


def cores() -> int:
    """Return how many cores this process may really use: torch counts the host's, also in a smaller container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_CPU_QUOTA.read_text() if _CPU_QUOTA.is_file() else "max").partition(" ")
    return allowed if quota == "max" else max(1, min(allowed, round(int(quota) / int(period))))


@cache
def versions() -> dict[str, str]:
    """Return the libraries that decide how a picture looks, to be stored with it."""
    return {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")}


def pick_device(*wishes: str) -> str:
    """Return the first wish that is not `auto`; else the GPU where there is one."""
    import torch

    named = (wish for wish in wishes if wish != "auto")
    return next(named, "cuda" if torch.cuda.is_available() else "cpu")


_SIGNS_OF_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "could not create a primitive",  # oneDNN says no more than that
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a failed allocation from other failures, also where a library has wrapped it in an error of its own."""
    import torch

    cause: BaseException | None = error
    while cause:
        if isinstance(cause, MemoryError | torch.OutOfMemoryError):
            return True
        # torch's CPU allocator and mmap have no error of their own.
        text = str(cause).lower() if isinstance(cause, RuntimeError | OSError) else ""
        if any(sign in text for sign in _SIGNS_OF_NO_MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def release_memory() -> None:
    """Give what was dropped back to the system."""
    import gc

    import torch

    gc.collect()  # pipelines and tracebacks form cycles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
