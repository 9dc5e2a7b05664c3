"""Luma: the Agents API, and Dream Machine before it. https://docs.agents.lumalabs.ai and https://docs.lumalabs.ai"""

from genpulse.providers.luma.client import Luma

__all__ = ["Luma"]
