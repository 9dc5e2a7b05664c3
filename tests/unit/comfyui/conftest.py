"""ComfyUI: what its tests ask for by name."""

from __future__ import annotations

from genpulse.providers.comfyui import Comfyui
from genpulse.simulator.clouds.comfyui import Comfyui as Simulated
from tests.clouds import world_of

world = world_of(Simulated, Comfyui)
