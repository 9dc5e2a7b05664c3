"""The built wheel, installed into an environment of its own and used away from the checkout."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tree import project_files

ROOT = Path(__file__).parents[2]
ROOMS = ["activities", "api", "engine", "workflows"]

# One build for all tests of this module, also when the run is spread over processes.
pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


class Installation:
    """A virtual environment with the wheel in it, in an empty folder.

    The dependencies are those of the environment that runs the tests: a `.pth` file puts its site-packages on the path.
    Such a line does not execute the `.pth` files found there, so the editable installation stays out of sight.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.environment = folder / "environment"
        self.folder = folder / "elsewhere"
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.environment], check=True)
        self.python = self.environment / "bin" / "python"
        _pip("--python", self.python, "install", "--no-deps", "--no-index", wheel)
        (packages,) = self.environment.glob("lib/python*/site-packages")
        (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))

    def run(self, *command: str | Path) -> str:
        """What a program of this environment prints. Servers that came as packages are found on its PATH."""
        path = os.pathsep.join([str(self.environment / "bin"), str(Path(sys.executable).parent), os.defpath])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GENPULSE_", "PYTHON"))}
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=inherited | {"PATH": path, "HOME": str(self.folder), "NO_COLOR": "1", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def genpulse(self, *arguments: str) -> str:
        """What the command prints."""
        return self.run(self.environment / "bin" / "genpulse", *arguments)

    def evaluate(self, program: str) -> str:
        """What a Python program prints that sees neither the checkout nor the caller's environment."""
        return self.run(self.python, "-I", "-c", program)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installation:
    return Installation(tmp_path_factory.mktemp("installation"), wheel)


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _sources() -> list[str]:
    """What belongs into the wheel: everything in the rooms that git does not ignore."""
    return project_files("genpulse", "worker.py", *ROOMS)


def test_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    expected = {name if name.startswith("genpulse/") else f"genpulse/_app/{name}" for name in _sources()}
    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_wheel_installs_nothing_but_genpulse(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"genpulse"}
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE.md"}


def test_command_starts(installation: Installation) -> None:
    assert "genpulse" in installation.genpulse("--help")


def test_rooms_are_imported_from_the_installation(installation: Installation) -> None:
    modules = ["workflows.generation", "activities.records", "api.app", "engine", "worker", "genpulse"]
    program = (
        "import importlib, json; from genpulse._rooms import open_rooms; open_rooms();"
        f"print(json.dumps([importlib.import_module(name).__file__ for name in {modules!r}]))"
    )
    files = json.loads(installation.evaluate(program))
    assert [file for file in files if not Path(file).is_relative_to(installation.environment)] == []


def test_importing_genpulse_opens_no_room(installation: Installation) -> None:
    program = (
        "import importlib.util, json, genpulse;"
        f"specs = [importlib.util.find_spec(name) for name in {[*ROOMS, 'worker']!r}];"
        "print(json.dumps([spec.origin for spec in specs if spec]))"
    )
    origins = json.loads(installation.evaluate(program))
    assert [origin for origin in origins if origin and "genpulse" in origin] == []
