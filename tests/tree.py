"""The files of the project, as git sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def project_files(*under: str) -> list[str]:
    """Those that git does not ignore, all or in these folders; also where the sources are no checkout."""
    with TemporaryDirectory() as folder:
        repository = ROOT / ".git"
        if not repository.exists():
            subprocess.run(["git", "init", "--quiet", folder], check=True)
            repository = Path(folder) / ".git"
        tree = ["--git-dir", str(repository), "--work-tree", str(ROOT)]
        command = ["git", *tree, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *under]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]
