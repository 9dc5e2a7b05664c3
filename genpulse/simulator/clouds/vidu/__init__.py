"""Vidu, simulated."""

from genpulse.simulator.clouds.vidu.cloud import Vidu

__all__ = ["Vidu"]
