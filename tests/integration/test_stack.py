"""The embedded stack: real processes, started, killed, restarted and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from genpulse.client import Client
from genpulse.stack import DataDir, EmbeddedStack, Ports, StackError, embedded_stack, free_port, read_admin_key

PROCESSES = {"api", "worker", "worker-gpu", "temporal"}
PATIENCE = 60.0


async def eventually(look: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not look():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process exists and has not ended; one that nobody has waited for is still listed."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pids_in(data_dir: Path) -> dict[str, int]:
    return {file.stem: int(file.read_text()) for file in (data_dir / "run").glob("*.pid")}


async def is_ready(stack: EmbeddedStack) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{stack.api_url}/readyz")).status_code == 200


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`genpulse …` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genpulse.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


FREE_PORTS = ("--port", "0", "--temporal-port", "0", "--ui-port", "0")


async def test_every_process_runs_until_the_stack_is_left(tmp_path: Path) -> None:
    async with embedded_stack(tmp_path) as stack:
        pids = pids_in(tmp_path)
        assert pids.keys() == PROCESSES
        assert {name: stack.pid(name) for name in PROCESSES} == pids
        assert all(map(runs, pids.values()))
        assert await is_ready(stack)
        async with Client(stack.api_url, stack.admin_key) as client:
            assert "local/shapes" in {model.id for model in await client.models()}
    assert not any(map(runs, pids.values()))
    assert pids_in(tmp_path) == {}


async def test_the_api_comes_first_where_cores_are_scarce(tmp_path: Path) -> None:
    async with embedded_stack(tmp_path):
        niceness = {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in pids_in(tmp_path).items()}
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness == {"api": own, "worker": own + 5, "worker-gpu": own + 5, "temporal": own + 5}


async def test_a_process_that_is_killed_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    async with embedded_stack(tmp_path, report=said.append) as stack:
        for name in ("worker", "temporal", "api"):
            killed = stack.pid(name)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            while pids_in(tmp_path).get(name, killed) == killed:
                await asyncio.sleep(0.02)
    assert [sentence.split()[0] for sentence in said] == ["worker", "temporal", "api"]
    assert all("signal 9" in sentence for sentence in said)


async def test_keys_and_signing_key_are_kept_and_private(tmp_path: Path) -> None:
    folder = DataDir(tmp_path)
    with folder.locked():
        keys = folder.admin_key(), folder.signing_key()
    with folder.locked():
        assert (folder.admin_key(), folder.signing_key()) == keys
    assert read_admin_key(tmp_path) == keys[0]
    assert all(len(key) >= 32 for key in keys)
    files = list((tmp_path / "secrets").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


async def test_a_second_stack_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with DataDir(tmp_path).locked():
        async with command("up", *FREE_PORTS, "--data-dir", str(tmp_path)) as second:
            output, _ = await second.communicate()
    assert second.returncode == 1
    assert f"already runs on {tmp_path} (process {os.getpid()})" in " ".join(output.decode().split())
    assert "Traceback" not in output.decode()


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", free_port())
    taken = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(StackError, match=f"Port {taken} is in use; choose another with --ui-port"):
            async with embedded_stack(tmp_path, ports=Ports(ui=taken)):
                pass


async def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    broken = {"GENPULSE_SERVER__MAX_BODY_BYTES": "many"}
    with pytest.raises(StackError, match="GENPULSE_SERVER__MAX_BODY_BYTES"):
        async with embedded_stack(tmp_path, environment=broken):
            pass
    assert pids_in(tmp_path) == {}


async def test_terminated_it_stops_everything_and_starts_again_with_the_same_key(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with command("up", *FREE_PORTS, "--data-dir", str(tmp_path)) as up:
            assert up.stdout is not None
            text = (await asyncio.wait_for(up.stdout.readuntil(b"Logs"), PATIENCE)).decode()
            assert "GenPulse is ready" in text
            pids = pids_in(tmp_path)
            keys.append(read_admin_key(tmp_path))
            up.terminate()
            rest, _ = await up.communicate()
            assert up.returncode == 0, rest.decode()
            assert (str(keys[0]) in text + rest.decode()) == (len(keys) == 1), "the key is shown once"
        assert pids.keys() == PROCESSES
        assert not any(map(runs, pids.values()))
    assert keys[0] == keys[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only there can children end with their parent")
async def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    async with command("up", *FREE_PORTS, "--data-dir", str(tmp_path)) as up:
        assert up.stdout is not None
        await asyncio.wait_for(up.stdout.readuntil(b"Logs"), PATIENCE)
        pids = pids_in(tmp_path)
        up.kill()
        await up.communicate()
    assert pids.keys() == PROCESSES
    await eventually(lambda: not any(map(runs, pids.values())))
    assert pids_in(tmp_path) == pids, "nobody was left to remove them"
    with DataDir(tmp_path).locked():
        DataDir(tmp_path).clean_up_former_run()
    assert pids_in(tmp_path) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to tell whose a process is")
async def test_what_a_former_run_left_is_ended_but_nothing_else(tmp_path: Path) -> None:
    folder = DataDir(tmp_path)
    environment = os.environ | {"GENPULSE_DATA_DIR": str(tmp_path)}
    ours = await asyncio.create_subprocess_exec("sleep", "60", env=environment)
    other = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        with folder.locked():
            folder.pid_file("api").write_text(f"{ours.pid}\n")
            folder.pid_file("worker").write_text(f"{other.pid}\n")
            folder.pid_file("temporal").write_text("nonsense")
            folder.clean_up_former_run()
        assert await asyncio.wait_for(ours.wait(), PATIENCE) == -signal.SIGKILL
        assert other.returncode is None
        assert pids_in(tmp_path) == {}
    finally:
        other.kill()
        await other.wait()
