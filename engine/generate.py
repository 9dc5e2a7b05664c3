"""From a plan to files, by a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import pictures, video
from engine.catalog import Recipe
from engine.families import arguments, form_for, native_frames
from engine.interpolate import retime
from engine.plans import GenerationPlan, Motion
from engine.progress import counted, part
from genpulse.schemas.engine import OnProgress

if TYPE_CHECKING:
    from PIL import Image

#: How much of the time goes into denoising; the rest is decoding and writing.
_DENOISING = 0.9


def generate(
    loaded: Any, recipe: Recipe, plan: GenerationPlan, out_dir: Path, on_progress: OnProgress, *, at_once: int
) -> tuple[Path, ...]:
    """Make one file for each seed, up to `at_once` pictures in a call of the pipeline; a clip is made alone."""
    pipe = form_for(loaded, recipe.family, plan.operation)
    count = len(plan.seeds)
    batch = 1 if plan.motion else at_once
    files: list[Path] = []
    for start in range(0, count, batch):
        seeds = plan.seeds[start : start + batch]
        denoised = start + _DENOISING * len(seeds)
        made = _denoise(pipe, recipe, plan, seeds, part(on_progress, start / count, denoised / count))
        saving = part(on_progress, denoised / count, (start + len(seeds)) / count)
        if plan.motion:
            files.append(_save_clip(made[0], out_dir / f"{start}.mp4", plan.motion, saving))
        else:
            files.extend(_save_pictures(made, out_dir, start, saving))
    return tuple(files)


def _denoise(
    pipe: Any, recipe: Recipe, plan: GenerationPlan, seeds: Sequence[int], on_progress: OnProgress
) -> list[Any]:
    """Return the pictures, or the clips as lists of pictures."""
    import torch

    def on_step(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_progress((step + 1) / pipe.num_timesteps)  # its exception ends the call and leaves the pipeline usable
        return tensors

    family, model = recipe.family, recipe.model
    offered = {
        "prompt": plan.prompt,
        "negative_prompt": plan.negative_prompt or family.empty_negative,
        "image": pictures.flatten(pictures.read(plan.image)) if plan.image else None,
        "width": plan.size.width,
        "height": plan.size.height,
        "num_frames": native_frames(pipe, family, model.frames),
        "frame_rate": model.fps,
        "fps": model.fps,
        "num_inference_steps": plan.steps,
        family.guidance: plan.guidance,
        "strength": plan.strength,
        "num_images_per_prompt": len(seeds),
        # On the CPU whatever the device, and one for each picture: so a seed means the same alone and in a batch.
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        "callback_on_step_end": on_step,
        "output_type": "pil",
    }
    taken = arguments(type(pipe).__name__)
    result = pipe(**{name: value for name, value in offered.items() if name in taken and value is not None})
    made: list[Any] = result.frames if plan.motion else result.images
    return made


def _save_pictures(images: Sequence[Image.Image], out_dir: Path, start: int, on_progress: OnProgress) -> list[Path]:
    files = []
    for index, image in enumerate(counted(images, len(images), on_progress), start):
        files.append(out_dir / f"{index}.png")
        pictures.save(image, files[-1])
    return files


def _save_clip(images: Sequence[Image.Image], path: Path, motion: Motion, on_progress: OnProgress) -> Path:
    frames = retime(list(video.timed(images, motion.fps)), fps=motion.fps, count=motion.frames)
    video.encode(path, counted(frames, motion.frames, on_progress), fps=motion.fps)
    return path
