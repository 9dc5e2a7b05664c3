"""Runway: videos, pictures and work on both, by its own models and others'. https://docs.dev.runwayml.com"""

from genpulse.providers.runway.client import Runway

__all__ = ["Runway"]
