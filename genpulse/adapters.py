"""Making an image acceptable to the model that takes it next: its size, shape, format, weight and encoding.

The size is chosen by `fitting_size` from facts alone, so that a request can be judged before any file is there. What
happens to the picture is chosen to lose the least of it:

- It is scaled, and where its shape must change, cropped around the centre as long as at most a fifth of it is lost;
  beyond that it stays whole and is padded in the colour of its own border.
- A format that the model does not take becomes one that keeps transparency where there is any; transparent parts
  become white only where nothing but JPEG will do.
- A file over the model's limit is compressed harder step by step, and made smaller only after that.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from PIL import ExifTags, Image, ImageOps

from genpulse.errors import InvalidInput, InvariantBroken, MediaRejected
from genpulse.schemas.assets import MediaInfo
from genpulse.schemas.catalog import Encoding, ImageRules, Size

_PNG, _JPEG = "image/png", "image/jpeg"
_FORMATS = {_PNG: "PNG", _JPEG: "JPEG", "image/webp": "WEBP"}
_READABLE = (*_FORMATS.values(), "GIF")
_MOST_CROPPED = 0.2
#: A change of shape counts this much more than one of size: it costs content, not only detail.
_SHAPE_WEIGHT = 2.0
_RING = 16
_QUALITIES = (95, 90, 80, 65)
_SHRINKS = (0.75, 0.5, 0.35, 0.25)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An image that was made to fit; `message` says what was changed."""

    path: Path
    media_type: str
    size: Size
    bytes: int
    message: str


@dataclass(frozen=True, kw_only=True)
class _Given:
    """The image as it came, upright and in RGB, or in RGBA where some of it is transparent."""

    picture: Image.Image
    media_type: str
    bytes: int
    turned: bool

    @property
    def size(self) -> Size:
        return Size(*self.picture.size)


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """An image as the provider wants it: the asset's id, a link, or a `data:` URL."""

    encoding: Encoding
    value: str


def needs_fitting(info: MediaInfo, size_bytes: int, rules: ImageRules, *, target: Size | None = None) -> str | None:
    """Say why the image has to be changed, or None where it is accepted as it is.

    `target` is the size that the next step works in, where that is known.
    """
    size = Size(info.width or 0, info.height or 0)
    assert all(size), "an image has a width and a height"
    wanted = fitting_size(size, rules, target=target)
    if wanted != size:
        return f"its size is {_text(size)} and {_text(wanted)} is needed"
    if info.media_type not in rules.media_types:
        return f"its format is {info.media_type} and {' or '.join(rules.media_types)} is needed"
    if size_bytes > rules.max_bytes:
        return f"it has {size_bytes:,} bytes and at most {rules.max_bytes:,} are accepted"
    return None


def fitting_size(size: Size, rules: ImageRules, *, target: Size | None = None) -> Size:
    """Return the size that the rules accept and that is nearest to `target`, or else to the image's own size."""
    wanted = target or size
    if not rules.sizes and _allows(wanted, rules):
        return wanted
    candidates = rules.sizes or tuple(_allowed_sizes(wanted, rules))
    if not candidates:
        raise InvariantBroken(f"the model's image rules leave no size: {rules!r}")
    return min(candidates, key=lambda candidate: _distance(wanted, candidate))


def fit_image(source: Path, rules: ImageRules, to: Path, *, target: Size | None = None) -> Fitted | None:
    """Write the image to `to` as the rules want it; return None and write nothing where it already fits.

    Besides what `needs_fitting` can tell from facts, a photo's EXIF orientation is applied: models ignore it.
    """
    given = _read(source)
    wanted = fitting_size(given.size, rules, target=target)
    kept = wanted == given.size and given.media_type in rules.media_types and given.bytes <= rules.max_bytes
    if kept and not given.turned:
        return None
    types = _written_types(given, rules)
    for size in _smaller_sizes(wanted, rules, fixed=target is not None):
        picture = _reshape(given.picture, size)
        for media_type, quality in _attempts(types):
            content = _encode(picture, media_type, quality)
            if len(content) <= rules.max_bytes:
                to.write_bytes(content)
                return Fitted(
                    path=to,
                    media_type=media_type,
                    size=size,
                    bytes=len(content),
                    message=_changes(given, size, media_type, len(content), rules),
                )
    raise MediaRejected(
        f"the image cannot be brought under the {rules.max_bytes:,} bytes that the model accepts; send a simpler one",
        max_bytes=rules.max_bytes,
    )


def encode_image(
    source: Path, rules: ImageRules, *, media_type: str, asset_id: str | None, link: Callable[[], str] | None
) -> EncodedImage:
    """Return the image in the first of the model's encodings that is possible here.

    `asset_id` is absent where the image is no stored asset, `link` where providers cannot reach this installation.
    """
    for encoding in rules.encodings:
        if encoding == "asset" and asset_id:
            return EncodedImage(encoding=encoding, value=asset_id)
        if encoding == "url" and link:
            return EncodedImage(encoding=encoding, value=link())
        if encoding == "base64":
            body = base64.b64encode(source.read_bytes()).decode("ascii")
            return EncodedImage(encoding=encoding, value=f"data:{media_type};base64,{body}")
    raise InvalidInput(
        f"the model takes images only as {' or '.join(rules.encodings)}, which this installation cannot give; set its "
        "public address"
    )


# ------------------------------------------------------------------------------------------------------------ sizes


def _allows(size: Size, rules: ImageRules) -> bool:
    in_range = all(rules.min_side <= side <= rules.max_side and side % rules.multiple_of == 0 for side in size)
    return (
        in_range
        and size.width * size.height <= rules.max_pixels
        and rules.min_aspect <= size.width / size.height <= rules.max_aspect
    )


def _allowed_sizes(wanted: Size, rules: ImageRules) -> Iterator[Size]:
    """For each width that the rules allow, the two heights next to the wanted shape."""
    step = rules.multiple_of
    low, high = -(-rules.min_side // step) * step, rules.max_side // step * step
    aspect = min(max(wanted.width / wanted.height, rules.min_aspect), rules.max_aspect)
    for width in range(low, high + 1, step):
        below = int(width / aspect) // step * step
        for height in (below, below + step):
            size = Size(width, min(max(height, low), high))
            if _allows(size, rules):
                yield size


def _distance(wanted: Size, size: Size) -> float:
    shape = math.log(size.width * wanted.height / (size.height * wanted.width))
    return _SHAPE_WEIGHT * abs(shape) + abs(math.log(_scale(wanted, size)))


def _scale(size: Size, to: Size) -> float:
    """How much larger the picture becomes when it is cropped or padded to `to`."""
    scales = to.width / size.width, to.height / size.height
    return max(scales) if _is_cropped(size, to) else min(scales)


def _cropped(size: Size, to: Size) -> float:
    """The share of the picture that is lost when it fills `to`."""
    ratio = size.width * to.height / (size.height * to.width)
    return 1 - min(ratio, 1 / ratio)


def _is_cropped(size: Size, to: Size) -> bool:
    return _cropped(size, to) <= _MOST_CROPPED


def _smaller_sizes(size: Size, rules: ImageRules, *, fixed: bool) -> Iterator[Size]:
    """The size itself and, where the next step leaves it open, ever smaller ones."""
    yield size
    if fixed:
        return
    for shrink in _SHRINKS:
        smaller = fitting_size(Size(max(1, round(size.width * shrink)), max(1, round(size.height * shrink))), rules)
        if smaller.width < size.width:
            yield smaller


# --------------------------------------------------------------------------------------------------------- pictures


def _read(source: Path) -> _Given:
    with Image.open(source, formats=_READABLE) as original:
        # A camera's JPEG with a preview beside the photo has a name of its own, and is a JPEG to everyone else.
        media_type = _JPEG if original.format == "MPO" else Image.MIME[original.format or ""]
        turned = original.getexif().get(ExifTags.Base.Orientation, 1) != 1
        picture = _plain(ImageOps.exif_transpose(original))
    return _Given(picture=picture, media_type=media_type, bytes=source.stat().st_size, turned=turned)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits of grey; Pillow's own conversion would clip instead of scaling.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        opaque_pixels = image.getchannel("A").histogram()[255]
        if opaque_pixels < image.width * image.height:
            return image
    return image.convert("RGB")


def _reshape(picture: Image.Image, size: Size) -> Image.Image:
    if picture.size == size:
        return picture
    if _is_cropped(Size(*picture.size), size):
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=_border_colour(picture))


def _border_colour(picture: Image.Image) -> tuple[int, ...]:
    """The middle colour along the edges: bars in the colour of a plain background cannot be seen at all."""
    small = picture.resize((_RING, _RING), Image.Resampling.BOX)
    return tuple(median_low(_ring(channel.tobytes())) for channel in small.split())


def _ring(pixels: bytes) -> bytes:
    return pixels[:_RING] + pixels[-_RING:] + pixels[::_RING] + pixels[_RING - 1 :: _RING]


def _written_types(given: _Given, rules: ImageRules) -> list[str]:
    """The formats that may be written, the best one first: that of the image, where nothing speaks against it."""
    types = [media_type for media_type in rules.media_types if media_type in _FORMATS]
    types.sort(key=lambda media_type: media_type != given.media_type)
    if given.picture.mode == "RGBA":
        types.sort(key=lambda media_type: media_type == _JPEG)
    if not types:
        raise InvariantBroken(f"the model's image rules name no format that can be written: {rules!r}")
    return types


def _attempts(types: list[str]) -> Iterator[tuple[str, int]]:
    """What to try until the bytes are few enough: without loss where that is the best format, then ever harder."""
    if types[0] == _PNG:
        yield _PNG, _QUALITIES[0]
    lossy = next((media_type for media_type in types if media_type != _PNG), None)
    if lossy:
        yield from ((lossy, quality) for quality in _QUALITIES)


def _encode(picture: Image.Image, media_type: str, quality: int) -> bytes:
    if media_type == _JPEG and picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format=_FORMATS[media_type], quality=quality)  # PNG knows no quality and ignores it
    return buffer.getvalue()


def _changes(given: _Given, size: Size, media_type: str, size_bytes: int, rules: ImageRules) -> str:
    """What was changed, in one sentence."""
    changes = ["turned upright"] if given.turned else []
    if size != given.size:
        changes.append(f"resized from {_text(given.size)} to {_text(size)}{_shape_change(given.size, size)}")
    if media_type != given.media_type:
        changes.append(f"converted from {given.media_type} to {media_type}")
    if media_type == _JPEG and given.picture.mode == "RGBA":
        changes.append("put on white")
    if given.bytes > rules.max_bytes:
        changes.append(f"compressed from {given.bytes:,} to {size_bytes:,} bytes")
    return f"the image was {', '.join(changes)}"


def _shape_change(size: Size, to: Size) -> str:
    if not _is_cropped(size, to):
        return " and padded"
    share = f"{_cropped(size, to):.0%}"
    return f" and cropped by {share}" if share != "0%" else ""


def _text(size: Size) -> str:
    return f"{size.width}x{size.height}"
