"""`local/shapes`: text to a picture of one coloured shape, as a Stable Diffusion pipeline of a few megabytes."""

import random
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
STEPS = 1000
BATCH = 64
RATE = 1.2e-3
SCENES = 12288


def build_unet() -> UNet2DConditionModel:
    """Works on 8x8 latents: small enough for a CPU, and the padding of its convolutions tells it where things are."""
    return UNet2DConditionModel(
        sample_size=PIXELS // autoencoder.CELL,
        in_channels=4,
        out_channels=4,
        block_out_channels=(80, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=language.WIDTH,
        attention_head_dim=4,  # the number of heads, in spite of its name
        norm_num_groups=4,
    )


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


def train_unet(
    work: Path, album: Album, tokenizer: CLIPTokenizer, encoder: CLIPTextModel, *, seed: int, steps: int = STEPS
) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    run = Run(build_unet(), steps=steps, rate=RATE, decay=0.995, checkpoint=work / "shapes.pt")
    generator = torch.Generator().manual_seed(seed + run.done)
    chance = random.Random(seed + run.done)
    for _ in run:
        latents, captions = album.page(BATCH, generator, chance)
        embeddings = language.embed(tokenizer, encoder, flow.without_some(captions, chance))
        run.learn(flow_loss(run.model, latents, embeddings, generator))
    return run.model


def assemble(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, encoder: CLIPTextModel, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=flow.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def train(work: Path, *, seed: int = SEED) -> StableDiffusionPipeline:
    """Everything from nothing: autoencoder, text encoder, then the diffusion network on top of both."""
    vae = autoencoder.train(work, seed=seed)
    tokenizer, encoder = language.train(work, seed=seed)
    album = Album(vae, SCENES, torch.Generator().manual_seed(seed))
    unet = train_unet(work, album, tokenizer, encoder, seed=seed)
    return assemble(vae, tokenizer, encoder, unet)
