"""OpenAI: pictures from text, edits with masks. https://platform.openai.com/docs/api-reference/images"""

from genpulse.providers.openai.client import Openai

__all__ = ["Openai"]
