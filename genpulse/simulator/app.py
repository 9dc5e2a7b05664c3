"""The simulator as one ASGI app: every cloud under its name, and the controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from genpulse.simulator import control, exchange
from genpulse.simulator.clouds import CLOUDS
from genpulse.simulator.core import Simulator
from genpulse.simulator.wire import CONNECTION


class SimulatorApp(Starlette):
    """Knows the connection of each request, as far as the server shows it: a cloud may have to cut it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CONNECTION] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, send)


def create_simulator(world: Simulator | None = None, *, root: str | None = None) -> Starlette:
    """The app of a world. Outside a server, whoever made the world closes it.

    The cloud named by `root` answers without its name in the path too, for clients that take only a host and a port.
    """
    world = world or Simulator()
    clouds = [cloud(world) for cloud in CLOUDS]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await world.aclose()

    routes = [control.mount(world, [cloud.name for cloud in clouds])]
    routes += [exchange.mount(cloud, f"/{cloud.name}") for cloud in clouds]
    routes += [exchange.mount(cloud, "") for cloud in clouds if cloud.name == root]
    return SimulatorApp(routes=routes, lifespan=lifespan)
