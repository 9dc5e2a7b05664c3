"""The clouds' own SDKs drive the simulated clouds: programs `*_sdk.py`, each in an environment with its SDK."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.environments import environment, requirements

PROGRAMS = sorted(Path(__file__).parent.glob("*_sdk.py"))
_RUN_SECONDS = 90
_START_SECONDS = 60
_BUILD_SECONDS = 600
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")

each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)


class RunningSimulator:
    """What `genpulse simulate` started, and its controls."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log
        self._controls = httpx.Client(base_url=f"{url}/_control/", trust_env=False)

    def reset(self) -> None:
        self._controls.post("reset").raise_for_status()

    def hurry(self) -> None:
        """Jobs that are done at once."""
        self._controls.put("settings", json={"seconds_per_job": 0.1}).raise_for_status()

    def fault(self, **fault: object) -> None:
        self._controls.put("faults/*", json=[fault]).raise_for_status()

    def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._controls.get("requests").raise_for_status().json()["requests"]
        return found

    def close(self) -> None:
        self._controls.close()


@pytest.fixture(scope="session")
def ahead(request: pytest.FixtureRequest) -> Iterator[None]:
    """Environments are built while programs wait for jobs; each process of the run begins with another one.

    What goes wrong here goes wrong again in the test that needs the environment, and is told there.
    """
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    selected = [item.callspec.params.get("program") for item in items]
    wanted = [program for program in PROGRAMS if program in selected]
    random.SystemRandom().shuffle(wanted)
    with ThreadPoolExecutor(1) as pool:
        for program in wanted:
            pool.submit(_python_of, program)
        yield
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def running(ahead: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    log = tmp_path_factory.mktemp("simulator") / "log"
    # ComfyUI's own programs know hosts and no paths.
    command = [str(Path(sys.executable).with_name("genpulse")), "simulate", "--port", "0"]
    command += ["--seconds-per-job", "1", "--root", "comfyui"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        simulator = RunningSimulator(_address(process, log), log)
        yield simulator
        simulator.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Once it answers there."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        address = _ADDRESS.search(log.read_text())
        if address and _answers(address[0]):
            return address[0]
        time.sleep(0.05)
    raise AssertionError(f"`genpulse simulate` does not answer.\n{log.read_text()}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_control/jobs", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def simulator(running: RunningSimulator) -> RunningSimulator:
    """With nothing recorded and no fault in force."""
    running.reset()
    return running


def _python_of(program: Path) -> Path:
    return environment(requirements(program))


def run(program: Path, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Sees nothing of this process: no settings, no keys, no proxies, no modules that lie about."""
    command = [str(_python_of(program)), "-I", "-u", str(program), url]
    inherited = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", "NO_PROXY": "*"}
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=inherited,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode()
        raise AssertionError(f"{program.name} takes more than {_RUN_SECONDS} seconds. It said:\n{said}") from None


@each_program
def test_program_names_its_requirements(program: Path) -> None:
    assert requirements(program)


@pytest.mark.timeout(_BUILD_SECONDS)
@each_program
def test_sdk_drives_the_simulator(program: Path, simulator: RunningSimulator, tmp_path: Path) -> None:
    ran = run(program, simulator.url, tmp_path)
    assert ran.returncode == 0, f"{program.name} ended with {ran.returncode}:\n{ran.stdout}\n{_tail(simulator.log)}"
    requests = simulator.requests()
    clouds = {request["cloud"] for request in requests}
    assert clouds == {cloud for cloud in clouds if program.stem.startswith(f"{cloud}_")} and len(clouds) == 1
    assert [one for one in requests if one["kind"] == "submit" and one["status"] in range(200, 300)]
    assert [one for one in requests if one["status"] not in range(200, 500)] == []


@pytest.mark.timeout(_BUILD_SECONDS)
@each_program
def test_program_misses_outputs(program: Path, simulator: RunningSimulator, tmp_path: Path) -> None:
    """The check can fail: jobs that succeed and have made nothing are not enough for a program."""
    simulator.hurry()
    simulator.fault(type="no_outputs")
    ran = run(program, simulator.url, tmp_path)
    assert ran.returncode == 1, f"{program.name} did not notice that there are no outputs:\n{ran.stdout}"


def _tail(log: Path) -> str:
    return f"The simulator said:\n{log.read_text()[-2000:]}"
