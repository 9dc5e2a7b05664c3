"""Probing video and sound with PyAV, and taking a still from a video."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from genpulse.errors import MediaRejected
from genpulse.media.boxes import check_tables
from genpulse.media.limits import MediaLimits
from genpulse.media.sniff import StillFormat, StreamFormat, sniff
from genpulse.schemas.assets import MediaInfo
from genpulse.schemas.catalog import Size
from genpulse.schemas.states import MediaKind

_VIDEO_TYPES = {StreamFormat.MOV: "video/mp4", StreamFormat.WEBM: "video/webm"}
_QUICKTIME = "video/quicktime"
_AUDIO_TYPES = {
    StreamFormat.MOV: "audio/mp4",
    StreamFormat.WEBM: "audio/webm",
    StreamFormat.WAV: "audio/wav",
    StreamFormat.MP3: "audio/mpeg",
    StreamFormat.OGG: "audio/ogg",
    StreamFormat.FLAC: "audio/flac",
}
#: Every frame is decoded up to this many pixels in all, some seconds of work; from there on only the key frames are.
_FULL_DECODE_PIXELS = 2**30
#: No file that is worth having takes longer to check, even on a slow machine.
_PATIENCE_SECONDS = 60.0
#: A WebM may state its length this much longer than its last packet shows.
_SLACK_SECONDS = 0.25
_ANY_PIXELS = 2**31 - 1
_POSTER_SIDE = 1280
_POSTER_AT_SECONDS = 0.5
_POSTER_QUALITY = 85


@dataclass
class _Span:
    """The packets seen and the time they cover, in seconds."""

    packets: int = 0
    start: float = math.inf
    end: float = -math.inf

    def add(self, packet: Packet[Stream]) -> None:
        if not packet.size or packet.pts is None or packet.time_base is None:
            return
        self.packets += 1
        self.start = min(self.start, float(packet.pts * packet.time_base))
        self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    @property
    def seconds(self) -> float:
        return max(self.end - self.start, 0.0) if self.packets else 0.0


def probe_stream(path: Path, form: StreamFormat, limits: MediaLimits) -> MediaInfo:
    """Read every packet and decode the content, so that a damaged or cut off file is found here."""
    if form is StreamFormat.MOV:
        check_tables(path, limits)
    with _opened(path, form, max_pixels=limits.max_pixels) as container:
        picture = _moving_picture(container)
        if picture is not None:
            return _probe_video(container, picture, form, limits)
        if container.streams.audio:
            return _probe_audio(container, container.streams.audio[0], form, limits)
        raise MediaRejected("the file holds neither video nor sound; send the whole file")


def poster(video: Path, to: Path) -> None:
    """Write a JPEG still from the beginning of the video, upright, its longer side at most 1280.

    Not of the very first frame, because that is often black.
    """
    form = sniff(video)
    if isinstance(form, StillFormat):
        raise MediaRejected("a poster is taken from a video; this is a picture")
    with _opened(video, form) as container:
        stream = _moving_picture(container)
        if stream is None:
            raise MediaRejected("a poster is taken from a video; this is sound only")
        frame = _early_frame(container, stream)
        image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV leaves it unannotated
        image.thumbnail((_POSTER_SIDE, _POSTER_SIDE))
        image.rotate(frame.rotation, expand=True).save(to, format="JPEG", quality=_POSTER_QUALITY)


@contextmanager
def _opened(path: Path, form: StreamFormat, *, max_pixels: int = _ANY_PIXELS) -> Iterator[InputContainer]:
    """Open with this one demuxer; every complaint of FFmpeg within the block becomes MediaRejected."""
    try:
        # `file:` keeps FFmpeg from reading a protocol into the name.
        # Old files carry titles in other encodings than UTF-8; what they say is of no interest here.
        # To tell what is in the file, it decodes a first frame already.
        with av.open(
            f"file:{path.absolute()}", format=form.value, metadata_errors="replace", options=_bounded(max_pixels)
        ) as container:
            yield container
    except av.FFmpegError as error:
        raise _damaged(error.strerror or "unreadable") from error


def _bounded(max_pixels: int) -> dict[str, str]:
    """The decoder itself refuses larger frames before it takes memory; twice, because it counts its own padding."""
    return {"max_pixels": str(min(2 * max_pixels, _ANY_PIXELS))}


def _damaged(why: str) -> MediaRejected:
    return MediaRejected(f"the file is damaged or cut off ({why}); save it again and send the whole file")


def _moving_picture(container: InputContainer) -> VideoStream | None:
    """The first video stream that is no cover picture."""
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), None)


def _packets(container: InputContainer, limits: MediaLimits) -> Iterator[Packet[Stream]]:
    """Yield all packets of all streams, each of them whole; refuse what is cut off, too long or takes too long."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    whole = _Span()
    for packet in container.demux():
        if packet.is_corrupt:
            raise _damaged("a packet is incomplete")
        if time.monotonic() > give_up:
            raise MediaRejected(f"the file could not be decoded within {_PATIENCE_SECONDS:g} s; send a simpler one")
        whole.add(packet)
        limits.check_seconds(whole.seconds)
        yield packet
    _check_end(container, whole)


def _check_readable(container: InputContainer, stream: VideoStream | AudioStream) -> None:
    """Refuse an unknown codec, and a file cut off between two packets: its table of contents points behind its end."""
    if stream.codec_context is None:
        raise MediaRejected("the file uses a codec that is not supported; send H.264, VP9 or AV1 with AAC or Opus")
    if any(entry.pos + entry.size > container.size for entry in stream.index_entries):
        raise _damaged("it ends before its last frame")


def _check_end(container: InputContainer, whole: _Span) -> None:
    """A WebM keeps no table of all packets, but states its length; other containers leave too much room for that."""
    stated = (container.duration or 0) / av.time_base
    if container.format.name.startswith("matroska") and whole.seconds < stated - _SLACK_SECONDS:
        raise _damaged(f"it says to run {stated:g} s and ends after {whole.seconds:g} s")


def _probe_video(container: InputContainer, stream: VideoStream, form: StreamFormat, limits: MediaLimits) -> MediaInfo:
    if form not in _VIDEO_TYPES:
        raise MediaRejected(f"{form} with moving pictures is not supported; send MP4, WebM or MOV")
    _check_readable(container, stream)
    limits.check_pixels(stream.width, stream.height)
    stream.codec_context.options = _bounded(limits.max_pixels)
    shown, size, pixels = _Span(), Size(0, 0), 0
    for packet in _packets(container, limits):
        if packet.stream.index != stream.index:
            continue
        shown.add(packet)
        limits.check_frames(shown.packets)
        for frame in stream.decode(packet):
            # The frames decide: what the header says of their size need not be true, and may change midway.
            limits.check_pixels(frame.width, frame.height)
            size = size if pixels else _upright_size(frame)
            pixels += frame.width * frame.height
        if pixels > _FULL_DECODE_PIXELS:
            stream.codec_context.skip_frame = "NONKEY"
    if not pixels:
        raise _damaged("no frame can be decoded")
    fps = _frame_rate(stream, shown)
    return MediaInfo(
        kind=MediaKind.VIDEO,
        media_type=_QUICKTIME if _is_quicktime(container, form) else _VIDEO_TYPES[form],
        width=size.width,
        height=size.height,
        duration=round(shown.seconds or 1 / fps, 3),
        fps=round(fps, 3),
    )


def _probe_audio(container: InputContainer, stream: AudioStream, form: StreamFormat, limits: MediaLimits) -> MediaInfo:
    _check_readable(container, stream)
    seconds = 0.0
    for packet in _packets(container, limits):
        if packet.stream.index != stream.index:
            continue
        for frame in stream.decode(packet):
            seconds += frame.samples / frame.sample_rate
        limits.check_seconds(seconds)
    if not seconds:
        raise _damaged("no sound can be decoded")
    return MediaInfo(
        kind=MediaKind.AUDIO,
        media_type=_AUDIO_TYPES[form],
        width=None,
        height=None,
        duration=round(seconds, 3),
        fps=None,
    )


def _upright_size(frame: VideoFrame) -> Size:
    return Size(frame.height, frame.width) if frame.rotation % 180 else Size(frame.width, frame.height)


def _is_quicktime(container: InputContainer, form: StreamFormat) -> bool:
    """Files without a brand are from before MP4."""
    return form is StreamFormat.MOV and container.metadata.get("major_brand", "qt  ") == "qt  "


def _frame_rate(stream: VideoStream, shown: _Span) -> float:
    """The stated rate where the frames bear it out, because it is exact; else what was counted."""
    stated = float(stream.average_rate or 0)
    if shown.seconds and abs(stated * shown.seconds - shown.packets) > 1:
        return shown.packets / shown.seconds
    return stated or 1.0


def _early_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    frame = None
    for frame in container.decode(stream):
        if (frame.time or 0) - float((stream.start_time or 0) * (stream.time_base or 0)) >= _POSTER_AT_SECONDS:
            break
    if frame is None:
        raise _damaged("no frame can be decoded")
    return frame
