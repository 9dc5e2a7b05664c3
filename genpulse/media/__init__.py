"""Reading media files: what a file really is, whether it is whole and within limits, and a still of a video.

Everything here blocks; callers in an event loop use a thread.
"""

from __future__ import annotations

from pathlib import Path

from genpulse.media.images import probe_image
from genpulse.media.limits import MediaLimits
from genpulse.media.sniff import StillFormat, sniff
from genpulse.media.streams import poster, probe_stream
from genpulse.schemas.assets import MediaInfo

__all__ = ["MediaLimits", "poster", "probe"]


def probe(path: Path, *, limits: MediaLimits) -> MediaInfo:
    """Tell what the file is by decoding it; raise MediaRejected with what to do when it is not acceptable.

    The name of the file plays no part.
    """
    limits.check_bytes(path.stat().st_size)
    form = sniff(path)
    if isinstance(form, StillFormat):
        return probe_image(path, form, limits)
    return probe_stream(path, form, limits)
