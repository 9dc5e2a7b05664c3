"""Reading and writing video files, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from genpulse.errors import InvalidInput
from genpulse.schemas.catalog import Size

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer
    from PIL import Image

#: Visually lossless, and fast enough that the model remains the slow part. Without `mbtree=0` the same small pictures
#: come out differently one time in ten: its assembly reads beyond their edge.
_ENCODER = {"crf": "18", "preset": "veryfast", "x264-params": "mbtree=0"}
#: No dates and no version strings: equal frames give equal bytes. The index goes first, so that playing starts at once.
_CONTAINER = {"fflags": "+bitexact", "movflags": "+faststart"}
#: Sound that MP4 may carry as it is; anything else is encoded anew.
_COPIED_SOUND = frozenset({"aac", "mp3"})
_BT709 = 1


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a video file says about itself; `frames` is an estimate where the container does not count them."""

    size: Size
    fps: Fraction
    duration: float
    frames: int


def probe(path: Path) -> Clip:
    """Read the header, and the first frame for its size as seen."""
    import av

    with _opened(path) as container:
        stream = container.streams.video[0]
        first = next(container.decode(stream), None)
        if first is None:
            raise _unreadable("it has no frames")
        fps = stream.average_rate or stream.guessed_rate or Fraction(25)
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = (container.duration or 0) / av.time_base
        frames = stream.frames or max(1, round(duration * fps))
        turned = first.rotation % 180 != 0
        size = Size(first.height, first.width) if turned else Size(first.width, first.height)
        return Clip(size=size, fps=Fraction(fps), duration=duration or float(frames / fps), frames=frames)


def decode(path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames the right way up, with their times."""
    with _opened(path) as container:
        for frame in container.decode(video=0):
            yield _upright(frame)


def timed(images: Iterable[Image.Image], fps: Fraction) -> Iterator[av.VideoFrame]:
    """Turn pictures into frames that follow each other at `fps`."""
    for index, image in enumerate(images):
        yield at(frame_of(image), index, 1 / fps)


def frame_of(image: Image.Image) -> av.VideoFrame:
    """Return the picture as a frame without a time."""
    import av

    return av.VideoFrame.from_image(image)


def at(frame: av.VideoFrame, pts: int | None, time_base: Fraction | None) -> av.VideoFrame:
    """Set when the frame is shown: `pts` units of `time_base`."""
    frame.pts = pts
    if time_base is not None:
        frame.time_base = time_base
    return frame


def encode(path: Path, frames: Iterable[av.VideoFrame], *, fps: Fraction, sound: Path | None = None) -> int:
    """Write H.264 in MP4 and return the number of frames; `sound` is a file whose audio is carried over.

    Frames keep their times. Sides are made even, as 4:2:0 halves them. After a failure no file is left.
    """
    import av

    unfinished = path.with_name(path.name + ".part")
    try:
        with av.open(unfinished, "w", format="mp4", container_options=_CONTAINER) as container:
            count = _write(container, frames, fps, sound)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _write(container: OutputContainer, frames: Iterable[av.VideoFrame], fps: Fraction, sound: Path | None) -> int:
    from av.codec.context import Flags

    stream = container.add_stream("libx264", rate=fps, options=_ENCODER)
    stream.pix_fmt = "yuv420p"
    # Said in the file, because players guess the colours of small and of large pictures differently.
    stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = _BT709
    stream.codec_context.color_range = 1
    stream.codec_context.flags |= Flags.bitexact
    count = 0
    for frame in frames:
        if count == 0:
            stream.width, stream.height = even(frame.width), even(frame.height)
            if frame.time_base:
                stream.codec_context.time_base = frame.time_base
            if sound is not None:
                _carry_sound(container, sound)
        container.mux(stream.encode(planar(frame, stream.width, stream.height)))
        count += 1
    container.mux(stream.encode())
    return count


def even(side: float) -> int:
    """Return the even whole number of pixels next to `side`, at least two."""
    return max(2, round(side / 2) * 2)


def planar(frame: av.VideoFrame, width: int | None = None, height: int | None = None) -> av.VideoFrame:
    """Convert to what the encoder and the motion filter work on: 4:2:0 in the colours of BT.709."""
    made = frame.reformat(width, height, "yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    made.pict_type = 0  # the source's key frames are not ours
    return made


def _carry_sound(container: OutputContainer, source: Path) -> None:
    with _opened(source) as origin:
        if not origin.streams.audio:
            return
        heard = origin.streams.audio[0]
        if heard.codec_context.name in _COPIED_SOUND:
            copied = container.add_stream_from_template(heard)
            for packet in origin.demux(heard):
                if packet.dts is not None:
                    packet.stream = copied
                    container.mux(packet)
            return
        made = container.add_stream("aac", rate=heard.rate)
        for frame in origin.decode(heard):
            container.mux(made.encode(frame))
        container.mux(made.encode())


def _upright(frame: av.VideoFrame) -> av.VideoFrame:
    if not frame.rotation:
        return frame
    import av
    import numpy as np

    turned = np.rot90(np.asarray(frame.to_image()), frame.rotation // 90)
    return at(av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), "rgb24"), frame.pts, frame.time_base)


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    import av

    try:
        with av.open(path, metadata_errors="replace") as container:
            if not container.streams.video:
                raise _unreadable("it has no picture")
            container.streams.video[0].thread_type = "AUTO"
            yield container
    except MemoryError:  # FFmpeg's own is an FFmpegError too, and no fault of the file
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(error) from error


def _unreadable(reason: object) -> InvalidInput:
    return InvalidInput(f"video cannot be read: {reason}. Send an MP4 or WebM file.", field="video")
