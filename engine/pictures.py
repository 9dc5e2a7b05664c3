"""Reading and writing still images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from genpulse.errors import InvalidInput
from genpulse.schemas.catalog import Size

_DAMAGED = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def size_of(path: Path) -> Size:
    """Return the size as seen, reading the header only."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
            return Size(image.height, image.width) if turned else Size(image.width, image.height)
    except _DAMAGED as error:
        raise _unreadable(error) from error


_ORIENTATION = 0x0112
_FIRST_TURNED = 5  # EXIF orientations 5 to 8 exchange width and height


def read(path: Path) -> Image.Image:
    """Decode as RGB, or as RGBA where something shows through, the right way up."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except _DAMAGED as error:
        raise _unreadable(error) from error


def flatten(image: Image.Image) -> Image.Image:
    """Put what shows through on white; plain conversion would uncover whatever colour lies beneath."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG of the pixels and nothing else, so that equal pictures are equal files."""
    bare = image.copy()
    bare.info.clear()
    bare.save(path, "PNG")


def _unreadable(error: Exception) -> InvalidInput:
    return InvalidInput(f"image cannot be read: {error}. Send a PNG, JPEG or WebP.", field="image")
