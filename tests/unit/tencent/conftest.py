"""Tencent Cloud: what its tests ask for by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genpulse.providers.tencent import Tencent
from genpulse.schemas.states import MediaKind
from genpulse.simulator.clouds.tencent import Tencent as Simulated
from tests.clouds import Files, world_of

world = world_of(Simulated, Tencent)


@pytest.fixture(scope="module")
def files(files: Files) -> Files:
    """The sound has an address too."""
    return files | {MediaKind.AUDIO: replace(files[MediaKind.AUDIO], url="https://files.example/input.wav")}
