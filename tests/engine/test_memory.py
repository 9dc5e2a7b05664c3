"""A real shortage of memory, made with a limit on the address space of a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("resource", reason="the limit is POSIX")

STORY = """
    import resource, sys
    from pathlib import Path
    from engine.local import LocalEngine
    from genpulse.errors import OutOfMemory
    from genpulse.schemas.catalog import EngineModel
    from genpulse.schemas.engine import EngineTask
    from genpulse.schemas.states import Operation

    source, folder = sys.argv[1], Path(sys.argv[2])
    model = EngineModel(source=source, native=(64, 64), min_side=64, max_side=8192, steps=1, max_count=8)
    engine = LocalEngine({"sd": model, "other": model}, cache_bytes=2**30, cache_dir=folder, device="cpu")

    def run(name="sd", **changes):
        task = EngineTask(model=name, operation=Operation.TEXT_TO_IMAGE, prompt="x", seed=1, **changes)
        return engine.run(task, out_dir=folder, on_progress=lambda done: None)

    run("other")
    run(width=256, height=256)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 112 * 2**20, resource.RLIM_INFINITY))

    try:
        run(width=8192, height=8192)
    except OutOfMemory as error:
        print("refused:", error.message)
    assert not list(folder.glob("*.part"))
    assert "other" not in engine._store, "whatever is idle makes room"
    print("then:", run().files[0].name)
    print("together:", len(run(width=256, height=256, count=8).files))
"""


@pytest.mark.timeout(600)  # a second process loads the libraries
def test_running_out_is_reported_with_sizes_and_the_engine_goes_on(tiny_model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(STORY), tiny_model("sd").source, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    refused, then, together = done.stdout.splitlines()
    assert refused.startswith("refused: Too little memory for 8192x8192 by sd on cpu: ")
    assert "smaller size" in refused
    assert then == "then: 0.png"
    assert together == "together: 8", "eight at once do not fit here, one by one they do"
