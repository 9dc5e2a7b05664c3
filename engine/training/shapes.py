"""`local/shapes`: text to a picture of one coloured shape, as a Stable Diffusion pipeline of a few megabytes."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from engine.training import autoencoder, flow, language
from engine.training.captions import Meaning, default_background, forget, say
from engine.training.drawing import PIXELS, Attributes, draw, place, sample_attributes
from engine.training.optimise import Run

SEED = 1
SCENES = 8192
# Steps, pictures to a step and peak learning rate: each round has scenes of its own and ends with small steps.
ROUNDS = ((1600, 32, 1.5e-3), (1600, 48, 1.0e-3))


def build_unet() -> UNet2DConditionModel:
    """Works on 16x16 latents: small enough for a CPU, and the padding of its convolutions tells it where things are."""
    return UNet2DConditionModel(
        sample_size=PIXELS // autoencoder.CELL,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=language.WIDTH,
        attention_head_dim=4,  # the number of heads, in spite of its name
        norm_num_groups=4,
    )


@dataclass(frozen=True, slots=True)
class Foundations:
    """What both pipelines stand on."""

    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel


def foundations(work: Path, *, seed: int = SEED) -> Foundations:
    """Train autoencoder and text encoder, or read them from the checkpoints in `work`."""
    vae = autoencoder.train(work, seed=seed)
    autoencoder.sharpen(vae, work, seed=seed)
    return Foundations(vae, *language.train(work, seed=seed))


class Album:
    """Drawn scenes with their latents, encoded once; captions are made up anew each time a scene is looked at."""

    def __init__(self, vae: AutoencoderKL, count: int, generator: torch.Generator) -> None:
        self.attributes = scenes(count, generator)
        placement = place(self.attributes, generator)
        pictures = draw(self.attributes, placement)
        self.latents = autoencoder.encode(vae, pictures)

    def page(self, count: int, generator: torch.Generator, chance: random.Random) -> tuple[Tensor, list[str]]:
        rows = torch.randint(len(self.latents), (count,), generator=generator)
        attributes = self.attributes[rows]
        captions = [say(meaning_of(attributes, row, chance), chance) for row in range(count)]
        return self.latents[rows], captions


def scenes(count: int, generator: torch.Generator) -> Attributes:
    """Attributes of which a third have the background that captions may leave out."""
    drawn = sample_attributes(count, generator)
    defaults = torch.tensor([default_background(colour) for colour in drawn.colour.tolist()])
    plain = torch.rand(count, generator=generator) < 0.3
    return Attributes(
        drawn.shape, drawn.colour, torch.where(plain, defaults, drawn.background), drawn.position, drawn.size
    )


def meaning_of(attributes: Attributes, row: int, chance: random.Random) -> Meaning:
    """What a caption may say about one picture: the default background half of the time goes without saying."""
    shape, colour, background, position, size = (
        int(values[row])
        for values in (
            attributes.shape,
            attributes.colour,
            attributes.background,
            attributes.position,
            attributes.size,
        )
    )
    silent = background == default_background(colour) and chance.random() < 0.6
    meaning = Meaning(shape, colour, None if silent else background, position, size)
    return meaning if silent else forget(meaning, chance)


def flow_loss(unet: UNet2DConditionModel, latents: Tensor, embeddings: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(latents.shape, generator=generator)
    level = flow.noise_levels(len(latents), generator)
    predicted = unet(flow.mix(latents, noise, level), level * flow.TIMESTEPS, embeddings).sample
    return functional.mse_loss(predicted, noise - latents)


def train_unet(base: Foundations, work: Path, *, seed: int = SEED) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    unet = build_unet()
    for number, (steps, batch, rate) in enumerate(ROUNDS):
        run = Run(unet, steps=steps, rate=rate, decay=0.995, checkpoint=work / f"shapes-{number}.pt")
        if run.done < steps:
            _train_round(base, run, batch, seed + 1000 * number)
        run.settle()
    return unet


def _train_round(base: Foundations, run: Run, batch: int, seed: int) -> None:
    album = Album(base.vae, SCENES, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + run.done)
    chance = random.Random(seed + run.done)
    for _ in run:
        latents, captions = album.page(batch, generator, chance)
        embeddings = language.embed(base.tokenizer, base.encoder, flow.without_some(captions, chance))
        run.learn(flow_loss(run.model, latents, embeddings, generator))


def assemble(base: Foundations, unet: UNet2DConditionModel) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=base.vae.eval(),
        text_encoder=base.encoder.eval(),
        tokenizer=base.tokenizer,
        unet=unet.eval(),
        scheduler=flow.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def train(base: Foundations, work: Path) -> StableDiffusionPipeline:
    return assemble(base, train_unet(base, work))
