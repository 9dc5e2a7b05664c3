"""Reading media files: what a file really is, whether it is whole and within limits, and a still of a video.

Everything here blocks; callers in an event loop use a thread.
"""

from __future__ import annotations

from pathlib import Path

from genpulse.errors import MediaRejected
from genpulse.media.images import probe_image, stated_pixels
from genpulse.media.limits import MediaLimits
from genpulse.media.sniff import StillFormat, sniff
from genpulse.media.streams import poster, probe_stream
from genpulse.schemas.assets import MediaInfo

__all__ = ["MediaLimits", "is_quick", "poster", "probe"]

_QUICK_BYTES = 256 * 1024
_QUICK_PIXELS = 2**20


def is_quick(path: Path) -> bool:
    """Whether looking at the file is over before a thread would have woken: a small picture, packed or unpacked.

    A few kilobytes may unpack to a hundred megabytes, and a short video may have many frames.
    """
    size = path.stat().st_size
    if not 0 < size <= _QUICK_BYTES:
        return size == 0
    try:
        form = sniff(path)
    except MediaRejected:
        return True
    return isinstance(form, StillFormat) and stated_pixels(path, form) <= _QUICK_PIXELS


def probe(path: Path, *, limits: MediaLimits) -> MediaInfo:
    """Tell what the file is by decoding it; raise MediaRejected with what to do when it is not acceptable.

    The name of the file plays no part.
    """
    limits.check_bytes(path.stat().st_size)
    form = sniff(path)
    if isinstance(form, StillFormat):
        return probe_image(path, form, limits)
    return probe_stream(path, form, limits)
