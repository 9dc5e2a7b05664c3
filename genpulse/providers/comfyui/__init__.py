"""ComfyUI servers: any workflow. https://docs.comfy.org/development/comfyui-server/comms_routes"""

from genpulse.providers.comfyui.client import Comfyui

__all__ = ["Comfyui"]
