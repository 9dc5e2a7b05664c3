"""`python -m tests.load.keys`: what checking a key adds to a request; one API process, PostgreSQL, loopback only.

Three callers take turns, so that whatever else the machine does falls on all of them alike: one with the admin key,
which is compared; one with a key of a tenant; and one whose tenant may send so many requests a minute.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from genpulse.db import Database
from genpulse.keyring import KeyRing
from genpulse.migrations import upgrade
from genpulse.settings import SecuritySettings
from genpulse.stack import free_port
from tests.load.callers import Connection
from tests.servers.postgres import postgres_server
from tests.servers.valkey import valkey_server

ROUNDS = 3000
WARM_UP = 300
PATH = "/v1/models/local/shapes"
REPORT = Path("docs/benchmarks.md")
HEADING = "## What checking a key costs"

_ADMIN_KEY = "an admin key for a benchmark, long enough"
_PATIENCE_SECONDS = 60
_LIMITS = {"requests_per_minute": 1_000_000}


@contextmanager
def serving(database_url: str, redis_url: str) -> Iterator[str]:
    """An API process; its address."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="genpulse-bench-") as folder:
        environment = os.environ | {
            "GENPULSE_DATA_DIR": folder,
            "GENPULSE_DATABASE__URL": database_url,
            "GENPULSE_REDIS__URL": redis_url,
            "GENPULSE_SECURITY__ADMIN_KEY": _ADMIN_KEY,
            "GENPULSE_SERVER__PORT": str(port),
            "GENPULSE_TEMPORAL__ADDRESS": "127.0.0.1:1",
            "GENPULSE_TELEMETRY__LOG_LEVEL": "warning",
        }
        with subprocess.Popen([sys.executable, "-m", "genpulse.cli", "api"], env=environment) as process:
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


async def opened(url: str, key: str) -> Connection:
    """A connection, as soon as somebody answers."""
    connection = Connection(url, key)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            try:
                await connection.open()
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return connection


async def measure(url: str) -> dict[str, list[float]]:
    """Milliseconds of each answer, by caller."""
    admin = await opened(url, _ADMIN_KEY)
    callers = {
        "admin key": admin,
        "key": await opened(url, await _key(admin, {})),
        "key, requests counted": await opened(url, await _key(admin, _LIMITS)),
    }
    taken: dict[str, list[float]] = {name: [] for name in callers}
    for turn in range(WARM_UP + ROUNDS):
        for name, caller in callers.items():
            sent = time.perf_counter()
            status, answer = await caller.request("GET", PATH)
            if status != 200:
                raise RuntimeError(f"{status}: {answer}")
            if turn >= WARM_UP:
                taken[name].append((time.perf_counter() - sent) * 1000)
    for caller in callers.values():
        caller.close()
    return taken


async def measure_alone(url: str, database_url: str) -> dict[str, list[float]]:
    """Milliseconds of each check, without a request around it."""
    admin = await opened(url, _ADMIN_KEY)
    shown = {"admin key": _ADMIN_KEY, "key": await _key(admin, {})}
    admin.close()
    database = Database(database_url)
    ring = KeyRing(SecuritySettings(admin_key=SecretStr(_ADMIN_KEY)), database)
    taken: dict[str, list[float]] = {name: [] for name in shown}
    for _ in range(ROUNDS):
        for name, secret in shown.items():
            begun = time.perf_counter()
            await ring.identify(secret)
            taken[name].append((time.perf_counter() - begun) * 1000)
    await ring.close()
    await database.dispose()
    return taken


async def _key(admin: Connection, limits: dict[str, int]) -> str:
    body = json.dumps({"name": "bench", "limits": limits}).encode()
    _, tenant = await admin.request("POST", "/v1/admin/tenants", body)
    _, key = await admin.request("POST", f"/v1/admin/tenants/{tenant['id']}/keys", b"{}")
    secret: str = key["secret"]
    return secret


def report(taken: dict[str, list[float]], alone: dict[str, list[float]]) -> str:
    """A section of the page, with the medians and what each is above that of the admin key."""
    checks = ", ".join(f"{statistics.median(some) * 1000:.0f} µs for the {name}" for name, some in alone.items())
    base = statistics.median(taken["admin key"])
    lines = [
        f"| {name} | {statistics.median(some):.2f} | {statistics.median(some) - base:+.2f} "
        f"| {statistics.quantiles(some, n=100)[98]:.2f} |"
        for name, some in taken.items()
    ]
    return (
        f"{HEADING}\n\nWritten by `python -m tests.load.keys`: `GET {PATH}`, {ROUNDS:,} times for each caller in turn, "
        "one API process, PostgreSQL, Valkey. The admin key is compared; another key is looked up, at most once in "
        "three seconds in the database, else in memory; the requests of the third are counted in Valkey as well. The "
        "aim is less than 1 ms at the median.\n\n| caller | median, ms | added, ms | p99, ms |\n|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\nThe check alone, without a request around it, takes {checks} at the median.\n"
    )


async def main() -> str:
    with postgres_server() as postgres, valkey_server() as valkey:
        url = await postgres.create_database()
        await upgrade(url)
        with serving(url, valkey.url) as address:
            return report(await measure(address), await measure_alone(address, url))


if __name__ == "__main__":
    made = asyncio.run(main())
    print(made)
    lines = REPORT.read_text("utf-8").splitlines(keepends=True)
    before = list(itertools.takewhile(lambda line: line.rstrip() != HEADING, lines))
    after = list(itertools.dropwhile(lambda line: not line.startswith("## "), lines[len(before) + 1 :]))
    page = "".join(before).rstrip() + f"\n\n{made}" + ("\n" + "".join(after) if after else "")
    REPORT.write_text(page, "utf-8")
