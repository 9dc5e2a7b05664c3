"""Forms with a picture, as the Open AI platform takes them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from urllib.parse import parse_qs

from PIL import Image, UnidentifiedImageError

EMPTY, FORMAT, SIZE = 216200, 216201, 216202
_USUAL = (1024, 1024)


class WrongForm(Exception):
    """With the code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Limits:
    """Of the picture; bytes are counted in base64."""

    bytes: int
    least_side: int
    most_side: int
    most_aspect: float


LARGER = Limits(4 * 2**20, 1, 2000, 1000)
CLEARER = Limits(10 * 2**20, 10, 5000, 4)


def read_form(body: bytes, limits: Limits) -> tuple[dict[str, str], tuple[int, int]]:
    """The form, and the size of its picture; of one behind a URL the size is not known."""
    form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
    if "image" in form:
        return form, _size(form["image"], limits)
    if form.get("url", "").startswith(("http://", "https://")):
        return form, _USUAL
    raise WrongForm(EMPTY)


def _size(text: str, limits: Limits) -> tuple[int, int]:
    if len(text) > limits.bytes:
        raise WrongForm(SIZE)
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
            size = picture.size
    except (ValueError, UnidentifiedImageError):
        raise WrongForm(FORMAT) from None
    least, most = sorted(size)
    if least < limits.least_side or most > limits.most_side or most > limits.most_aspect * least:
        raise WrongForm(SIZE)
    return size
