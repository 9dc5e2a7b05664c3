"""Black Forest Labs, simulated."""

from genpulse.simulator.clouds.bfl.cloud import Bfl

__all__ = ["Bfl"]
