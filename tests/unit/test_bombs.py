"""What means to become large when it is looked at is refused before it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from genpulse.errors import MediaRejected
from genpulse.media import MediaLimits, is_quick, probe
from genpulse.media.boxes import check_tables
from genpulse.settings import UploadSettings
from tests.bombs import MANY, bombs, endless_rows, video

LIMITS = MediaLimits(**UploadSettings().model_dump())
ROOT = Path(__file__).parents[2]
BOMBS = bombs()

#: Looks at every file of a folder with 512 MiB more memory than Python and the decoders themselves take.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from genpulse.errors import MediaRejected
from genpulse.media import MediaLimits, probe
from genpulse.settings import UploadSettings
import av, PIL.Image
taken = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + 512 * 2**20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
limits, told = MediaLimits(**UploadSettings().model_dump()), {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        told[path.name] = repr(probe(path, limits=limits))
    except MediaRejected as error:
        told[path.name] = None
    except BaseException as error:
        told[path.name] = repr(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each, within little memory and a minute for all of them."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, content in BOMBS.items():
        (folder / name).write_bytes(content)
    (folder / "an ordinary video").write_bytes(video())
    (folder / "a picture with endless rows").write_bytes(endless_rows())
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


@pytest.mark.parametrize("name", BOMBS)
def test_it_is_refused_in_little_memory_and_time(outcomes: dict[str, Any], name: str) -> None:
    assert outcomes[name] is None


def test_what_is_ordinary_is_accepted_in_the_same_memory(outcomes: dict[str, Any]) -> None:
    assert "width=64" in outcomes["an ordinary video"]
    assert "width=8" in outcomes["a picture with endless rows"]


def test_a_table_s_numbers_are_found_before_a_reader_takes_memory(tmp_path: Path) -> None:
    for name, content in BOMBS.items():
        if "samples" in name or "table" in name:
            (tmp_path / "file").write_bytes(content)
            with pytest.raises(MediaRejected, match=r"more than 1,000,000 frames|table of contents is compressed"):
                check_tables(tmp_path / "file", LIMITS)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_the_tables_of_ordinary_files_pass(tmp_path: Path, options: dict[str, str]) -> None:
    (tmp_path / "file").write_bytes(video(**options))
    check_tables(tmp_path / "file", LIMITS)


def test_plain_sound_may_be_as_long_as_sound_may_be(tmp_path: Path) -> None:
    """A camera's: 48,000 samples a second, each in the table, and read in blocks."""
    path = tmp_path / "sound.mov"
    _plain_sound(path, seconds=25)
    check_tables(path, LIMITS)
    assert probe(path, limits=LIMITS).duration == 25.0


def _plain_sound(path: Path, *, seconds: int) -> None:
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for second in range(seconds):
            frame = av.AudioFrame(format="s16", layout="mono", samples=48_000)
            frame.sample_rate, frame.pts = 48_000, second * 48_000
            frame.planes[0].update(bytes(96_000))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_only_what_is_small_when_unpacked_is_looked_at_without_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for name, quick in {
        "png that really is 12,000 by 12,000": True,  # refused at once by the size that it states
        "mp4 of 400,000,000 samples": False,
        "svg that laughs": True,
    }.items():
        path.write_bytes(BOMBS[name])
        assert is_quick(path) is quick, name
    Image.new("1", (7000, 7000)).save(path, "PNG")
    assert path.stat().st_size < 10_000
    assert not is_quick(path), "a hundred megabytes, for an event loop that waits"
    Image.new("RGB", (512, 512)).save(path, "PNG")
    assert is_quick(path)


def test_the_bombs_are_what_they_say() -> None:
    assert BOMBS["mp4 of 400,000,000 samples"].count(MANY.to_bytes(4)) >= 3
