"""What the embedded stack says when it cannot start or go on."""

from __future__ import annotations

from genpulse.errors import GenPulseError


class StackError(GenPulseError, branch=True):
    """The message is for the person at the terminal. It never reaches HTTP or Temporal, so it has no code."""
