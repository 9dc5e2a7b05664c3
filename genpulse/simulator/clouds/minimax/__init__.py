"""MiniMax, simulated."""

from genpulse.simulator.clouds.minimax.cloud import Minimax

__all__ = ["Minimax"]
