"""The autoencoder both pipelines share: 64x64 pixels to 16x16 latents of four channels and back."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

from engine.training.drawing import PIXELS, RADII, SHAPES, Placement, inside, paint, plain, rgb_table
from engine.training.optimise import Run

STEPS = 250
DECODER_ROUNDS = (900, 1000)  # steps; each round ends with small ones
BATCH = 12
RATE = 1.5e-3
# Only enough pressure on the latents to keep them near one scale and tolerant of small errors.
KL_WEIGHT = 5e-5
# Added to the latents: detail must not hide in differences so small that diffusion will not hit them.
LATENT_NOISE = 0.05
CELL = 4  # pixels per latent, in each direction

# Channels 0-2 carry the colours, 3-5 their negatives, 6 and 7 plus and minus one; see `start_as_thumbnail`.
_RESERVED = 8


def build() -> AutoencoderKL:
    """Four channels, because the image-to-video pipeline fixes that number.

    Few norm groups, because a group norm over few channels erases plain areas of colour.
    """
    model = AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=64,
    )
    start_as_thumbnail(model)
    return model.to(memory_format=torch.channels_last)  # a sixth faster on a CPU


@torch.no_grad()
def start_as_thumbnail(model: AutoencoderKL) -> None:
    """Set the weights so that latents begin as the picture's 16x16 thumbnail and decode to large square pixels.

    From random weights the colours alone take a thousand steps to get through; from here training only has to
    find the edges. A colour and its negative, beside plus and minus one, pass the final norm and activation almost
    unchanged: silu(x) - silu(-x) = x, and the norm has a constant to compare with.
    """
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                _pass_through(module.conv_shortcut, slice(0, 1), 1.0)
        elif isinstance(module, Downsample2D):
            _pass_through(module.conv, slice(0, 2), 0.25)
        elif isinstance(module, Upsample2D):
            _pass_through(module.conv, slice(1, 2), 1.0)
        elif isinstance(module, Attention):
            nn.init.zeros_(module.to_out[0].weight)
            nn.init.zeros_(module.to_out[0].bias)
    for half in (model.encoder, model.decoder):
        _colours_in(half.conv_in)
        _colours_out(half.conv_out)
    for plain_conv in (model.quant_conv, model.post_quant_conv):
        nn.init.zeros_(plain_conv.bias)
        nn.init.dirac_(plain_conv.weight)
        plain_conv.weight[4:] = 0
    model.quant_conv.bias[4:] = -4  # a small variance to begin with


def _pass_through(conv: nn.Conv2d, taps: slice, weight: float) -> None:
    """Keep each channel, spread over the taps; the reserved ones exactly, the others with some random mixing."""
    conv.weight.mul_(0.3)
    conv.weight[:_RESERVED] = 0
    nn.init.zeros_(conv.bias)
    for channel in range(min(conv.weight.shape[:2])):
        conv.weight[channel, channel, taps, taps] += weight


def _colours_in(conv: nn.Conv2d) -> None:
    conv.weight[:_RESERVED] = 0
    conv.bias[:_RESERVED] = 0
    for channel in range(3):
        conv.weight[channel, channel, 1, 1] = 1
        conv.weight[3 + channel, channel, 1, 1] = -1
    conv.bias[6], conv.bias[7] = 1, -1


def _colours_out(conv: nn.Conv2d) -> None:
    nn.init.zeros_(conv.bias)
    conv.weight[:3] = 0
    for channel in range(3):
        conv.weight[channel, channel, 1, 1] = 0.7
        conv.weight[channel, 3 + channel, 1, 1] = -0.7


def varied_pictures(count: int, generator: torch.Generator) -> Tensor:
    """One or two shapes in palette or arbitrary colours, so that foreign pictures survive the trip as well."""
    canvas = plain(_colours(count, generator))
    for share in (1.0, 0.2):
        radius = RADII[0] + (RADII[-1] + 2 - RADII[0]) * torch.rand(count, generator=generator)
        # Closer to the edge than captions ever ask for, because things that move get there.
        centre = inside(PIXELS * torch.rand(count, 2, generator=generator), 0.8 * radius)
        shape = torch.randint(len(SHAPES), (count,), generator=generator)
        painted = paint(canvas, shape, Placement(centre, radius), _colours(count, generator))
        present = torch.rand(count, generator=generator) < share
        canvas = torch.where(present[:, None, None, None], painted, canvas)
    return canvas


def _colours(count: int, generator: torch.Generator) -> Tensor:
    table = rgb_table()
    named = table[torch.randint(len(table), (count,), generator=generator)]
    free = 2 * torch.rand(count, 3, generator=generator) - 1
    return torch.where(torch.rand(count, 1, generator=generator) < 0.75, named, free)


def reconstruction_loss(model: AutoencoderKL, pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Restore the pictures, with latents whose first three channels stay the thumbnail.

    Latents that look like small pictures are far easier for the diffusion networks to learn.
    """
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    posterior = model.encode(pictures).latent_dist
    latents = posterior.sample(generator)
    latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
    restored = model.decode(latents).sample
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    thumbnail = functional.mse_loss(posterior.mean[:, :3], functional.avg_pool2d(pictures, CELL))
    return functional.l1_loss(restored, pictures) + functional.mse_loss(restored, pictures) + thumbnail + KL_WEIGHT * kl


def train(work: Path, *, seed: int, steps: int = STEPS) -> AutoencoderKL:
    """Train from nothing, or go on from the checkpoint in `work`; sets the scale that gives latents unit variance."""
    torch.manual_seed(seed)
    model = build()
    run = Run(model, steps=steps, rate=RATE, decay=0.98, checkpoint=work / "autoencoder.pt")
    generator = torch.Generator().manual_seed(seed + run.done)
    for _ in run:
        run.learn(reconstruction_loss(model, varied_pictures(BATCH, generator), generator))
    with torch.no_grad():
        sample = varied_pictures(256, torch.Generator().manual_seed(seed))
        latents = model.encode(sample).latent_dist.mode()
    model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return model


def sharpen(model: AutoencoderKL, work: Path, *, seed: int) -> None:
    """Go on with the decoder alone; the latents stay as they are, so networks trained on them are not affected."""
    for frozen in (model.encoder, model.quant_conv):
        frozen.requires_grad_(requires_grad=False)
    for number, steps in enumerate(DECODER_ROUNDS):
        run = Run(model, steps=steps, rate=RATE, decay=0.99, checkpoint=work / f"decoder-{number}.pt")
        generator = torch.Generator().manual_seed(seed + 1 + 1000 * number + run.done)
        for _ in run:
            run.learn(reconstruction_loss(model, varied_pictures(BATCH, generator), generator))


@torch.no_grad()
def encode(model: AutoencoderKL, pictures: Tensor, batch: int = 64) -> Tensor:
    """Scaled latents, as the diffusion networks see them."""
    parts = [model.encode(part).latent_dist.mode() for part in pictures.split(batch)]
    return torch.cat(parts) * model.config.scaling_factor


@torch.no_grad()
def decode(model: AutoencoderKL, latents: Tensor) -> Tensor:
    return model.decode(latents / model.config.scaling_factor).sample.clamp(-1, 1)
