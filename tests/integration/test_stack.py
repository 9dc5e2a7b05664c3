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

import pytest

from genpulse.client import Client
from genpulse.schemas.states import StepStatus
from genpulse.stack import DataDir, EmbeddedStack, Ports, StackError, embedded_stack, free_port, read_admin_key
from genpulse.stack.process import ProcessSpec, SupervisedProcess

PROCESSES = {"api", "worker", "worker-gpu", "temporal"}
PATIENCE = 150.0


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


@asynccontextmanager
async def up(data_dir: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`genpulse up`, ready, and what it has printed so far."""
    async with command("up", *FREE_PORTS, "--data-dir", str(data_dir)) as process:
        assert process.stdout is not None
        text = await asyncio.wait_for(process.stdout.readuntil(b"/logs\n"), PATIENCE)
        yield process, text.decode()


FREE_PORTS = ("--port", "0", "--temporal-port", "0", "--ui-port", "0")


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    async with embedded_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


async def test_every_process_runs_and_the_api_answers(stack: EmbeddedStack) -> None:
    await eventually(lambda: pids_in(stack.data_dir.path).keys() == PROCESSES)
    pids = pids_in(stack.data_dir.path)
    assert {name: stack.pid(name) for name in PROCESSES} == pids
    assert all(map(runs, pids.values()))
    async with Client(stack.api_url, stack.admin_key) as client:
        assert "local/shapes" in {model.id for model in await client.models()}


async def test_the_api_comes_first_where_cores_are_scarce(stack: EmbeddedStack) -> None:
    own, last = os.getpriority(os.PRIO_PROCESS, 0), 19
    wanted = {"api": own, "worker": last, "worker-gpu": last, "temporal": last}
    await eventually(lambda: _niceness(pids_in(stack.data_dir.path)) == wanted)


def _niceness(pids: dict[str, int]) -> dict[str, int]:
    return {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in pids.items() if runs(pid)}


@pytest.mark.parametrize("name", ["worker", "temporal", "api"])
async def test_a_process_that_is_killed_is_started_again(stack: EmbeddedStack, name: str) -> None:
    killed = stack.pid(name)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: pids_in(stack.data_dir.path).get(name, killed) != killed)
    assert stack.pid(name) == pids_in(stack.data_dir.path)[name]
    await stack.wait_until_ready()


async def test_a_process_that_is_stopped_stays_stopped_until_it_is_started(stack: EmbeddedStack) -> None:
    await stack.stop("worker")
    await asyncio.sleep(1)  # longer than a restart takes
    assert stack.pid("worker") is None
    assert "worker" not in pids_in(stack.data_dir.path)
    await stack.start("worker")
    assert stack.pid("worker") == pids_in(stack.data_dir.path)["worker"]


async def test_a_process_that_cannot_be_started_again_is_tried_until_it_can(tmp_path: Path) -> None:
    """As on a full disk, where its log cannot be opened."""
    data_dir, said = DataDir(tmp_path), list[str]()
    spec = ProcessSpec(name="sleeper", command=("/bin/sleep", "1000"), environment=os.environ)
    with data_dir.locked():
        process = SupervisedProcess(spec, data_dir, said.append)
        await process.start()
        first, log = process.pid, data_dir.log_file("sleeper")
        assert first is not None
        log.unlink()
        log.mkdir()
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: any("could not be started" in one for one in said))
        log.rmdir()
        await eventually(lambda: process.pid not in (None, first))
        await process.stop()


async def genpulse(stack: EmbeddedStack, *arguments: str) -> str:
    """What a command prints that uses the stack, with the key that lies in its folder."""
    async with command(*arguments, "--url", stack.api_url, "--data-dir", str(stack.data_dir.path)) as process:
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_generate_saves_what_was_made_and_jobs_shows_it(stack: EmbeddedStack, tmp_path: Path) -> None:
    await stack.wait_until_ready()
    made = await genpulse(stack, "generate", "x", "--model", "local/fake", "--out", str(tmp_path / "new"))
    picture = tmp_path / "new" / f"{made.split()[0]}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in made

    clip = await genpulse(
        stack,
        "generate",
        "--model",
        "local/fake",
        "--image",
        str(picture),
        "--out",
        str(tmp_path),
        "--input",
        "duration=1",
    )
    generation_id = clip.split()[0]
    assert (tmp_path / f"{generation_id}.mp4").exists()

    assert generation_id in await genpulse(stack, "jobs", "list", "--operation", "image-to-video")
    assert f"image-to-video on local/fake: {StepStatus.SUCCEEDED}" in await genpulse(
        stack, "jobs", "show", generation_id
    )
    assert "64×64, 1 s at 8 fps" in await genpulse(stack, "jobs", "watch", generation_id)
    assert "local/upscale" in await genpulse(stack, "models")


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


@pytest.mark.timeout(600)
async def test_killed_or_terminated_it_leaves_no_process_and_goes_on_with_the_same_key(tmp_path: Path) -> None:
    async with up(tmp_path) as (killed, text):
        pids, key = pids_in(tmp_path), read_admin_key(tmp_path)
        killed.kill()
        await killed.wait()
        await eventually(lambda: not any(map(runs, pids.values())))
    assert pids.keys() == PROCESSES
    assert pids_in(tmp_path) == pids, "nobody was left to remove the files"
    assert str(key) in text

    async with up(tmp_path) as (terminated, text):
        pids = pids_in(tmp_path)
        terminated.terminate()
        assert await terminated.wait() == 0
    assert pids.keys() == PROCESSES
    assert not any(map(runs, pids.values()))
    assert pids_in(tmp_path) == {}
    assert read_admin_key(tmp_path) == key
    assert str(key) not in text, "it is shown once"


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
