"""Google, simulated."""

from genpulse.simulator.clouds.google.cloud import Google

__all__ = ["Google"]
