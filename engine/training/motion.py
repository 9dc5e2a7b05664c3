"""`local/motion`: a picture and words such as "moving right" to a short clip, as a PIA pipeline.

The network is the one of `local/shapes`, with attention over time between its layers and the latents of the first
picture as further input channels. Autoencoder and text encoder are the same.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    MotionAdapter,
    PIAPipeline,
    UNet2DConditionModel,
    UNetMotionModel,
)
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.pipelines.deprecated.pia.pipeline_pia import prepare_mask_coef_by_statistics
from torch import Tensor, nn
from torch.nn import functional

from engine.training import autoencoder, flow, language
from engine.training.captions import MOTION_NAMES, MOTIONS, Meaning, say, say_motion_only
from engine.training.drawing import PIXELS, Attributes, Placement, draw, inside, place
from engine.training.optimise import Run
from engine.training.shapes import Foundations, meaning_of, scenes, train_unet

SEED = 2
FRAMES = 8
TRAVEL = 18.0  # pixels from the first frame to the last, where the picture has room for it
CLIPS = 2048
# Steps on a few frames of many clips, steps on all frames of few clips, peak learning rate. Frames follow from the
# first picture, the words and their number, so a few of many clips teach more; all are only needed at the end.
ROUNDS = ((1700, 300, 1.5e-3), (1200, 250, 1.2e-3))
SPARSE_BATCH, SPARSE_FRAMES = 16, 2
BATCH = 4

# Played backwards a clip shows the opposite motion: twice as many clips for nothing.
_OPPOSITE = torch.tensor([1, 0, 3, 2, 7, 6, 5, 4, 9, 8])
_DIRECTIONS = torch.tensor(list(MOTIONS.values()))
_GROWTH = torch.tensor([{"growing": 1.7, "shrinking": 0.55}.get(name, 1.0) for name in MOTION_NAMES])
_UNSAID = 0.08  # the share of captions that leave the motion open


# Clips ------------------------------------------------------------------------------------------------


def sample_motions(attributes: Attributes, generator: torch.Generator) -> tuple[Attributes, Tensor]:
    """A motion for each scene, whose start is moved off the edge that the motion leads to (but not always)."""
    count = len(attributes)
    motion = torch.randint(len(MOTION_NAMES), (count,), generator=generator)
    place_of = torch.stack([attributes.position % 3 - 1, attributes.position // 3 - 1], dim=1)
    heading = _DIRECTIONS[motion]
    blocked = (place_of == heading) & (heading != 0) & (torch.rand(count, 1, generator=generator) < 0.9)
    retreat = torch.where(torch.rand(count, 1, generator=generator) < 0.5, 0, -heading)
    place_of = torch.where(blocked, retreat, place_of)
    return replace(attributes, position=3 * (place_of[:, 1] + 1) + place_of[:, 0] + 1), motion


def default_motion(position: int) -> int:
    """Where things go when the caption does not say: across the centre, and from the centre to the right."""
    column, row = position % 3 - 1, position // 3 - 1
    heading = (-column, -row) if (column, row) != (0, 0) else (1, 0)
    return list(MOTIONS.values()).index(heading)


def journeys(start: Placement, motion: Tensor) -> Placement:
    """Centres and radii for all frames, [clips * FRAMES]: evenly from the start to the end, inside the picture."""
    heading = functional.normalize(_DIRECTIONS[motion].float(), dim=1)
    growth = _GROWTH[motion]
    room = torch.minimum(start.centre, PIXELS - start.centre).amin(1)
    radius = torch.where(growth > 1, torch.minimum(start.radius * growth, room.clamp(min=18)), start.radius * growth)
    centre = inside(start.centre + TRAVEL * heading, start.radius - 2)
    share = torch.linspace(0, 1, FRAMES)
    centres = start.centre[:, None] + share[None, :, None] * (centre - start.centre)[:, None]
    radii = start.radius[:, None] + share[None] * (radius - start.radius)[:, None]
    return Placement(centres.reshape(-1, 2), radii.reshape(-1))


def draw_clips(attributes: Attributes, motion: Tensor, generator: torch.Generator) -> Tensor:
    """[clips * FRAMES, 3, height, width]"""
    every_frame = torch.arange(len(attributes)).repeat_interleave(FRAMES)
    return draw(attributes[every_frame], journeys(place(attributes, generator), motion))


def caption(attributes: Attributes, motion: int | None, row: int, chance: random.Random) -> str:
    """With the object or without it; the place never, because the picture shows it."""
    if chance.random() < 0.35:
        return say_motion_only(motion, chance)
    meaning: Meaning = replace(meaning_of(attributes, row, chance), position=None, motion=motion)
    return say(replace(meaning, background=None) if chance.random() < 0.6 else meaning, chance)


class Reel:
    """Drawn clips with their latents, encoded once: [clips, channels, FRAMES, height, width]."""

    def __init__(self, vae: AutoencoderKL, count: int, generator: torch.Generator) -> None:
        self.attributes, self.motion = sample_motions(scenes(count, generator), generator)
        self.unsaid = torch.rand(count, generator=generator) < _UNSAID
        defaults = torch.tensor([default_motion(position) for position in self.attributes.position.tolist()])
        self.motion = torch.where(self.unsaid, defaults, self.motion)
        parts = []
        for rows in torch.arange(count).split(64):
            frames = draw_clips(self.attributes[rows], self.motion[rows], generator)
            latents = autoencoder.encode(vae, frames)
            parts.append(latents.unflatten(0, (len(rows), FRAMES)).transpose(1, 2))
        self.latents = torch.cat(parts)

    def scene(self, count: int, generator: torch.Generator, chance: random.Random) -> tuple[Tensor, list[str]]:
        rows = torch.randint(len(self.latents), (count,), generator=generator)
        backwards = (torch.rand(count, generator=generator) < 0.5) & ~self.unsaid[rows]
        motion = torch.where(backwards, _OPPOSITE[self.motion[rows]], self.motion[rows])
        clips = self.latents[rows]
        clips = torch.where(backwards[:, None, None, None, None], clips.flip(2), clips)
        said = [None if self.unsaid[row] else int(motion[i]) for i, row in enumerate(rows)]
        return clips, [caption(self.attributes[rows], said[i], i, chance) for i in range(count)]


# Training ---------------------------------------------------------------------------------------------


def build_unet(start: UNet2DConditionModel) -> UNetMotionModel:
    """The picture network with attention over time, which at first changes nothing."""
    adapter = MotionAdapter(
        block_out_channels=tuple(start.config.block_out_channels),
        motion_layers_per_block=1,
        motion_num_attention_heads=4,
        motion_norm_num_groups=start.config.norm_num_groups,
        motion_max_seq_length=16,
        conv_in_channels=9,  # latents, mask, latents of the first picture
    )
    unet = UNetMotionModel.from_unet2d(start, adapter)
    for name, module in unet.named_modules():
        if name.endswith("proj_out") and "motion_modules" in name:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def condition(clips: Tensor) -> Tensor:
    """The mask and the first frame repeated, exactly as the pipeline lays them out for its default motion scale."""
    mask = torch.tensor(prepare_mask_coef_by_statistics(clips.shape[2], 0, 0)).reshape(1, 1, -1, 1, 1)
    first = clips[:, :, :1].expand_as(clips)
    return torch.cat([mask.expand(len(clips), 1, -1, *clips.shape[3:]), first], dim=1)


@contextmanager
def only_frames(unet: UNetMotionModel, frames: Tensor) -> Iterator[None]:
    """Let the attention over time take the frames it is given for those of these numbers."""
    embeddings = [module for module in unet.modules() if isinstance(module, SinusoidalPositionalEmbedding)]
    tables = [module.pe for module in embeddings]
    for module, table in zip(embeddings, tables, strict=True):
        module.pe = table[:, frames]
    try:
        yield
    finally:
        for module, table in zip(embeddings, tables, strict=True):
            module.pe = table


def flow_loss(
    unet: UNetMotionModel, clips: Tensor, embeddings: Tensor, frames: Tensor, generator: torch.Generator
) -> Tensor:
    """The error of the given frames; a first picture and a direction leave little open, so the noise is mostly high."""
    given, clips = condition(clips)[:, :, frames], clips[:, :, frames]
    noise = torch.randn(clips.shape, generator=generator)
    level = flow.noise_levels(len(clips), generator, lean=1.5, spread=1.5)
    inputs = torch.cat([flow.mix(clips, noise, level), given], dim=1)
    words = embeddings.repeat_interleave(len(frames), dim=0)
    with only_frames(unet, frames):
        predicted = unet(inputs, level * flow.TIMESTEPS, words).sample
    return functional.mse_loss(predicted, noise - clips)


def train(base: Foundations, work: Path, *, seed: int = SEED) -> PIAPipeline:
    """Train on drawn clips, starting from the finished picture network."""
    start = train_unet(base, work)
    torch.manual_seed(seed)
    unet = build_unet(start)
    for number, (sparse, whole, rate) in enumerate(ROUNDS):
        run = Run(unet, steps=sparse + whole, rate=rate, decay=0.995, checkpoint=work / f"motion-{number}.pt")
        if run.done < run.steps:
            _train_round(base, run, sparse, seed + 1000 * number + run.done)
        run.settle()
    return assemble(base, unet)


def _train_round(base: Foundations, run: Run, sparse: int, seed: int) -> None:
    reel = Reel(base.vae, CLIPS, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    chance = random.Random(seed)
    for step in run:
        count, batch = (SPARSE_FRAMES, SPARSE_BATCH) if step < sparse else (FRAMES, BATCH)
        frames = torch.randperm(FRAMES, generator=generator)[:count].sort().values
        clips, captions = reel.scene(batch, generator, chance)
        embeddings = language.embed(base.tokenizer, base.encoder, flow.without_some(captions, chance, share=0.05))
        run.learn(flow_loss(run.model, clips, embeddings, frames, generator))


def assemble(base: Foundations, unet: UNetMotionModel) -> PIAPipeline:
    return PIAPipeline(
        vae=base.vae.eval(),
        text_encoder=base.encoder.eval(),
        tokenizer=base.tokenizer,
        unet=unet.eval(),
        scheduler=flow.scheduler(),
    )
