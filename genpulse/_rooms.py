"""Where the rooms (`workflows`, `activities`, `api`, `engine`, `worker`) lie in an installation from the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

ROOMS = Path(__file__).with_name("_app")


def open_rooms() -> None:
    """Make the rooms importable by their own names; called by the `genpulse` command only, before it imports any.

    A checkout and an editable install have no such folder: there the rooms lie at the top of the import path already.
    The folder goes first, because other packages own names as general as ours (`workflows` for one).
    """
    if ROOMS.is_dir() and str(ROOMS) not in sys.path:
        sys.path.insert(0, str(ROOMS))
