"""Rectified flow: the objective both pipelines are trained with, and the scheduler that samples from it."""

import random

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

TIMESTEPS = 1000


def scheduler() -> DPMSolverMultistepScheduler:
    """A second order solver of the same straight paths; the Stable Diffusion pipelines accept it as it is."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=TIMESTEPS, prediction_type="flow_prediction", use_flow_sigmas=True, steps_offset=1
    )


def noise_levels(count: int, generator: torch.Generator, *, lean: float = 0.3, spread: float = 1.2) -> Tensor:
    """Logit-normal shares of noise, leaning a little to the noisy side, where place and colour are decided."""
    return torch.sigmoid(lean + spread * torch.randn(count, generator=generator))


def mix(clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """The point at `level` on the straight path from the clean latents to the noise."""
    level = level.reshape(-1, *[1] * (clean.dim() - 1))
    return (1 - level) * clean + level * noise


def without_some(captions: list[str], chance: random.Random, share: float = 0.1) -> list[str]:
    """Empty some captions, which is what makes guidance possible."""
    return ["" if chance.random() < share else caption for caption in captions]
