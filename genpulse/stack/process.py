"""One child process that is kept alive."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from genpulse.stack.data_dir import DataDir

_FIRST_DELAY = 0.25
_LONGEST_DELAY = 10.0

#: A process that ran this long was well: when it ends, it is started again without having to wait.
_STABLE_SECONDS = 30.0

Report = Callable[[str], None]
"""Told about what a person at the terminal should know, a sentence at a time."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run. The command starts with the path of its program."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    niceness: int = 0
    stop_seconds: float = 10.0


class SupervisedProcess:
    """Runs a command, writes its pid file and log, and starts it again when it ends."""

    def __init__(self, spec: ProcessSpec, data_dir: DataDir, report: Report) -> None:
        self.spec = spec
        self.failures = 0
        """How often it has ended on its own without having been stable before."""
        self._data_dir = data_dir
        self._report = report
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it; return once it has a pid."""
        assert self._keeper is None, f"{self.spec.name} runs already"
        self._stopping.clear()
        self._process = await self._spawn()
        self._keeper = asyncio.create_task(self._keep_alive(self._process), name=f"keep {self.spec.name} alive")

    async def stop(self) -> None:
        """Ask it to end, and kill it when its time is up."""
        self._stopping.set()
        if self._keeper is None:
            return
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([self._keeper], timeout=self.spec.stop_seconds)
        if not done:
            self._report(f"{self.spec.name} took longer than {self.spec.stop_seconds:.0f} s to stop and was killed.")
            self.kill()
        await self._keeper
        self._keeper = None

    def kill(self) -> None:
        """End it at once, for good."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep_alive(self, process: asyncio.subprocess.Process) -> None:
        delay = _FIRST_DELAY
        while True:
            started = time.monotonic()
            code = await process.wait()
            self._data_dir.pid_file(self.spec.name).unlink(missing_ok=True)
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _STABLE_SECONDS:
                delay, self.failures = _FIRST_DELAY, 0
            self.failures += 1
            self._report(f"{self.spec.name} ended ({_reason(code)}) and is started again.")
            again = await self._start_again(delay)
            if again is None:
                return
            self._process = process = again
            delay = min(2 * delay, _LONGEST_DELAY)
            if self._stopping.is_set():  # asked for while it was being started
                self._signal(signal.SIGTERM)

    async def _start_again(self, delay: float) -> asyncio.subprocess.Process | None:
        """The next process, as soon as the machine has what it needs, such as space for its log; None when stopping."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return None
            try:
                return await self._spawn()
            except OSError as error:
                delay = min(2 * delay, _LONGEST_DELAY)
                self._report(f"{self.spec.name} could not be started ({error}); the next try is in {delay:g} s.")

    async def _spawn(self) -> asyncio.subprocess.Process:
        child = Path(__file__).with_name("child.py")
        wrapper = (sys.executable, "-I", "-S", str(child), str(os.getpid()), str(self.spec.niceness))
        with self._data_dir.log_file(self.spec.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *wrapper,
                *self.spec.command,
                env=self.spec.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches the supervisor alone, which stops all in the right order. A group and not a session of
                # its own: among sessions Linux shares out the processor without regard to `nice`.
                process_group=0,
            )
        try:
            self._data_dir.pid_file(self.spec.name).write_text(f"{process.pid}\n", "ascii")
        except OSError:  # nobody would find it again
            process.kill()
            await process.wait()
            raise
        return process


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"
