"""Volcengine: what its tests ask for by name."""

from __future__ import annotations

from genpulse.providers.volcengine import Volcengine
from genpulse.simulator.clouds.volcengine import Volcengine as Simulated
from tests.clouds import world_of

world = world_of(Simulated, Volcengine)
