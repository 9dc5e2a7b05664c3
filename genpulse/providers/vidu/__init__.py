"""Vidu: videos from text, frames and references, pictures, and work on videos. https://platform.vidu.com/docs"""

from genpulse.providers.vidu.client import Vidu

__all__ = ["Vidu"]
