"""Black Forest Labs: FLUX, pictures from text and from other pictures. https://docs.bfl.ai/api-reference"""

from genpulse.providers.bfl.client import Bfl

__all__ = ["Bfl"]
