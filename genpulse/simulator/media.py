"""Real, tiny, reproducible files: what the simulated models make."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image, ImageDraw

_SIDE, _SECONDS = 256, 1.0
"""Larger and longer wishes are made this small, unless the exact size is asked for."""

_FPS, _RATE = 8, 24_000


class Format(StrEnum):
    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"
    MP4 = "mp4"
    WAV = "wav"
    MP3 = "mp3"

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self]

    @property
    def is_image(self) -> bool:
        return self.content_type.startswith("image/")


_CONTENT_TYPES = {
    Format.PNG: "image/png",
    Format.JPEG: "image/jpeg",
    Format.WEBP: "image/webp",
    Format.MP4: "video/mp4",
    Format.WAV: "audio/wav",
    Format.MP3: "audio/mpeg",
}


_VIDEO_WORDS = (
    "video", "veo", "kling", "wan", "hailuo", "seedance", "luma", "ray-", "sora", "pixverse", "vidu", "runway", "h3-",
)  # fmt: skip
_SOUND_WORDS = ("tts", "speech", "audio", "music", "voice")


def usual_format(model: str) -> Format | None:
    """What a model of this name makes where a cloud hosts everybody's models; None: an image in any format."""
    if any(word in model for word in _SOUND_WORDS):
        return Format.WAV
    return Format.MP4 if any(word in model for word in _VIDEO_WORDS) else None


@dataclass(frozen=True)
class Media:
    """A file to make. What does not apply to its format is ignored; `variant` tells the files of one job apart."""

    format: Format
    width: int = _SIDE
    height: int = _SIDE
    seconds: float = _SECONDS
    variant: int = 0

    def small(self) -> Media:
        """The same shape, quick to make and to send."""
        scale = min(1.0, _SIDE / max(self.width, self.height))
        return replace(
            self,
            width=max(16, round(self.width * scale)),
            height=max(16, round(self.height * scale)),
            seconds=min(self.seconds, _SECONDS),
        )


@lru_cache(maxsize=256)
def render(media: Media) -> bytes:
    """The file's bytes, made once per process."""
    match media.format:
        case Format.PNG | Format.JPEG | Format.WEBP:
            return _image(media)
        case Format.MP4:
            return _video(media)
        case Format.WAV:
            return _audio(media, "pcm_s16le", "wav")
        case Format.MP3:
            return _audio(media, "libmp3lame", "mp3")


def _picture(media: Media, moment: float = 0.0) -> Image.Image:
    """A disc that moves to the right, on a colour of its variant."""
    picture = Image.new("RGB", (media.width, media.height), f"hsl({media.variant * 67 % 360}, 45%, 40%)")
    size = min(picture.size) / 3
    left, top = moment * (media.width - size), (media.height - size) / 2
    ImageDraw.Draw(picture).ellipse((left, top, left + size, top + size), fill="white")
    return picture


def _image(media: Media) -> bytes:
    buffer = io.BytesIO()
    _picture(media).save(buffer, format={Format.JPEG: "JPEG"}.get(media.format, media.format.upper()))
    return buffer.getvalue()


def _video(media: Media) -> bytes:
    even = replace(media, width=media.width // 2 * 2, height=media.height // 2 * 2)  # as 4:2:0 needs
    frames = max(1, round(media.seconds * _FPS))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast", "threads": "1"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = even.width, even.height, "yuv420p"
        for number in range(frames):
            pixels = _picture(even, number / frames).convert("RGBA").tobytes()
            container.mux(stream.encode(av.VideoFrame.from_bytes(pixels, even.width, even.height)))
        container.mux(stream.encode())
    return buffer.getvalue()


def _audio(media: Media, codec: str, form: str) -> bytes:
    samples = max(1, round(media.seconds * _RATE))
    frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
    pitch = 2 * math.pi * (330 + 55 * media.variant) / _RATE
    frame.planes[0].update(struct.pack(f"<{samples}h", *(round(9000 * math.sin(pitch * i)) for i in range(samples))))
    frame.rate = _RATE
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=_RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
