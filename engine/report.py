"""What was really done, in words and numbers that allow it to be repeated."""

from __future__ import annotations

from engine.catalog import Recipe
from engine.plans import ClipUpscalePlan, GenerationPlan, InterpolationPlan, PictureUpscalePlan
from engine.runtime import versions
from engine.store import Resident
from genpulse.schemas.engine import EngineTask

Parameters = dict[str, str | int | float]


def generation(recipe: Recipe, plan: GenerationPlan, pipe: Resident) -> Parameters:
    """Report a call of a pipeline; `seed` is the first file's, each next one has the next."""
    model = recipe.model
    made: Parameters = {
        "model": recipe.name,
        "source": model.source,
        "pipeline": recipe.family.classes[plan.operation],
        "seed": plan.seeds[0],
        "width": plan.size.width,
        "height": plan.size.height,
        "steps": plan.steps,
        "guidance": plan.guidance,
        "device": pipe.device,
        "dtype": str(pipe.value.dtype).removeprefix("torch."),
        **versions(),
    }
    if model.revision:
        made["revision"] = model.revision
    if plan.strength is not None:
        made["strength"] = plan.strength
    if plan.motion:
        made |= {"fps": float(plan.motion.fps), "frames": plan.motion.frames, "native_frames": model.frames}
    return made


def upscale(task: EngineTask, plan: PictureUpscalePlan | ClipUpscalePlan, network: Resident) -> Parameters:
    """Report an upscaled picture or clip."""
    made: Parameters = {"model": task.model, "width": plan.size.width, "height": plan.size.height}
    return made | {"network": "realesr-animevideov3", "device": network.device, "torch": versions()["torch"]}


def interpolation(task: EngineTask, plan: InterpolationPlan) -> Parameters:
    """Report a clip with another frame rate."""
    return {"model": task.model, "fps": float(plan.fps), "frames": plan.frames}


def summary(plan: GenerationPlan) -> str:
    """Name the amount of work, for the message that it was too much."""
    files = f"{len(plan.seeds)} of " if len(plan.seeds) > 1 else ""
    frames = f" and {plan.motion.frames} frames" if plan.motion else ""
    return f"{files}{plan.size.width}x{plan.size.height}{frames}"
