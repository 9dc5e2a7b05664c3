"""Becomes a command that ends with its supervisor: `python -I -S child.py SUPERVISOR NICENESS COMMAND…`.

Started by its path and without site packages, so that it costs a few milliseconds: standard library only. A function
to be run between fork and exec would do the same, but is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the command."""
    supervisor, niceness, *command = sys.argv[1:]
    if sys.platform == "linux":
        # The kernel kills us when the supervisor ends, by kill -9 too. Nothing is lost: all our state survives that.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):
        sys.exit("the supervisor has ended")  # before the kernel was asked
    os.nice(int(niceness))
    os.execv(command[0], command)  # noqa: S606 - becoming that program is the point


if __name__ == "__main__":
    main()
