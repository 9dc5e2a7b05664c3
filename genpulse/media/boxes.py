"""What an MP4 or MOV says that it holds, before a reader takes memory for it.

A table of contents can speak of hundreds of millions of samples in twenty bytes, and FFmpeg makes an entry of its own
for each of them: gigabytes, for a file of two kilobytes.

The tables are looked for by their names wherever they may be, and not by following the structure: a reader that was a
little more tolerant than we are would find one that we had not seen.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from genpulse.errors import MediaRejected
from genpulse.media.limits import MediaLimits

#: Sound has more of them than a video has frames, and no more than this: half an hour takes 160,000.
_MOST_SAMPLES = 1_000_000
#: Boxes at the top whose content no reader takes for tables.
_CONTENT = frozenset({b"mdat", b"free", b"skip", b"wide"})
_MOST_TOP_BOXES = 500_000
_MOST_TRACK_BYTES = 2**20  # of a description of plain sound; it has few tables
#: Names of the tables, and where behind the name the number of samples stands.
_COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
_COMPRESSED = b"cmov"


def check_tables(path: Path, limits: MediaLimits) -> None:
    """Raise MediaRejected for more samples than any acceptable file has."""
    most = max(_MOST_SAMPLES, 4 * limits.max_frames)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        samples = 0
        for start, end in _tables(data):
            if data.find(_COMPRESSED, start, end) >= 0:
                raise MediaRejected("the file's table of contents is compressed; save it again with a current program")
            for count in _samples(data, start, end):
                samples += count
                if samples > most:
                    raise MediaRejected(
                        f"the file says to hold more than {most:,} frames and pieces of sound; cut it, or save it again"
                    )


def _tables(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Stretches of the file that may hold tables: everything but the content itself."""
    position = 0
    for _ in range(_MOST_TOP_BOXES):
        head = data[position : position + 16]
        size, name, header = int.from_bytes(head[:4]), head[4:8], 8
        if size == 1:
            size, header = int.from_bytes(head[8:16]), 16
        if len(head) < 8 or size < header:  # to the end of the file, or nonsense, which readers take in different ways
            yield position, len(data)
            return
        if name not in _CONTENT:
            yield position, min(position + size, len(data))
        position += size
    yield position, len(data)


def _samples(data: mmap.mmap, start: int, end: int) -> Iterator[int]:
    for name, where in _COUNTS.items():
        found = data.find(name, start, end)
        while found >= 0:
            count = int.from_bytes(data[found + 4 + where : found + 8 + where])
            if not (name == b"stsz" and count > _MOST_SAMPLES and _is_plain_sound(data, found, start, end)):
                yield max(count, 1)  # a table without samples takes time too
            found = data.find(name, found + 4, end)


def _is_plain_sound(data: mmap.mmap, found: int, start: int, end: int) -> bool:
    """Whether the table is of a track of uncompressed sound, whose samples are counted one by one and read in blocks.

    Readers tell it by its handler, and by a table of times with one entry, in which each sample lasts one tick.
    """
    begin = max(data.rfind(b"trak", start, found), start)
    after = data.find(b"trak", found, end)
    track = data[begin : min(end if after < 0 else after, begin + _MOST_TRACK_BYTES)]
    alone = track.count(b"stts") == track.count(b"stsz") == 1 and b"soun" in track and b"vide" not in track
    times = track[track.find(b"stts") + 8 :][:12] if alone else b""
    return len(times) == 12 and struct.unpack(">III", times)[::2] == (1, 1)
