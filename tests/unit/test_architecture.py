"""The direction of imports: docs/decisions/0001-rooms.md as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ["genpulse", "engine", "activities", "workflows", "api"]  # worker.py may import all of them
CONTRACTS = ("genpulse.schemas", "genpulse.errors", "genpulse.ids")

#: What each importer may take from genpulse when it runs; imports for type checkers are free.
ALLOWED = {
    "genpulse.schemas": CONTRACTS,
    "genpulse.errors": CONTRACTS,
    "genpulse.ids": CONTRACTS,
    "activities": (*CONTRACTS, "genpulse.failpoints", "genpulse.providers.base"),
    "workflows": CONTRACTS,
    "engine": (*CONTRACTS, "genpulse.media", "genpulse.telemetry", "genpulse.providers.base"),
}

#: Only the rest of genpulse (and the worker that wires it) speaks to databases, Redis, storage and HTTP servers.
FOREIGN_TO_API = {"aiosqlite", "alembic", "asyncpg", "diffusers", "httpx", "obstore", "redis", "sqlalchemy", "torch"}

#: Libraries that do I/O or drag in half a second of imports.
IO_LIBRARIES = {
    "PIL",
    "aiohttp",
    "aiosqlite",
    "alembic",
    "asyncpg",
    "av",
    "cv2",
    "diffusers",
    "fastapi",
    "httpcore",
    "httpx",
    "obstore",
    "redis",
    "requests",
    "sqlalchemy",
    "sqlmodel",
    "starlette",
    "torch",
    "transformers",
    "uvicorn",
    "valkey",
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, include_external_packages=True, exclude_type_checking_imports=True)


def _within(module: str, packages: tuple[str, ...] | set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _imports(graph: grimp.ImportGraph, importer: str) -> set[tuple[str, str]]:
    modules = {importer} | graph.find_descendants(importer)
    return {(module, taken) for module in modules for taken in graph.find_modules_directly_imported_by(module)}


def test_import_contracts_are_kept() -> None:
    # In a process of its own: import-linter keeps its configuration in globals.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("importer", ALLOWED)
def test_room_takes_only_what_it_may_from_the_core(graph: grimp.ImportGraph, importer: str) -> None:
    taken = {(module, used) for module, used in _imports(graph, importer) if _within(used, ("genpulse",))}
    assert {pair for pair in taken if not _within(pair[1], ALLOWED[importer])} == set()


def test_api_leaves_the_world_to_the_core(graph: grimp.ImportGraph) -> None:
    foreign = FOREIGN_TO_API | {"engine", "activities"}
    assert {pair for pair in _imports(graph, "api") if _within(pair[1], foreign)} == set()


def test_only_the_api_speaks_fastapi(graph: grimp.ImportGraph) -> None:
    taken = {pair for room in ROOMS if room != "api" for pair in _imports(graph, room)}
    assert {pair for pair in taken if _within(pair[1], {"fastapi"})} == set()


def test_only_the_command_starts_processes(graph: grimp.ImportGraph) -> None:
    taken = {pair for room in ROOMS for pair in _imports(graph, room) if _within(pair[1], {"genpulse.cli", "worker"})}
    assert {pair for pair in taken if not _within(pair[0], {"genpulse.cli", "genpulse.__main__"})} == set()


def _loaded_by(*modules: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has loaded after importing these."""
    program = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout))


def _workflow_modules() -> list[str]:
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "workflows").rglob("[!_]*.py")
    )


@pytest.fixture(scope="module")
def bare() -> set[str]:
    return _loaded_by("temporalio.workflow", "temporalio.contrib.pydantic", "pydantic")


@pytest.mark.parametrize("module", _workflow_modules())
def test_workflow_loads_no_io_library(module: str, bare: set[str]) -> None:
    assert (_loaded_by(module) - bare) & IO_LIBRARIES == set()


def test_the_list_of_io_libraries_is_not_weakened_by_temporal(bare: set[str]) -> None:
    assert bare & IO_LIBRARIES == set()
