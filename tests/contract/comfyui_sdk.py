# requires: comfy-sdk==0.5.0 comfy-api-proxy==0.1.6
"""ComfyUI's SDK, through its own proxy, against the simulated server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comfy_sdk import Comfy, InvalidWorkflow, JobFailed

WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
WRONG = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 64, "batch_size": 1, "color": 0}},
    "2": WORKFLOW["2"],
}


@contextmanager
def proxy(server: str) -> Iterator[str]:
    """The SDK speaks the API of the hosted service; this is what puts that in front of a server of one's own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "comfy-api-proxy", "run", "--comfyui", server, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def put_faults(base: str, faults: list[dict[str, object]]) -> None:
    body = json.dumps(faults).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}/_control/faults/comfyui", body, headers, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def main(base: str) -> None:
    with proxy(f"{base}/comfyui") as address:
        os.environ["COMFY_BASE_URL"] = address
        comfy = Comfy()
        job = comfy.run(comfy.workflows.from_json(WORKFLOW))
        (output,) = job.outputs
        assert output.to_bytes().startswith(b"\x89PNG"), output
        print("made", output.name, output.content_type)

        try:
            comfy.run(comfy.workflows.from_json(WRONG))
        except InvalidWorkflow as error:
            print("refused:", error)
        else:
            raise AssertionError("a width of 0 was accepted")

        put_faults(base, [{"type": "fails", "times": 1}])
        try:
            comfy.run(comfy.workflows.from_json(WORKFLOW))
        except JobFailed as error:
            print("failed:", error)
        else:
            raise AssertionError("a node that raises made something")

        put_faults(base, [{"type": "stuck", "times": 1}])
        waiting = comfy.submit(comfy.workflows.from_json(WORKFLOW))
        while waiting.status != "running":  # one that still waits leaves no trace
            time.sleep(0.1)
            waiting.refresh()
        waiting.cancel()
        while waiting.status in ("running", "canceling"):
            time.sleep(0.1)
            waiting.refresh()
        assert waiting.status == "canceled", waiting.status
        print("canceled", waiting.id)


if __name__ == "__main__":
    main(sys.argv[1])
