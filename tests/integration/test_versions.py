"""The commands of docs/upgrades.md, as they stand there, on a real server with real workers of two versions."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.client import Client

from genpulse.catalog import engine_models, load_catalog
from genpulse.db import Database
from genpulse.dispatch import Dispatcher
from genpulse.migrations import upgrade
from genpulse.planning import plan_generation
from genpulse.repositories import generations
from genpulse.schemas.generations import GenerationCreate
from genpulse.settings import Settings, WorkerSettings
from genpulse.stack.temporal import temporal_program
from genpulse.submissions import Submission, accept
from genpulse.temporal import connect
from tests.servers.temporal import TemporalServer, temporal_server

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
FAKE = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}

GUIDE = (ROOT / "docs" / "upgrades.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]


def documented(*words: str) -> str:
    """The command of the guide that holds all of these words."""
    (command,) = {one for one in COMMANDS if all(word in one for word in words)}
    return command


@dataclass
class Deployment:
    """Workers as processes, and an operator who types what the guide says."""

    server: TemporalServer
    settings: Settings
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def start(self, name: str, queues: str, build_id: str = "") -> None:
        environment = os.environ | {
            "GENPULSE_DATA_DIR": str(self.folder),
            "GENPULSE_TEMPORAL__ADDRESS": self.server.address,
            "GENPULSE_WORKER__DEPLOYMENT_NAME": "genpulse" if build_id else "",
            "GENPULSE_WORKER__BUILD_ID": build_id,
        }
        with self.log(name).open("wb") as log:
            command = [sys.executable, "worker.py", "--queues", queues]
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, self.log(name).read_text()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    async def type(self, command: str) -> str:
        """Run a command of the guide in a shell, as it stands there; again while its version is not there yet."""
        self.used.add(command)
        path = f"{Path(temporal_program()).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {
            "TEMPORAL_ADDRESS": self.server.address,
            "TEMPORAL_NAMESPACE": "default",
            "PATH": path,
        }
        said = ""

        async def succeeds() -> bool:
            nonlocal said
            ran = await asyncio.to_thread(
                subprocess.run, command, shell=True, env=environment, capture_output=True, text=True, check=False
            )
            said = ran.stdout + ran.stderr
            return ran.returncode == 0

        await eventually(succeeds, lambda: f"{command}\n{said}")
        return said


async def eventually(look: Callable[[], Awaitable[bool]], why: Callable[[], str] = lambda: "") -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not await look():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain. {why()}"
        await asyncio.sleep(0.2)


@contextmanager
def _running(folder: Path) -> Iterator[Deployment]:
    with temporal_server() as server:
        settings = Settings.model_validate({"data_dir": folder, "temporal": {"address": server.address}})
        deployment = Deployment(server, settings, folder)
        try:
            yield deployment
        finally:
            for process in deployment.processes.values():
                process.kill()
                process.wait()


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    with _running(tmp_path) as running:
        await upgrade(running.settings.database_url)
        yield running


@dataclass
class Caller:
    """Submits as the API does, and looks where a run is."""

    database: Database
    client: Client

    async def submit(self) -> str:
        request = GenerationCreate.model_validate(FAKE)
        plan = plan_generation(request, load_catalog(engine_models({}), {}))
        submission = Submission(tenant_id="default", request=request, plan=plan, request_id="req")
        generation_id = await accept(self.database, submission)

        async def connected() -> Client:
            return self.client

        await Dispatcher(self.database, connected).deliver()
        return generation_id

    async def version(self, generation_id: str) -> str:
        """On which version it last did something; empty for none."""
        description = await self.client.get_workflow_handle(generation_id).describe()
        return description.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id

    async def on(self, generation_id: str, version: str) -> None:
        """Wait until it is on this version, and until its step waits for somebody to do it."""

        async def look() -> bool:
            raw = (await self.client.get_workflow_handle(generation_id).describe()).raw_description
            return await self.version(generation_id) == version and len(raw.pending_activities) == 1

        await eventually(look, lambda: f"{generation_id} is not on {version!r}")

    async def succeeds(self, generation_id: str) -> None:
        async def look() -> bool:
            async with self.database.reading() as session:
                row = await generations.get(session, "default", generation_id)
            assert row is not None
            return row.status == "succeeded"

        await eventually(look, lambda: f"{generation_id} does not succeed")


@pytest.fixture
async def caller(deployment: Deployment) -> AsyncIterator[Caller]:
    database = Database(deployment.settings.database_url)
    yield Caller(database, await connect(deployment.settings.temporal))
    await database.dispose()


async def test_an_upgrade_as_the_guide_has_it(deployment: Deployment, caller: Caller) -> None:
    make_v1_current = documented("set-current-version", "v1")
    make_v2_current = documented("set-current-version", "v2")

    # From workers without a version to the first one: what is open moves over.
    deployment.start("plain", "gp-workflows")
    before = await caller.submit()
    await caller.on(before, "")
    deployment.start("v1", "gp-workflows", "v1")
    await deployment.type(make_v1_current)
    first = await caller.submit()
    await caller.on(first, "v1")
    deployment.stop("plain")

    # The next one, at first for a part of what is new, then for all of it. What is open stays where it is.
    deployment.start("v2", "gp-workflows", "v2")
    await deployment.type(documented("set-ramping-version", "--percentage"))
    assert "10" in await deployment.type(documented("deployment describe "))
    await deployment.type(documented("workflow list"))
    await deployment.type(documented("set-ramping-version", "--delete"))
    await deployment.type(make_v2_current)
    second = await caller.submit()
    await caller.on(second, "v2")
    await caller.on(first, "v1")

    # Somebody does the steps of all versions, and each run ends where it began.
    deployment.start("fake", "gp-fake", "v1")
    for generation_id in (before, first, second):
        await caller.succeeds(generation_id)
    assert [await caller.version(one) for one in (first, second)] == ["v1", "v2"]
    assert await caller.version(before) == "v2", "it moves with its next task, to what is current then"
    deployment.stop("fake")

    # Back, and forth again.
    await deployment.type(make_v1_current)
    third = await caller.submit()
    await caller.on(third, "v1")
    await deployment.type(make_v2_current)

    # The old one is retired, with a run still open on it, which ends on the new one.
    async def one_is_open() -> bool:
        return "1" in await deployment.type(documented("workflow count", "v1"))

    await eventually(one_is_open)
    await deployment.type(documented("update-options"))
    deployment.stop("v1")
    await deployment.type(documented("describe-version"))
    deployment.start("fake", "gp-fake")
    await caller.succeeds(third)
    assert await caller.version(third) == "v2"

    await deployment.type(documented("TemporalChangeVersion"))
    assert {one for one in COMMANDS if one.startswith("temporal ")} == deployment.used, "each command is tried"


async def test_a_worker_says_which_version_it_is(deployment: Deployment) -> None:
    deployment.start("v7", "gp-workflows", "v7")
    deployment.start("plain", "gp-workflows")

    async def both_are_ready() -> bool:
        return all('"worker.ready"' in deployment.log(name).read_text() for name in ("v7", "plain"))

    await eventually(both_are_ready)
    assert '"version": "genpulse:v7"' in deployment.log("v7").read_text()
    assert '"version": null' in deployment.log("plain").read_text()


@pytest.mark.parametrize("given", [{"deployment_name": "genpulse"}, {"build_id": "v1"}])
def test_name_and_build_id_go_together(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="go together"):
        WorkerSettings.model_validate(given)
