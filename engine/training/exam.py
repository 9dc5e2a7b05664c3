"""The fixed tables of prompts by which the shipped pipelines are judged, and the reports about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DiffusionPipeline

from engine.training.captions import MEDIUM, MOTIONS, Meaning
from engine.training.drawing import CENTRE, COLOURS, POSITIONS, SHAPES, SIZES, Attributes, draw, place
from engine.training.motion import FRAMES
from engine.training.scoring import Picture, follow, journey_misses, misses

SHAPES_CALL = {"num_inference_steps": 10, "guidance_scale": 2.0}
MOTION_CALL = {"num_inference_steps": 10, "guidance_scale": 2.0, "num_frames": FRAMES}

_PHRASES = (
    "a {colour} {shape} {place} on a {background} background",
    "{size} {colour} {shape} {place}, {background} background",
    "a photo of a {size} {colour} {shape} on {background} {place}",
    "{colour} {shape} on a {background} background",
    "the {colour} {shape} {place}",
    "a {size} {colour} {shape} {place} with a {background} background",
    "a {colour} {shape}",
    "on a {background} background, a {colour} {shape} {place}",
)
_PLACES = (
    "in the top left corner",
    "at the top",
    "at the upper right",
    "on the left",
    "in the middle",
    "on the right",
    "at the lower left",
    "at the bottom",
    "in the bottom right corner",
)


@dataclass(frozen=True, slots=True)
class PictureCase:
    prompt: str
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class ClipCase:
    prompt: str
    first: Picture
    motion: str
    colour: str
    shape: str


@dataclass(frozen=True, slots=True)
class Verdict:
    prompt: str
    wrong: list[str]


# Text to picture --------------------------------------------------------------------------------------


def picture_cases(count: int = 64) -> list[PictureCase]:
    """Prompts that go evenly through shapes, colours, backgrounds, places, sizes and ways of saying it."""
    return [_picture_case(number) for number in range(count)]


def _picture_case(number: int) -> PictureCase:
    phrase = _PHRASES[(number + number // 8) % len(_PHRASES)]
    shape = number % len(SHAPES)
    colour = (7 * number + 3 * (number // 11)) % len(COLOURS)
    background = (colour + 1 + (3 * number) % (len(COLOURS) - 1)) % len(COLOURS)
    position = (2 * number + number // 9) % len(POSITIONS)
    size = (number + number // 3) % len(SIZES)
    prompt = phrase.format(
        shape=SHAPES[shape],
        colour=COLOURS[colour],
        background=COLOURS[background],
        place=_PLACES[position],
        size=SIZES[size],
    )
    meaning = Meaning(
        shape,
        colour,
        background if "{background}" in phrase else None,
        position if "{place}" in phrase else CENTRE,
        size if "{size}" in phrase else MEDIUM,
    )
    return PictureCase(prompt, meaning)


def pictures(pipeline: DiffusionPipeline, prompts: Sequence[str], seed: int = 0, batch: int = 16) -> list[Picture]:
    """Generate one picture for each prompt, each from a seed of its own."""
    found: list[Picture] = []
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        images = pipeline(prompt=part, generator=generators, output_type="np", **SHAPES_CALL).images
        found.extend((images * 255).round().astype(np.uint8))
    return found


def judge_pictures(pipeline: DiffusionPipeline, cases: Sequence[PictureCase], seed: int = 0) -> list[Verdict]:
    drawn = pictures(pipeline, [case.prompt for case in cases], seed)
    return [Verdict(case.prompt, misses(picture, case.meaning)) for case, picture in zip(cases, drawn, strict=True)]


# Picture to clip --------------------------------------------------------------------------------------


def clip_cases() -> list[ClipCase]:
    """Each motion three times, with and without the object's description, starting where there is room to move."""
    return [_clip_case(number, motion) for number, motion in enumerate(tuple(MOTIONS) * 3)]


def _clip_case(number: int, motion: str) -> ClipCase:
    shape, colour = (5 * number + number // 8) % len(SHAPES), (4 * number + number // 11) % len(COLOURS)
    background = (colour + 1 + (3 * number) % (len(COLOURS) - 1)) % len(COLOURS)
    # From the centre, or from the side the motion leads away from.
    dx, dy = MOTIONS[motion] if number % 2 else (0, 0)
    position = 3 * (1 - dy) + 1 - dx
    size = SIZES.index("small") if motion == "growing" else MEDIUM
    described = f"a {COLOURS[colour]} {SHAPES[shape]} "
    action = motion if motion in ("growing", "shrinking") else f"moving {motion}"
    return ClipCase(
        prompt=(described if number % 3 else "") + action,
        first=picture_of(shape, colour, background, position, size, seed=number),
        motion=motion,
        colour=COLOURS[colour],
        shape=SHAPES[shape],
    )


def picture_of(shape: int, colour: int, background: int, position: int, size: int, *, seed: int = 0) -> Picture:
    """A drawn picture, as an input for clips and as a known answer for the scorer."""
    attributes = Attributes(*(torch.tensor([value]) for value in (shape, colour, background, position, size)))
    return to_pixels(draw(attributes, place(attributes, torch.Generator().manual_seed(seed))))[0]


def to_pixels(pictures: torch.Tensor) -> list[Picture]:
    """From the range of the networks to bytes, channels last."""
    return list(((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())


def clip(pipeline: DiffusionPipeline, prompt: str, first: Picture, seed: int = 0) -> list[Picture]:
    from PIL import Image

    frames = pipeline(
        image=Image.fromarray(first),
        prompt=prompt,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
        **MOTION_CALL,
    ).frames[0]
    return list((frames * 255).round().astype(np.uint8))


def judge_clips(pipeline: DiffusionPipeline, cases: Sequence[ClipCase], seed: int = 0) -> list[Verdict]:
    verdicts = []
    for number, case in enumerate(cases):
        journey = follow(clip(pipeline, case.prompt, case.first, seed + number), case.first)
        wrong = journey_misses(journey, motion=case.motion, colour=case.colour, shape=case.shape)
        verdicts.append(Verdict(case.prompt, wrong))
    return verdicts


# Reports ----------------------------------------------------------------------------------------------


def share_right(verdicts: Sequence[Verdict]) -> float:
    return sum(not verdict.wrong for verdict in verdicts) / len(verdicts)


def report(verdicts: Sequence[Verdict]) -> str:
    """A line for each prompt and the share of prompts with nothing wrong."""
    lines = [f"{'ok  ' if not v.wrong else 'MISS'} {v.prompt:<70} {'; '.join(v.wrong)}".rstrip() for v in verdicts]
    right = sum(not verdict.wrong for verdict in verdicts)
    return "\n".join([*lines, f"{right} of {len(verdicts)} right ({share_right(verdicts):.1%})"])
