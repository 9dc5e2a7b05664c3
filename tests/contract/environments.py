"""Virtual environments for programs that use packages which GenPulse does not depend on."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "contract"
_FIRST_LINE = re.compile(r"# requires:((?: [\w.\[\],-]+==[\w.+!]+)+)")


def requirements(program: Path) -> list[str]:
    """What the first line of a program asks for: `# requires: package==version`, several with spaces between them."""
    with program.open(encoding="utf-8") as lines:
        first = _FIRST_LINE.fullmatch(next(lines, "").rstrip("\n"))
    if first is None:
        raise ValueError(f"{program.name} must begin with a line '# requires: package==version'.")
    return first[1].split()


def environment(wanted: Sequence[str], cache: Path = CACHE) -> Path:
    """The Python of an environment that has these packages; it is built once for all processes and runs."""
    facts = "\n".join((platform.python_implementation(), sys.version, *sorted(wanted)))
    folder = cache / hashlib.sha256(facts.encode()).hexdigest()[:16]
    python, complete = folder / "bin" / "python", folder / "complete"
    with _locked(folder.with_suffix(".lock")):
        if not (complete.exists() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)  # half-built
            venv.create(folder, symlinks=True)
            _install(python, wanted)
            complete.write_text("\n".join(wanted) + "\n")
    return python


def _install(python: Path, wanted: Sequence[str]) -> None:
    """By this environment's pip. What is never imported need not be compiled: SDKs have thousands of modules."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    command = [*pip, "install", "--quiet", "--prefer-binary", "--no-compile", *wanted]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(
            f"pip could not install {' '.join(wanted)}. The contract tests need a package index that has them.\n"
            + ran.stderr[-4000:]
        )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
