"""Writes and reads pipeline folders: half precision on disk, single precision in memory."""

import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline


def write(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Save a pipeline in half precision, in the layout that `DiffusionPipeline.from_pretrained` reads."""
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
    _declare_single_precision(folder / "text_encoder" / "config.json")


def _declare_single_precision(config: Path) -> None:
    """Text encoders are loaded in the type that their configuration names, and half precision is slow on a CPU."""
    settings = json.loads(config.read_text())
    settings.pop("torch_dtype", None)
    settings["dtype"] = "float32"
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def read(folder: Path) -> DiffusionPipeline:
    pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
