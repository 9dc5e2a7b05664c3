"""Luma, simulated."""

from genpulse.simulator.clouds.luma.cloud import Luma

__all__ = ["Luma"]
