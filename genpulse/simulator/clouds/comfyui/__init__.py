"""A ComfyUI server, simulated."""

from genpulse.simulator.clouds.comfyui.cloud import Comfyui

__all__ = ["Comfyui"]
