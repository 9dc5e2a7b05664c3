"""Stability AI, simulated."""

from genpulse.simulator.clouds.stability.cloud import Stability

__all__ = ["Stability"]
