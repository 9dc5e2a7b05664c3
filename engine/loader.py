"""From files to a model ready to run; called on the device thread only, as loading patches torch while it builds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.catalog import Recipe
from engine.runtime import is_out_of_memory
from engine.store import Resident
from genpulse.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch


def load_pipeline(recipe: Recipe, device: str) -> Resident:
    """Load a diffusers folder onto the device. Only safetensors are read: a pickle could run code."""
    from diffusers import DiffusionPipeline

    try:
        pipe = DiffusionPipeline.from_pretrained(
            recipe.folder,
            variant=recipe.model.variant,
            dtype=pick_dtype(recipe.model.dtype, device),
            use_safetensors=True,
            local_files_only=True,
        ).to(device)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        # Files missing, damaged, or of another shape than their config says: all mean that the folder is no good.
        raise ModelUnavailable(f"Model {recipe.name!r} cannot be loaded from {recipe.folder}: {error}") from error
    pipe.set_progress_bar_config(disable=True)
    modules = [part for part in pipe.components.values() if hasattr(part, "parameters")]
    return Resident(pipe, weight_bytes(modules), device)


def pick_dtype(wish: str, device: str) -> torch.dtype:
    """Return the wish, or what the device computes fast: half precision makes a CPU 40 times slower."""
    import torch

    if wish == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    dtype: torch.dtype = getattr(torch, wish)
    return dtype


def weight_bytes(modules: Iterable[torch.nn.Module]) -> int:
    """Return the memory of all parameters and buffers."""
    return sum(
        tensor.nbytes for module in modules for tensors in (module.parameters(), module.buffers()) for tensor in tensors
    )


def load_network(cache_dir: Path, device: str) -> Resident:
    """Load the upscaler onto the device."""
    from engine.realesrgan import load_upscaler

    network = load_upscaler(cache_dir, device)
    return Resident(network, weight_bytes([network]), device)
