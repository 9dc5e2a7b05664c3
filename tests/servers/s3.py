"""A real S3 service with real signature checks: the pip package `nanio`, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genpulse.stack import free_port

_START_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server with one empty bucket; `folder` is where that bucket's objects lie."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    folder: Path


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="genpulse-s3-") as folder:
        data, port = Path(folder) / "data", free_port()
        server = S3Server(
            endpoint=f"http://127.0.0.1:{port}",
            access_key="genpulse",
            secret_key=secrets.token_hex(16),
            bucket="assets",
            folder=data / "assets",
        )
        server.folder.mkdir(parents=True)
        with _running(server, data, port, log=Path(folder) / "log"):
            yield server


@contextmanager
def _running(server: S3Server, data: Path, port: int, *, log: Path) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "nanio",
        "serve",
        "--data-dir",
        str(data),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    keys = {"NANIO_ACCESS_KEY": server.access_key, "NANIO_SECRET_KEY": server.secret_key}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | keys, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nanio did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
