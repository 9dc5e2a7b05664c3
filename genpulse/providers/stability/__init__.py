"""Stability AI: pictures from text and pictures, and larger ones. https://platform.stability.ai/docs/api-reference"""

from genpulse.providers.stability.client import Stability

__all__ = ["Stability"]
