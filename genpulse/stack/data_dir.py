"""The folder of an embedded stack: `run/<name>.pid`, `logs/<name>.log`, `secrets/`, and the lock that guards it."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genpulse.stack.errors import StackError

DATA_DIR_VARIABLE = "GENPULSE_DATA_DIR"
_ADMIN_KEY = "admin_key"
_LOG_LINE = 400


class DataDir:
    """Paths in the folder, and the little that is written there by the supervisor itself."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def pid_file(self, name: str) -> Path:
        return self.path / "run" / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def log_tail(self, name: str, *, lines: int = 15) -> str:
        """The end of a process's log, to show beside an error."""
        try:
            with self.log_file(name).open(encoding="utf-8", errors="replace") as log:
                return "\n".join(line.rstrip()[:_LOG_LINE] for line in deque(log, lines))
        except FileNotFoundError:
            return ""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; the system lets go of it when this process ends, however it ends.

        Raises StackError when another stack runs on it.
        """
        for folder in ("run", "logs", "secrets"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        (self.path / "secrets").chmod(0o700)
        with (self.path / "lock").open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StackError(
                    f"GenPulse already runs on {self.path} (process {file.read().strip()}); stop it first, or choose "
                    "another folder with --data-dir."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def admin_key(self) -> str:
        """The bootstrap key; made when first asked for."""
        return self._secret(_ADMIN_KEY, prefix="gp_admin_")

    def signing_key(self) -> str:
        """The key that signs links to assets; kept, so that links stay valid over a restart."""
        return self._secret("signing_key")

    def _secret(self, name: str, *, prefix: str = "") -> str:
        file = self.path / "secrets" / name
        if file.exists():
            return file.read_text("ascii").strip()
        value = prefix + secrets.token_urlsafe(32)
        # Complete or not there at all: half a key would be used for ever.
        draft = file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
            opened.write(value + "\n")
        draft.replace(file)
        return value

    def clean_up_former_run(self) -> None:
        """Remove pid files that a killed supervisor left, and end what still runs of it. Call it with the lock held."""
        for file in (self.path / "run").glob("*.pid"):
            pid = _read_pid(file)
            if pid is not None and self._is_ours(pid):
                os.kill(pid, signal.SIGKILL)
            file.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        # A number can belong to another program by now: ours were started with this folder in their environment.
        # Where there is no /proc, a child that outlived its supervisor is left alone.
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"{DATA_DIR_VARIABLE}={self.path}".encode() in environment.split(b"\0")


def read_admin_key(data_dir: Path) -> str | None:
    """The key that the stack on this folder made, if this user may read it."""
    try:
        return (data_dir / "secrets" / _ADMIN_KEY).read_text("ascii").strip()
    except OSError:
        return None


def _read_pid(file: Path) -> int | None:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None
