"""Runway, simulated."""

from genpulse.simulator.clouds.runway.cloud import Runway

__all__ = ["Runway"]
