"""Google: what its tests ask for by name."""

from __future__ import annotations

from genpulse.providers.google import Google
from genpulse.simulator.clouds.google import Google as Simulated
from tests.clouds import world_of

world = world_of(Simulated, Google)
