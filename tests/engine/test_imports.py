"""Importing the engine is cheap; the API and workflow code may do it."""

from __future__ import annotations

import subprocess
import sys

CHECK = """
import sys
import engine.local, engine.fake
from pathlib import Path
engine.local.LocalEngine({}, cache_bytes=0, cache_dir=Path())
heavy = {"torch", "diffusers", "transformers", "safetensors", "av"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def test_importing_the_engine_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
