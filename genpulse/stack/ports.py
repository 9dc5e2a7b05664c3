"""Ports of the embedded stack."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from genpulse.stack.errors import StackError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where the stack listens; 0 stands for a port that is free."""

    api: int = 0
    temporal: int = 0
    ui: int = 0
    simulator: int = 0

    @classmethod
    def free(cls) -> Self:
        """Whichever ports are free."""
        return cls()

    def settled(self, *, temporal_runs_here: bool) -> Ports:
        """With every 0 replaced. Raises StackError when a port that will be needed is taken."""
        needed = {"--port": self.api}
        if temporal_runs_here:
            needed |= {"--temporal-port": self.temporal, "--ui-port": self.ui}
        for option, port in needed.items():
            if port and not _is_free(port):
                raise StackError(f"Port {port} is in use; choose another with {option}, or 0 for a free one.")
        api, temporal, ui, simulator = free_ports(4)
        return Ports(
            api=self.api or api,
            temporal=self.temporal or temporal,
            ui=self.ui or ui,
            simulator=self.simulator or simulator,
        )


def free_port() -> int:
    """A port that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on. The system does not hand the same ones out again soon."""
    with ExitStack() as open_sockets:
        probes = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of a former run that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
