"""Baidu Cloud: what its tests ask for by name."""

from __future__ import annotations

from genpulse.providers.baidu import Baidu
from genpulse.simulator.clouds.baidu import Baidu as Simulated
from tests.clouds import world_of

world = world_of(Simulated, Baidu)
