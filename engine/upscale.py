"""More pixels, painted rather than stretched: pictures and clips of any size, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine import pictures, video
from engine.plans import ClipUpscalePlan, PictureUpscalePlan
from engine.progress import counted, part
from genpulse.schemas.catalog import Size
from genpulse.schemas.engine import OnProgress

if TYPE_CHECKING:
    import av
    from torch import nn

Pixels: TypeAlias = NDArray[np.uint8]
"""Height x width x RGB."""

FACTOR = 4
#: The side of a tile.
TILE = 256
#: What a tile sees around itself. A pixel depends on 18 around it, so the joints cannot be seen.
_CONTEXT = 24
_PAINTING = 0.9


def upscale_picture(network: nn.Module, plan: PictureUpscalePlan, target: Path, on_progress: OnProgress) -> None:
    """Write the picture at the planned size; what was transparent stays so."""
    picture = pictures.read(plan.source)
    made = enlarge(network, picture.convert("RGB"), plan.size, part(on_progress, 0, _PAINTING))
    if picture.mode == "RGBA":
        made.putalpha(picture.getchannel("A").resize(plan.size, Image.Resampling.LANCZOS))
    pictures.save(made, target)


def upscale_clip(network: nn.Module, plan: ClipUpscalePlan, target: Path, on_progress: OnProgress) -> None:
    """Write the clip at the planned size, with the same frames, times and sound."""

    def enlarged() -> Iterator[av.VideoFrame]:
        for index, frame in enumerate(video.decode(plan.source)):
            this_frame = part(on_progress, index / plan.frames, (index + 1) / plan.frames)
            made = enlarge(network, frame.to_image(), plan.size, this_frame)
            yield video.at(video.frame_of(made), frame.pts, frame.time_base)

    video.encode(target, enlarged(), fps=plan.fps, sound=plan.source)


def enlarge(network: nn.Module, picture: Image.Image, size: Size, on_progress: OnProgress) -> Image.Image:
    """Return an RGB picture of exactly `size`: painted at four times the size, then shrunk to fit."""
    large = paint(network, np.array(picture), on_progress)
    return Image.fromarray(large).resize(size, Image.Resampling.LANCZOS)


def paint(network: nn.Module, pixels: Pixels, on_progress: OnProgress, tile: int = TILE) -> Pixels:
    """Return the picture at `FACTOR` times the size, made tile by tile, which bounds the memory needed."""
    height, width, _ = pixels.shape
    large = np.empty((height * FACTOR, width * FACTOR, 3), np.uint8)
    corners = [(top, left) for top in range(0, height, tile) for left in range(0, width, tile)]
    for top, left in counted(corners, len(corners), on_progress):
        rows, seen_rows = _window(top, height, tile)
        columns, seen_columns = _window(left, width, tile)
        made = _run(network, pixels[seen_rows, seen_columns])
        large[_times(rows), _times(columns)] = made[
            _times(_within(rows, seen_rows)), _times(_within(columns, seen_columns))
        ]
    return large


def _window(start: int, length: int, tile: int) -> tuple[slice, slice]:
    """Return a tile's own stretch of a side, and the stretch that it sees."""
    end = min(start + tile, length)
    return slice(start, end), slice(max(0, start - _CONTEXT), min(length, end + _CONTEXT))


def _within(inner: slice, outer: slice) -> slice:
    return slice(inner.start - outer.start, inner.stop - outer.start)


def _times(stretch: slice) -> slice:
    return slice(stretch.start * FACTOR, stretch.stop * FACTOR)


def _run(network: nn.Module, pixels: Pixels) -> Pixels:
    import torch

    weight = next(network.parameters())
    batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(weight.device, weight.dtype) / 255
    with torch.inference_mode():
        made = network(batch.contiguous(memory_format=torch.channels_last))
    shades = made[0].permute(1, 2, 0).float().mul(255).round().byte()
    numbers: Pixels = shades.cpu().numpy()
    return numbers
