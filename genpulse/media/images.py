"""Probing pictures with Pillow."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from genpulse.errors import MediaRejected
from genpulse.media.limits import MediaLimits
from genpulse.media.sniff import StillFormat
from genpulse.schemas.assets import MediaInfo
from genpulse.schemas.states import MediaKind

# Up to twice its pixel limit Pillow only warns. For the whole process: catch_warnings is not safe in threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

# Packed text beside a picture: room for the workflow that made it, in all a sixteenth of what Pillow would unpack.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20

_BOMB = (Image.DecompressionBombWarning, Image.DecompressionBombError)
#: What Pillow's decoders raise on damaged content; there is no common base.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, TypeError, struct.error, zlib.error)
_SIDEWAYS = frozenset({5, 6, 7, 8})


def stated_pixels(path: Path, form: StillFormat) -> int:
    """How many pixels the picture says to have; none of a file that cannot even be opened."""
    try:
        with Image.open(path, formats=(form.value,)) as image:
            return image.width * image.height
    except (*_BOMB, *_BROKEN):
        return 0


def probe_image(path: Path, form: StillFormat, limits: MediaLimits) -> MediaInfo:
    """Decode the whole picture, after its stated size was found acceptable."""
    try:
        # One named decoder: the others are never tried on untrusted content.
        with Image.open(path, formats=(form.value,)) as image:
            limits.check_pixels(*image.size)
            _refuse_animation(image, form)
            image.load()
            width, height = _upright_size(image)
    except _BOMB as error:
        raise MediaRejected(f"the picture unpacks to far too many pixels ({error}); scale it down") from error
    except _BROKEN as error:
        # Where nothing can be made of it, Pillow tells the path of the file instead of a reason.
        why = "it cannot be read" if isinstance(error, UnidentifiedImageError) else error
        raise MediaRejected(
            f"the {form} file is damaged or cut off ({why}); save it again and send the whole file"
        ) from error
    return MediaInfo(
        kind=MediaKind.IMAGE,
        media_type=Image.MIME[form],
        width=width,
        height=height,
        duration=None,
        fps=None,
    )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as a viewer sees them, after the EXIF orientation."""
    sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    return (image.height, image.width) if sideways else image.size


def _refuse_animation(image: Image.Image, form: StillFormat) -> None:
    # A JPEG with several pictures is a camera's preview beside the photo, no animation.
    if form is not StillFormat.JPEG and getattr(image, "is_animated", False):
        raise MediaRejected(f"an animated {form} is neither picture nor video here; send one frame, or an MP4 or WebM")
