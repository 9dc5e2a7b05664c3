"""Environments for programs: built once, whole, and with a clear word where that cannot be."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract import environments
from tests.contract.environments import environment, requirements

WANTED = ["fox==1.0", "hare==2.0"]


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where something was installed; nothing really is."""
    found: list[Path] = []

    def install(python: Path, _: list[str]) -> None:
        time.sleep(0.05)
        found.append(python)

    monkeypatch.setattr(environments, "_install", install)
    return found


def test_environment_is_built_once(installs: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        pythons = list(pool.map(lambda wanted: environment(wanted, tmp_path), [WANTED, WANTED, WANTED[::-1], WANTED]))
    assert installs == [pythons[0]]
    assert set(pythons) == {pythons[0]}
    assert pythons[0].exists()


def test_other_requirements_have_another_environment(installs: list[Path], tmp_path: Path) -> None:
    assert environment(WANTED, tmp_path) != environment(WANTED[:1], tmp_path)
    assert len(installs) == 2


def test_half_built_environment_is_built_again(installs: list[Path], tmp_path: Path) -> None:
    python = environment(WANTED, tmp_path)
    folder = python.parents[1]
    (folder / "complete").unlink()
    (folder / "rest").touch()
    assert environment(WANTED, tmp_path) == python
    assert len(installs) == 2
    assert not (folder / "rest").exists()


def test_pip_s_own_words_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        RuntimeError, match=r"pip could not install fox==1\.0 hare==2\.0\.[^$]+No matching distribution"
    ):
        environment(WANTED, tmp_path)
    assert [path for path in tmp_path.iterdir() if (path / "complete").exists()] == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("# requires: fox==1.0", ["fox==1.0"]),
        ("# requires: fox[fur]==1.0 hare-and.hound==2.0.dev1", ["fox[fur]==1.0", "hare-and.hound==2.0.dev1"]),
        ("# requires: fox", None),
        ("# requires: fox>=1.0", None),
        ("# requires:", None),
        ("import fox", None),
        ("", None),
    ],
)
def test_requirements_are_pinned_in_the_first_line(line: str, wanted: list[str] | None, tmp_path: Path) -> None:
    program = tmp_path / "fox_sdk.py"
    program.write_text(f"{line}\nprint('a fox')\n" if line else "")
    if wanted is None:
        with pytest.raises(ValueError, match=r"fox_sdk\.py must begin with"):
            requirements(program)
    else:
        assert requirements(program) == wanted
