"""Which diffusers classes the engine runs, for which operation, and what each asks of sizes and arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from genpulse.errors import ModelUnavailable
from genpulse.schemas.states import Operation

_T2I, _I2I = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE
_T2V, _I2V = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO


@dataclass(frozen=True, kw_only=True)
class Family:
    """Pipelines that run on the same weights, by operation.

    A folder saved from any of the classes serves all of them: the others are made from the loaded one and share its
    weights. `forms_need` names a flag of the pipeline's config without which the weights fit the saved class only.
    `temporal` is the pipeline's attribute T where it can make only T x k + 1 frames.
    """

    classes: Mapping[Operation, str]
    multiple_of: int = 8
    temporal: str | None = None
    guidance: str = "guidance_scale"
    empty_negative: str | None = None
    ignores: frozenset[str] = field(default_factory=frozenset)
    forms_need: str | None = None


# Flux takes a negative prompt but heeds it only with a second, undistilled guidance that doubles the time.
_NO_NEGATIVE = frozenset({"negative_prompt"})

FAMILIES: tuple[Family, ...] = (
    Family(classes={_T2I: "StableDiffusionPipeline", _I2I: "StableDiffusionImg2ImgPipeline"}),
    Family(classes={_T2I: "StableDiffusionXLPipeline", _I2I: "StableDiffusionXLImg2ImgPipeline"}),
    Family(
        classes={_T2I: "FluxPipeline", _I2I: "FluxImg2ImgPipeline"},
        multiple_of=16,
        ignores=_NO_NEGATIVE,
    ),
    Family(classes={_I2I: "FluxKontextPipeline"}, multiple_of=16, ignores=_NO_NEGATIVE),
    Family(classes={_T2I: "Flux2KleinPipeline", _I2I: "Flux2KleinPipeline"}, multiple_of=16),
    Family(
        classes={_T2I: "QwenImagePipeline", _I2I: "QwenImageImg2ImgPipeline"},
        multiple_of=16,
        guidance="true_cfg_scale",
        empty_negative=" ",  # without one Qwen skips guidance altogether
    ),
    Family(classes={_I2I: "QwenImageEditPipeline"}, multiple_of=16, guidance="true_cfg_scale", empty_negative=" "),
    Family(classes={_T2I: "ZImagePipeline", _I2I: "ZImageImg2ImgPipeline"}, multiple_of=16),
    Family(classes={_T2I: "SanaPipeline"}, multiple_of=32),
    Family(classes={_T2I: "PRXPixelPipeline"}, multiple_of=16),
    Family(
        classes={_T2V: "LTXPipeline", _I2V: "LTXImageToVideoPipeline"},
        multiple_of=32,
        temporal="vae_temporal_compression_ratio",
    ),
    Family(
        classes={_T2V: "WanPipeline", _I2V: "WanImageToVideoPipeline"},
        multiple_of=16,
        temporal="vae_scale_factor_temporal",
        forms_need="expand_timesteps",
    ),
    Family(classes={_T2V: "CogVideoXPipeline"}, multiple_of=16, temporal="vae_scale_factor_temporal"),
    Family(classes={_I2V: "CogVideoXImageToVideoPipeline"}, multiple_of=16, temporal="vae_scale_factor_temporal"),
    Family(classes={_T2V: "AnimateDiffPipeline"}),
    Family(classes={_I2V: "PIAPipeline"}),
    Family(classes={_I2V: "StableVideoDiffusionPipeline"}, guidance="max_guidance_scale"),
)


def family_of(class_name: str) -> Family | None:
    """Return the family that a saved pipeline class belongs to."""
    return next((family for family in FAMILIES if class_name in family.classes.values()), None)


@cache
def arguments(class_name: str) -> frozenset[str]:
    """Return the names that the class takes when called; imports diffusers."""
    import diffusers

    return frozenset(inspect.signature(getattr(diffusers, class_name).__call__).parameters)


def form_for(pipe: Any, family: Family, operation: Operation) -> Any:
    """Return the pipeline that serves the operation, sharing the weights of `pipe`, which may be it already."""
    import diffusers

    wanted = family.classes[operation]
    if type(pipe).__name__ == wanted:
        return pipe
    if family.forms_need and not pipe.config.get(family.forms_need):
        raise ModelUnavailable(
            f"These weights serve {type(pipe).__name__} only: {operation} needs a checkpoint with "
            f"{family.forms_need}, or one saved as {wanted}."
        )
    # Not by `from_pipe`: it casts the shared weights, and refuses a tiny autoencoder although that fits.
    parts = {**pipe.config, **pipe.components}
    parameters = list(inspect.signature(getattr(diffusers, wanted)).parameters.values())
    form = getattr(diffusers, wanted)(
        **{each.name: parts.get(each.name) for each in parameters if each.name in parts or each.default is each.empty}
    )
    form.set_progress_bar_config(disable=True)
    return form


def native_frames(pipe: Any, family: Family, frames: int) -> int:
    """Return the frames that the pipeline will make when asked for `frames`: never fewer, as some would round down."""
    if family.temporal is None:
        return frames
    step: int = getattr(pipe, family.temporal)
    return -(-(frames - 1) // step) * step + 1
