"""OpenAI, simulated."""

from genpulse.simulator.clouds.openai.cloud import Openai

__all__ = ["Openai"]
