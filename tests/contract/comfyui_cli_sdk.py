# requires: comfy-cli==1.23.0
"""ComfyUI's command line against the simulated server, which has to answer at the root of a port for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SAMPLER = {"seed": 7, "steps": 5, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
LINKS = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
WORKFLOW = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["1", 1]}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "4": {"class_type": "KSampler", "inputs": SAMPLER | LINKS},
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
}


def comfy(home: Path, *arguments: str) -> list[dict[str, Any]]:
    """What the command says, line by line; its last line is the result."""
    command = [Path(sys.executable).parent / "comfy", "--skip-prompt", *arguments]
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def run(home: Path, server: str, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    file = home / "workflow.json"
    file.write_text(json.dumps(workflow))
    at = urlsplit(server)
    where = ["--host", str(at.hostname), "--port", str(at.port)]
    return comfy(home, "--json-stream", "run", "--workflow", str(file), *where, "--wait")


def main(server: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        comfy(home, "tracking", "disable")

        told = run(home, server, WORKFLOW)
        kinds = [one["type"] for one in told]
        result = told[-1]
        assert result["ok"], result
        assert "progress" in kinds, kinds
        assert "executed" in kinds, kinds
        (url,) = result["data"]["outputs"]
        assert urllib.request.urlopen(url, timeout=10).read(4) == b"\x89PNG"
        print("made", url)

        result = run(home, server, WORKFLOW)[-1]
        assert result["ok"], result
        assert result["data"]["outputs"] == [url], result
        print("had it already")

        wrong = WORKFLOW | {"3": {"class_type": "Unheard", "inputs": {}}}
        result = run(home, server, wrong)[-1]
        assert not result["ok"], result
        print("refused:", result["error"]["message"])


if __name__ == "__main__":
    main(sys.argv[1])
