"""Google: Gemini pictures and videos, Veo and Imagen on Vertex AI. https://ai.google.dev/gemini-api/docs"""

from genpulse.providers.google.client import Google

__all__ = ["Google"]
