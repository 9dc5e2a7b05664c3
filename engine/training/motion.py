"""`local/motion`: a picture and words such as "moving right" to a short clip, as a PIA pipeline.

The network is the one of `local/shapes`, with attention over time between its layers and the latents of the first
picture as further input channels. Autoencoder and text encoder are the same.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from engine.training.drawing import COLOURS, PIXELS, SHAPES, Attributes, Placement, draw, inside, place
from engine.training.optimise import Run, muon
from engine.training.shapes import Foundations, meaning_of, scenes, train_unet

SEED = 2
FRAMES = 8
TRAVEL = 18.0  # pixels from the first frame to the last, where the picture has room for it
CLIPS = 2048
# Steps on a few frames of many clips, steps on all frames of few clips, peak learning rate. Frames follow from the
# first picture, the words and their number, so a few of many clips teach more; all are only needed at the end. A third
# round on whole clips alone (600 steps, 8e-4) made it worse: four clips a step are too few at such a rate.
ROUNDS = ((1700, 300, 1.5e-3), (2400, 250, 1.2e-3))
SPARSE_BATCH, SPARSE_FRAMES = 16, 2
BATCH = 4
READING_WEIGHT = 0.02

# Played backwards a clip shows the opposite motion: twice as many clips for nothing.
_OPPOSITE = torch.tensor([1, 0, 3, 2, 7, 6, 5, 4, 9, 8])
_DIRECTIONS = torch.tensor(list(MOTIONS.values()))
_GROWTH = torch.tensor([{"growing": 1.7, "shrinking": 0.55}.get(name, 1.0) for name in MOTION_NAMES])
_KINDS = (len(SHAPES), len(COLOURS), len(COLOURS))
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


def draw_clips(attributes: Attributes, motion: Tensor, generator: torch.Generator) -> tuple[Tensor, Placement]:
    """Pictures [clips * FRAMES, 3, height, width], and where the object is in each of them."""
    every_frame = torch.arange(len(attributes)).repeat_interleave(FRAMES)
    journey = journeys(place(attributes, generator), motion)
    return draw(attributes[every_frame], journey), journey


def caption(attributes: Attributes, motion: int | None, row: int, chance: random.Random) -> str:
    """With the object or without it; the place never, because the picture shows it."""
    if chance.random() < 0.35:
        return say_motion_only(motion, chance)
    meaning: Meaning = replace(meaning_of(attributes, row, chance), position=None, motion=motion)
    return say(replace(meaning, background=None) if chance.random() < 0.6 else meaning, chance)


@dataclass(frozen=True, slots=True)
class Scene:
    """A batch of clips and all that is known about them."""

    clips: Tensor  # latents [clips, channels, FRAMES, height, width]
    captions: list[str]
    kinds: Tensor  # numbers of shape, colour and background [clips, 3]
    places: Tensor  # centre and radius as shares of the picture [clips, FRAMES, 3]


class Reel:
    """Drawn clips with their latents, encoded once."""

    def __init__(self, vae: AutoencoderKL, count: int, generator: torch.Generator) -> None:
        self.attributes, self.motion = sample_motions(scenes(count, generator), generator)
        self.unsaid = torch.rand(count, generator=generator) < _UNSAID
        defaults = torch.tensor([default_motion(position) for position in self.attributes.position.tolist()])
        self.motion = torch.where(self.unsaid, defaults, self.motion)
        latents, places = [], []
        for rows in torch.arange(count).split(64):
            frames, journey = draw_clips(self.attributes[rows], self.motion[rows], generator)
            latents.append(autoencoder.encode(vae, frames).unflatten(0, (len(rows), FRAMES)).transpose(1, 2))
            places.append(torch.cat([journey.centre, journey.radius[:, None]], dim=1).unflatten(0, (len(rows), FRAMES)))
        self.latents = torch.cat(latents)
        self.places = torch.cat(places) / PIXELS

    def scene(self, count: int, generator: torch.Generator, chance: random.Random) -> Scene:
        rows = torch.randint(len(self.latents), (count,), generator=generator)
        backwards = (torch.rand(count, generator=generator) < 0.5) & ~self.unsaid[rows]
        motion = torch.where(backwards, _OPPOSITE[self.motion[rows]], self.motion[rows])
        said = [None if self.unsaid[row] else int(motion[i]) for i, row in enumerate(rows)]
        shown = self.attributes[rows]
        return Scene(
            clips=_reversed_where(backwards, self.latents[rows], 2),
            captions=[caption(shown, said[i], i, chance) for i in range(count)],
            kinds=torch.stack([shown.shape, shown.colour, shown.background], dim=1),
            places=_reversed_where(backwards, self.places[rows], 1),
        )


def _reversed_where(chosen: Tensor, clips: Tensor, time_axis: int) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (clips.dim() - 1)), clips.flip(time_axis), clips)


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


class Reading:
    """Reads off the innermost layer what the frame in the making will show; only needed in training.

    The error of the pictures says little about outlines: they are few pixels. Asked for the kind and place of the
    object as well, the network learns to recognise it in the first picture.
    """

    def __init__(self, unet: UNetMotionModel) -> None:
        widths = unet.config.block_out_channels
        cells = (PIXELS // autoencoder.CELL // 2 ** (len(widths) - 1)) ** 2
        self._reader = nn.Sequential(
            nn.GroupNorm(4, widths[-1]), nn.Flatten(), nn.Linear(widths[-1] * cells, sum(_KINDS) + 3)
        )
        self._optimiser = torch.optim.AdamW(self._reader.parameters(), lr=2e-3)
        self._layer = unet.mid_block
        self._seen = torch.empty(0)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every prediction that the network makes meanwhile."""
        handle = self._layer.register_forward_hook(self._look)
        try:
            yield
        finally:
            handle.remove()

    def _look(self, _layer: nn.Module, _inputs: object, features: Tensor) -> None:
        self._seen = features

    def loss(self, scene: Scene, frames: Tensor) -> Tensor:
        """How wrong it is about the object in the frames predicted last."""
        *kinds, places = self._reader(self._seen).split((*_KINDS, 3), dim=1)
        asked = scene.kinds.repeat_interleave(len(frames), dim=0)
        named = [functional.cross_entropy(kind, asked[:, i]) for i, kind in enumerate(kinds)]
        placed = functional.mse_loss(places, scene.places[:, frames].flatten(0, 1))
        return torch.stack(named).sum() + 50 * placed

    def learn(self) -> None:
        """One step, from the gradients that are there."""
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)


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
        checkpoint = work / f"motion-{number}.pt"
        run = Run(unet, steps=sparse + whole, rate=rate, decay=0.995, checkpoint=checkpoint, optimisers=muon)
        if run.done < run.steps:
            _train_round(base, run, sparse, seed + 1000 * number + run.done)
        run.settle()
    return assemble(base, unet)


def _train_round(base: Foundations, run: Run, sparse: int, seed: int) -> None:
    reel = Reel(base.vae, CLIPS, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    chance = random.Random(seed)
    reading = Reading(run.model)
    with reading.watching():
        for step in run:
            count, batch = (SPARSE_FRAMES, SPARSE_BATCH) if step < sparse else (FRAMES, BATCH)
            frames = torch.randperm(FRAMES, generator=generator)[:count].sort().values
            scene = reel.scene(batch, generator, chance)
            words = flow.without_some(scene.captions, chance, share=0.05)
            embeddings = language.embed(base.tokenizer, base.encoder, words)
            loss = flow_loss(run.model, scene.clips, embeddings, frames, generator)
            run.learn(loss + READING_WEIGHT * reading.loss(scene, frames))
            reading.learn()


def assemble(base: Foundations, unet: UNetMotionModel) -> PIAPipeline:
    return PIAPipeline(
        vae=base.vae.eval(),
        text_encoder=base.encoder.eval(),
        tokenizer=base.tokenizer,
        unet=unet.eval(),
        scheduler=flow.scheduler(),
    )
