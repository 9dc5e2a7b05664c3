"""Masks as clouds take them: a PNG of the picture's own size, made of ours, which is white where it may change."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps


def transparent_where_white(mask: Path, picture: Path) -> bytes:
    """As OpenAI takes it: transparent where the picture may change."""
    white = _white(mask, picture)
    kept = Image.new("RGBA", white.size, "black")
    kept.putalpha(ImageOps.invert(white))
    return _png(kept)


def white_on_black(mask: Path, picture: Path) -> bytes:
    """As most others do: in grey, of the picture's size."""
    return _png(_white(mask, picture))


def _white(mask: Path, picture: Path) -> Image.Image:
    with Image.open(picture) as image:
        size = ImageOps.exif_transpose(image).size
    with Image.open(mask) as drawn:
        return ImageOps.exif_transpose(drawn).convert("L").resize(size)


def _png(image: Image.Image) -> bytes:
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()
