"""Masks as OpenAI takes them: a PNG of the picture's size that is transparent where the picture may change."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps


def transparent_where_white(mask: Path, picture: Path) -> bytes:
    """Turns ours, white where the picture may change, into theirs."""
    with Image.open(picture) as image:
        size = ImageOps.exif_transpose(image).size
    with Image.open(mask) as drawn:
        white = ImageOps.exif_transpose(drawn).convert("L").resize(size)
    kept = Image.new("RGBA", size, "black")
    kept.putalpha(ImageOps.invert(white))
    made = io.BytesIO()
    kept.save(made, "PNG")
    return made.getvalue()
