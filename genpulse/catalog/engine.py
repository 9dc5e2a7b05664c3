"""Catalogue entries of local engine models, derived from how the engine loads and limits them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from genpulse.schemas.catalog import EngineModel, FieldSpec, ImageRules, ModelSpec, OperationSpec, SizeRules
from genpulse.schemas.queues import ENGINE_QUEUE, FAKE_QUEUE
from genpulse.schemas.states import MediaKind, Operation

PROVIDER = "local"
MAX_SCALE = 4.0
MAX_PROMPT = 2_000

Fields = dict[str, FieldSpec]


def engine_spec(name: str, model: EngineModel) -> ModelSpec:
    """Describe an engine model in the catalogue's terms."""
    return ModelSpec(
        provider=PROVIDER,
        name=name,
        description=model.description,
        queue=FAKE_QUEUE if model.kind == "fake" else ENGINE_QUEUE,
        operations={operation: _BUILD[operation](model) for operation in model.operations},
        price=model.price,
        hidden=model.hidden,
    )


def _text_to_image(model: EngineModel) -> OperationSpec:
    return OperationSpec(
        output=MediaKind.IMAGE, fields=_prompt(required=True) | _image_output(model), sizes=_sizes(model)
    )


def _image_to_image(model: EngineModel) -> OperationSpec:
    strength = FieldSpec(
        type="number", description="How far the result may depart from the image", minimum=0, maximum=1, default=0.8
    )
    return OperationSpec(
        output=MediaKind.IMAGE,
        fields=_prompt(required=True) | _media("image") | {"strength": strength} | _image_output(model),
        sizes=_sizes(model),
        images={"image": _image_rules(model)},
    )


def _text_to_video(model: EngineModel) -> OperationSpec:
    return OperationSpec(
        output=MediaKind.VIDEO, fields=_prompt(required=True) | _video_output(model), sizes=_sizes(model)
    )


def _image_to_video(model: EngineModel) -> OperationSpec:
    return OperationSpec(
        output=MediaKind.VIDEO,
        fields=_prompt(required=False) | _media("image") | _video_output(model),
        sizes=_sizes(model),
        images={"image": _image_rules(model)},
    )


def _upscale(kind: Literal["image", "video"]) -> Callable[[EngineModel], OperationSpec]:
    def build(_model: EngineModel) -> OperationSpec:
        scale = FieldSpec(
            type="number",
            description="Factor by which both sides grow; or give `width` and `height`",
            minimum=1,
            maximum=MAX_SCALE,
            default=2,
        )
        sides = {side: _integer(f"Exact {side} of the result in pixels", 2, 8192) for side in ("width", "height")}
        return OperationSpec(output=MediaKind(kind), fields=_media(kind) | {"scale": scale} | sides)

    return build


def _interpolate(_model: EngineModel) -> OperationSpec:
    fps = FieldSpec(type="number", description="Frames per second of the result", minimum=1, maximum=120, default=30)
    return OperationSpec(output=MediaKind.VIDEO, fields=_media("video") | {"fps": fps})


_BUILD: dict[Operation, Callable[[EngineModel], OperationSpec]] = {
    Operation.TEXT_TO_IMAGE: _text_to_image,
    Operation.IMAGE_TO_IMAGE: _image_to_image,
    Operation.TEXT_TO_VIDEO: _text_to_video,
    Operation.IMAGE_TO_VIDEO: _image_to_video,
    Operation.IMAGE_UPSCALE: _upscale("image"),
    Operation.VIDEO_UPSCALE: _upscale("video"),
    Operation.VIDEO_INTERPOLATE: _interpolate,
}


def _prompt(*, required: bool) -> Fields:
    return {
        "prompt": FieldSpec(type="string", description="What to make", required=required, max_length=MAX_PROMPT),
        "negative_prompt": FieldSpec(type="string", description="What to avoid", max_length=MAX_PROMPT),
    }


def _media(kind: Literal["image", "video"]) -> Fields:
    return {kind: FieldSpec(type=kind, description=f"The {kind} to start from", required=True)}


def _image_output(model: EngineModel) -> Fields:
    count = _integer("How many images to make, each from the next seed", 1, model.max_count, 1)
    return _sampling(model) | _dimensions(model) | {"count": count}


def _video_output(model: EngineModel) -> Fields:
    native = model.frames / model.fps
    duration = FieldSpec(
        type="number", description="Seconds", minimum=0.5, maximum=model.max_seconds, default=round(native, 3)
    )
    fps = FieldSpec(type="number", description="Frames per second", minimum=1, maximum=60, default=model.fps)
    return _sampling(model) | _dimensions(model) | {"duration": duration, "fps": fps}


def _sampling(model: EngineModel) -> Fields:
    return {
        "seed": FieldSpec(type="integer", description="Same seed, same result; drawn when left out", minimum=0),
        "steps": _integer("Denoising steps", 1, model.max_steps, model.steps),
        "guidance": FieldSpec(
            type="number", description="How closely to follow the prompt", minimum=0, maximum=30, default=model.guidance
        ),
    }


def _dimensions(model: EngineModel) -> Fields:
    # Limits of the sides are those of SizeRules: a size beyond them is adapted, not refused field by field.
    return {
        "width": FieldSpec(type="integer", description="Pixels", minimum=2, maximum=8192, default=model.native.width),
        "height": FieldSpec(type="integer", description="Pixels", minimum=2, maximum=8192, default=model.native.height),
        "aspect_ratio": FieldSpec(type="string", description="width:height, for example 16:9"),
        "resolution": FieldSpec(type="string", description="Shorter side, for example 256p, or width x height"),
    }


def _integer(description: str, minimum: int, maximum: int, default: int | None = None) -> FieldSpec:
    return FieldSpec(type="integer", description=description, minimum=minimum, maximum=maximum, default=default)


def _sizes(model: EngineModel) -> SizeRules:
    return SizeRules(
        native=model.native,
        sizes=model.sizes,
        min_side=model.min_side,
        max_side=model.max_side,
        multiple_of=model.multiple_of,
    )


def _image_rules(model: EngineModel) -> ImageRules:
    return ImageRules(
        sizes=model.sizes, min_side=model.min_side, max_side=model.max_side, multiple_of=model.multiple_of
    )
