"""How large a media file may be, and the sentences that say so."""

from __future__ import annotations

from dataclasses import dataclass

from genpulse.errors import MediaRejected


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """Bounds of one file. `max_pixels` counts one picture, `max_frames` and `max_seconds` the whole video or sound."""

    max_bytes: int
    max_pixels: int
    max_frames: int
    max_seconds: float

    def check_bytes(self, count: int) -> None:
        if count == 0:
            raise MediaRejected("the file is empty; send the whole file")
        if count > self.max_bytes:
            raise MediaRejected(
                f"the file has {count:,} bytes and at most {self.max_bytes:,} are accepted; compress it or make it "
                "smaller",
                max_bytes=self.max_bytes,
            )

    def check_pixels(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise MediaRejected(
                f"a picture of {width}x{height} has more than the {self.max_pixels:,} pixels accepted; scale it down",
                max_pixels=self.max_pixels,
            )

    def check_frames(self, count: int) -> None:
        if count > self.max_frames:
            raise MediaRejected(
                f"the video has more than the {self.max_frames:,} frames accepted; cut it or lower its frame rate",
                max_frames=self.max_frames,
            )

    def check_seconds(self, seconds: float) -> None:
        if seconds > self.max_seconds:
            raise MediaRejected(
                f"the file runs longer than the {self.max_seconds:g} seconds accepted; cut it",
                max_seconds=self.max_seconds,
            )
