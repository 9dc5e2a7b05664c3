"""Recorded histories as files: one folder for each version of GenPulse, and in it one for each type of workflow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

from genpulse import __version__

FOLDER = Path(__file__).with_name("histories")
#: Where `make histories` writes. The folders of earlier versions stay as they are for as long as runs of theirs do.
PRESENT = FOLDER / __version__


@dataclass(frozen=True)
class Recorded:
    """A history in its file."""

    file: Path

    @property
    def type(self) -> str:
        return self.file.parent.name

    @property
    def path(self) -> str:
        """Without the number that tells runs of one path apart."""
        return self.file.stem.partition(".")[0]

    @property
    def name(self) -> str:
        return self.file.relative_to(FOLDER).with_suffix("").as_posix()

    def load(self) -> WorkflowHistory:
        return WorkflowHistory.from_json(self.name, self.file.read_text(encoding="utf-8"))


def recorded(folder: Path = FOLDER) -> list[Recorded]:
    """All of them, in a stable order."""
    return [Recorded(file) for file in sorted(folder.rglob("*.json"))]


def write(workflow_type: str, path: str, histories: Iterable[WorkflowHistory]) -> None:
    """Put the histories of a path in the place of those that were there."""
    folder = PRESENT / workflow_type
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{path}.*json"):
        old.unlink()
    for number, history in enumerate(histories, start=1):
        text = json.dumps(_without_whereabouts(history.to_json_dict()), indent=1)
        (folder / f"{path}.{number}.json").write_text(f"{text}\n", encoding="utf-8")


def _without_whereabouts(node: Any) -> Any:
    """Without names of machines and processes, and without stack traces, which name folders; nothing replays those."""
    if isinstance(node, list):
        return [_without_whereabouts(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _without_whereabouts(value) for name, value in node.items() if name != "stackTrace"}
    if kept.get("kind") == "TASK_QUEUE_KIND_STICKY":
        kept["name"] = "recorded"  # a sticky queue is named after the machine
    return kept | ({"identity": "recorded"} if "identity" in kept else {})
