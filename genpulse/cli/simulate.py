"""`genpulse simulate`: every cloud on one local port."""

from __future__ import annotations

import uvicorn
from rich.console import Console

from genpulse.simulator import Settings, Simulator, create_simulator
from genpulse.simulator.accounts import all_variables

console = Console(highlight=False, soft_wrap=True)

#: A hung request never ends by itself.
_GRACE_SECONDS = 1


def run(host: str, port: int, seconds_per_job: float, root: str | None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    app = create_simulator(Simulator(Settings(seconds_per_job=seconds_per_job)), root=root)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    listening = config.bind_socket()
    address = f"http://{host}:{listening.getsockname()[1]}"
    console.print(f"The simulated clouds answer at {address}; their controls are under {address}/_control.")
    for name, value in all_variables(address).items():
        console.print(f"{name}={value}")
    uvicorn.Server(config).run(sockets=[listening])
