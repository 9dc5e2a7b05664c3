"""What the tests of several clouds' clients ask for by name; `tests/clouds.py` has the rest."""

from __future__ import annotations

import pytest

from tests.clouds import Files, input_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """One of each kind; only the video has an address."""
    return input_files(tmp_path_factory.mktemp("inputs"))
