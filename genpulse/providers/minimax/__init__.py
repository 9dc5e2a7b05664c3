"""MiniMax: Hailuo and H3 videos, pictures, speech. https://platform.minimax.io/docs/api-reference"""

from genpulse.providers.minimax.client import Minimax

__all__ = ["Minimax"]
