"""Points at which a process can be made to die, so that tests can see what survives.

Each await that leaves the process has one before and one after it. They do nothing, and cost a comparison, unless a
folder is set (`GENPULSE_FAILPOINTS__FOLDER`). Then a process that comes to a point removes the file of that name from
the folder, if there is one, and kills itself with SIGKILL: whoever arms a point kills one process, once.
"""

from __future__ import annotations

import os
import signal
from contextlib import AsyncContextDecorator
from pathlib import Path
from types import TracebackType

_names: list[str] = []
_folder: Path | None = None  # of the process, like its signal handlers: set once when it starts


def arm_from(folder: Path | None) -> None:
    """Look for armed points in this folder from now on; None: they are off."""
    global _folder  # noqa: PLW0603 - handing it to every object that talks to the world would show in all of them
    _folder = folder


def points() -> list[str]:
    """The names of all points in the modules that have been imported, each once."""
    return [f"{name}.{when}" for name in _names for when in ("before", "after")]


class Failpoint(AsyncContextDecorator):
    """The two points around an await: decorates an async function, or stands in an `async with`.

    The one behind it is not reached by an exception: what was done then is the exception's to say.
    """

    def __init__(self, name: str) -> None:
        if name in _names:
            raise ValueError(f"there is a failpoint {name!r} already")
        _names.append(name)
        self._name = name

    async def __aenter__(self) -> None:
        if _folder is not None:
            _reach(_folder, f"{self._name}.before")

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if _folder is not None and kind is None:
            _reach(_folder, f"{self._name}.after")


def _reach(folder: Path, name: str) -> None:
    try:
        (folder / name).unlink()  # of several processes, one succeeds
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
