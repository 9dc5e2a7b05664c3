"""Which decoder a file's first bytes call for, and a name for what no decoder here takes.

The accepted containers are told by their own exact signatures, because the answer decides which decoder reads
untrusted bytes, and no decoder may be left to guess: FFmpeg would follow a playlist to other files. The wide but fuzzy
table of puremagic only names what is refused.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import puremagic

from genpulse.errors import MediaRejected

_HEAD_BYTES = 4096
_ADVICE = "send PNG, JPEG, WebP or GIF, MP4, WebM or MOV, WAV, MP3, OGG, FLAC or M4A"


class StillFormat(StrEnum):
    """Pictures, by the name that Pillow gives to the format."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    GIF = "GIF"


class StreamFormat(StrEnum):
    """Containers of video and sound, by the name of FFmpeg's demuxer."""

    MOV = "mov"
    WEBM = "matroska"
    WAV = "wav"
    MP3 = "mp3"
    OGG = "ogg"
    FLAC = "flac"


_MAGIC: tuple[tuple[bytes, StillFormat | StreamFormat], ...] = (
    (b"\x89PNG\r\n\x1a\n", StillFormat.PNG),
    (b"\xff\xd8\xff", StillFormat.JPEG),
    (b"GIF87a", StillFormat.GIF),
    (b"GIF89a", StillFormat.GIF),
    (b"OggS", StreamFormat.OGG),
    (b"fLaC", StreamFormat.FLAC),
    (b"ID3", StreamFormat.MP3),
)
_RIFF: dict[bytes, StillFormat | StreamFormat] = {b"WEBP": StillFormat.WEBP, b"WAVE": StreamFormat.WAV}
_EBML = b"\x1aE\xdf\xa3"
#: The first box of an MP4 or MOV file; old MOV files have no `ftyp`.
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_STILL_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def sniff(path: Path) -> StillFormat | StreamFormat:
    """Return the format that the first bytes announce; raise MediaRejected, naming what it seems to be instead."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    form = _announced(head)
    if form is None:
        raise MediaRejected(_refusal(head))
    return form


def _announced(head: bytes) -> StillFormat | StreamFormat | None:
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(_EBML):
        return StreamFormat.WEBM if b"webm" in head[:64] else None
    if head[4:8] in _FIRST_BOXES:
        return StreamFormat.MOV if head[8:12] not in _STILL_BRANDS else None
    return StreamFormat.MP3 if _is_mpeg_layer_3(head) else None


def _is_mpeg_layer_3(head: bytes) -> bool:
    """Whether an MP3 frame starts here: eleven set bits, then the version, then layer III."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _refusal(head: bytes) -> str:
    if b"<svg" in head.lower():
        return "SVG is a document that can hold scripts, not a picture; export it as PNG"
    if head.startswith(_EBML):
        return "Matroska is not supported; repackage it as WebM or MP4"
    try:
        name = puremagic.from_string(head, mime=True)
    except puremagic.PureError:
        name = ""
    seems = f"the content looks like {name}, which is not supported" if name else "the content is no known media file"
    return f"{seems}; {_ADVICE}"
