"""Which processes make up the embedded stack, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Never, TypeVar

import httpx

from genpulse.simulator.accounts import all_variables
from genpulse.stack.data_dir import DATA_DIR_VARIABLE, DataDir
from genpulse.stack.errors import StackError
from genpulse.stack.ports import LOOPBACK, Ports
from genpulse.stack.process import ProcessSpec, Report, SupervisedProcess
from genpulse.stack.temporal import dev_server_command, prepare_namespace

T = TypeVar("T")

_ADDRESS = "GENPULSE_TEMPORAL__ADDRESS"
_UI_URL = "GENPULSE_TEMPORAL__UI_URL"
_NAMESPACE = "GENPULSE_TEMPORAL__NAMESPACE"
_ADMIN_KEY = "GENPULSE_SECURITY__ADMIN_KEY"
_SIGNING_KEY = "GENPULSE_SECURITY__SIGNING_KEY"
_GRACE = "GENPULSE_WORKER__GRACEFUL_SECONDS"
_HOST = "GENPULSE_SERVER__HOST"
_PORT = "GENPULSE_SERVER__PORT"

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - recognised, not listened on

_DEFAULT_GRACE = 30.0
_LEAVING_SECONDS = 10.0
_READY_SECONDS = 120.0
_PAUSE = 0.1

#: A process that fails this often while the stack starts will not come up by itself.
_HOPELESS_FAILURES = 3

#: Inference takes every core for seconds. On a machine that is fully busy the API must still answer at once, so
#: everything that works in the background steps back.
_BACKGROUND = 19

#: torch's threads must not spin while they wait, which would take the cores from everyone; and models lie on disk.
_ENGINE_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

_WORKERS = {"worker": "gp-workflows,gp-upkeep,gp-provider-*,gp-fake,gp-webhooks", "worker-gpu": "gp-gpu"}


class EmbeddedStack:
    """A running stack: where it is, and its processes by name."""

    def __init__(
        self,
        data_dir: DataDir,
        environment: Mapping[str, str],
        specs: list[ProcessSpec],
        report: Report,
        *,
        simulator_url: str = "",
    ) -> None:
        self.data_dir = data_dir
        self.environment = environment
        self.api_url = f"http://{_reachable_host(environment)}:{environment[_PORT]}"
        self.temporal_address = environment[_ADDRESS]
        self.ui_url = environment.get(_UI_URL, "")
        self.simulator_url = simulator_url
        self.admin_key = environment[_ADMIN_KEY]
        self._processes = {spec.name: SupervisedProcess(spec, data_dir, report) for spec in specs}

    def pid(self, name: str) -> int | None:
        """The process id of `api`, `worker`, `worker-gpu` or `temporal`; None while it does not run."""
        return self._processes[name].pid

    async def start(self, *names: str) -> None:
        """Start these processes, which are not running."""
        await asyncio.gather(*(self._processes[name].start() for name in names))

    async def stop(self, *names: str) -> None:
        """Stop these processes gently and side by side, and leave them stopped."""
        await asyncio.gather(*(self._processes[name].stop() for name in names))

    async def bring_up(self) -> None:
        """Start everything; return once a submission would work. Raises StackError when that will not happen."""
        await self.start(*self._servers)
        await _migrate(self.data_dir, self.environment)  # while Temporal starts
        if "temporal" in self._servers:
            await prepare_namespace(self.temporal_address, _namespace(self.environment))
        await self.start("api", *_WORKERS)
        await self.guard(self.wait_until_ready())

    async def bring_down(self) -> None:
        """Stop everything that runs. Interrupted in the middle, it kills what is left."""
        # Workers first, while all that they need to finish or hand back their work is there; the API next, so that
        # whoever watches sees that; Temporal last, for both talk to it.
        try:
            await self.stop(*_WORKERS)
            await self.stop("api")
            await self.stop(*self._servers)
        except BaseException:
            for process in self._processes.values():
                process.kill()
            raise

    @property
    def _servers(self) -> tuple[str, ...]:
        """What our own processes talk to."""
        return tuple(name for name in ("temporal", "simulator") if name in self._processes)

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work that needs the stack. Raises StackError, with the log, when a process keeps ending meanwhile."""
        working, watching = asyncio.create_task(work), asyncio.create_task(self._watch())
        try:
            await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else await watching
        finally:
            working.cancel()
            watching.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def wait_until_ready(self) -> None:
        """Return once a submission would work. Raises StackError when that takes too long."""
        deadline = time.monotonic() + _READY_SECONDS
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            for name, url in self._ready_urls().items():
                while not await _answers(client, url):
                    if time.monotonic() > deadline:
                        raise StackError(_with_log(f"{name} did not become ready", self.data_dir, name))
                    await asyncio.sleep(_PAUSE)

    def _ready_urls(self) -> dict[str, str]:
        """Where those who are talked to answer with 200 once they are ready."""
        urls = {"api": f"{self.api_url}/readyz"}
        if self.simulator_url:
            urls["simulator"] = f"{self.simulator_url}/_control/jobs"
        return urls

    async def _watch(self) -> Never:
        while True:
            for name, process in self._processes.items():
                if process.failures >= _HOPELESS_FAILURES:
                    raise StackError(_with_log(f"{name} keeps ending", self.data_dir, name))
            await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def embedded_stack(
    data_dir: Path,
    *,
    ports: Ports = Ports(),  # noqa: B008 - immutable
    environment: Mapping[str, str] | None = None,
    simulate: bool = False,
    niceness: int = _BACKGROUND,
    report: Report = lambda _sentence: None,
) -> AsyncIterator[EmbeddedStack]:
    """Start the stack, wait until it is ready, and stop it at the end. With `simulate`, every cloud without
    an account is the simulator. `niceness` is that of all but the API.

    What is set in this process's environment, or in `environment`, wins over what the stack would choose: with a
    Temporal address of its own no server is started. Raises StackError when the stack cannot start.
    Run it in the main thread: the children end with the thread that started them.
    """
    folder = DataDir(data_dir)
    given = {name: value for name, value in {**os.environ, **(environment or {})}.items() if value}
    with folder.locked():
        folder.clean_up_former_run()
        ports = ports.settled(temporal_runs_here=_ADDRESS not in given)
        settings = _environment(folder, ports, given)
        simulator_url = f"http://{LOOPBACK}:{ports.simulator}" if simulate else ""
        if simulate:
            settings |= all_variables(simulator_url, given)
        specs = _specs(settings, niceness)
        if simulate:
            specs.append(_simulator(ports, settings, niceness))
        if _ADDRESS not in given:
            specs.append(_temporal(folder, ports, settings, niceness))
        stack = EmbeddedStack(folder, settings, specs, report, simulator_url=simulator_url)
        try:
            await stack.bring_up()
            yield stack
        finally:
            await stack.bring_down()


def _environment(folder: DataDir, ports: Ports, given: Mapping[str, str]) -> dict[str, str]:
    defaults = {_ADMIN_KEY: folder.admin_key(), _SIGNING_KEY: folder.signing_key()}
    if _ADDRESS not in given:
        defaults |= {_ADDRESS: f"{LOOPBACK}:{ports.temporal}", _UI_URL: f"http://{LOOPBACK}:{ports.ui}"}
    return {**defaults, **given, DATA_DIR_VARIABLE: str(folder.path), _PORT: str(ports.api)}


def _specs(environment: Mapping[str, str], niceness: int) -> list[ProcessSpec]:
    api = ProcessSpec(name="api", command=_genpulse("api"), environment=environment)
    return [api, *(_worker(name, queues, environment, niceness) for name, queues in _WORKERS.items())]


def _worker(name: str, queues: str, environment: Mapping[str, str], niceness: int) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=_genpulse("worker", "--queues", queues),
        environment={**_ENGINE_ENVIRONMENT, **environment},
        niceness=niceness,
        stop_seconds=_grace(environment) + _LEAVING_SECONDS,
    )


def _simulator(ports: Ports, environment: Mapping[str, str], niceness: int) -> ProcessSpec:
    command = _genpulse("simulate", "--host", LOOPBACK, "--port", str(ports.simulator))
    return ProcessSpec(name="simulator", command=command, environment=environment, niceness=niceness)


def _grace(environment: Mapping[str, str]) -> float:
    try:
        return float(environment[_GRACE])
    except (KeyError, ValueError):  # a value that is no number is reported by the processes themselves
        return _DEFAULT_GRACE


def _temporal(folder: DataDir, ports: Ports, environment: Mapping[str, str], niceness: int) -> ProcessSpec:
    command = dev_server_command(
        port=ports.temporal,
        ui_port=ports.ui,
        database=folder.path / "temporal.db",
        namespace=_namespace(environment),
    )
    # Our secrets are none of its business; the folder says whose process it is.
    public = {name: value for name, value in environment.items() if not name.startswith("GENPULSE_")}
    return ProcessSpec(
        name="temporal",
        command=command,
        environment={**public, DATA_DIR_VARIABLE: str(folder.path)},
        niceness=niceness,
    )


def _genpulse(*arguments: str) -> tuple[str, ...]:
    # -P: a file `worker.py` in the folder where someone types `genpulse up` is theirs, not ours.
    return (sys.executable, "-P", "-m", "genpulse.cli", *arguments)


def _namespace(environment: Mapping[str, str]) -> str:
    return environment.get(_NAMESPACE, "default")


def _reachable_host(environment: Mapping[str, str]) -> str:
    host = environment.get(_HOST, LOOPBACK)
    return LOOPBACK if host in _EVERY_ADDRESS else host


async def _migrate(folder: DataDir, environment: Mapping[str, str]) -> None:
    # In a process of its own, because the settings are those of the children's environment and not of ours.
    with folder.log_file("migrate").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *_genpulse("migrate"), env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    if await process.wait():
        raise StackError(_with_log("The database could not be prepared", folder, "migrate"))


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _with_log(sentence: str, folder: DataDir, name: str) -> str:
    return f"{sentence}; the end of {folder.log_file(name)}:\n{folder.log_tail(name)}"
