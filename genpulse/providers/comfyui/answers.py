"""What a ComfyUI server answers with, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from genpulse.errors import GenPulseError, ProviderFailed, ProviderRejected
from genpulse.providers.comfyui.graph import behind
from genpulse.providers.wire import Answer

_MOST_ERRORS = 5
_MOST_TEXT = 300
#: By these names the nodes of a server know files; Python's own table differs from machine to machine.
SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
}


class _Error(BaseModel):
    type: str = ""
    message: str
    details: str = ""
    extra_info: dict[str, Any] = Field(default_factory=dict)

    @property
    def input(self) -> str:
        return str(self.extra_info.get("input_name", self.details))

    def told(self) -> str:
        """The message names the kind of error; which value, file or list it was stands in the details, if anywhere."""
        more = self.details.strip()[:_MOST_TEXT]
        return f"input {self.input}: {self.message}" + (f" ({more})" if more not in ("", self.input) else "")


class NodeErrors(BaseModel):
    class_type: str = ""
    errors: list[_Error]


class _Refusal(BaseModel):
    error: _Error
    node_errors: dict[str, NodeErrors] = Field(default_factory=dict)


class Accepted(BaseModel):
    """Node errors may come along with an acceptance: what is in order runs, the rest is left out."""

    prompt_id: str = Field(min_length=1)
    node_errors: dict[str, NodeErrors] = Field(default_factory=dict)


class Uploaded(BaseModel):
    name: str = Field(min_length=1)
    subfolder: str = ""

    @property
    def path(self) -> str:
        return f"{self.subfolder}/{self.name}" if self.subfolder else self.name


class File(BaseModel):
    """One file that a node has made; `temp` ones are previews."""

    filename: str
    subfolder: str = ""
    type: str = "output"

    @property
    def is_result(self) -> bool:
        return self.type == "output" and PurePosixPath(self.filename).suffix.lower() in SUFFIXES


class _Status(BaseModel):
    status_str: str = ""
    messages: list[tuple[str, dict[str, Any]]] = Field(default_factory=list)


class Entry(BaseModel):
    """A run that has ended."""

    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    status: _Status = Field(default_factory=_Status)

    def results(self) -> list[File]:
        """What was saved, node by node; the kind of a file is told by its name, not by where it stands.

        Raises ProviderRejected where there are files, but none that could be a result.
        """
        files = list(self._files())
        results = [file for file in files if file.is_result]
        if files and not results:
            names = ", ".join(file.filename for file in files[:_MOST_ERRORS])
            raise ProviderRejected(
                f"comfyui: the run saved no picture, video or sound, and made only {names}; previews have to be saved, "
                "as by SaveImage."
            )
        return results

    def _files(self) -> Iterator[File]:
        for made in self.outputs.values():
            for several in made.values():
                for one in several if isinstance(several, list) else ():
                    if isinstance(one, dict) and "filename" in one:
                        yield File.model_validate(one)

    def failure(self) -> GenPulseError | None:
        """What it ended with, unless well. Tracebacks have the server's paths in them and are left out."""
        for name, told in self.status.messages:
            if name == "execution_interrupted":
                return ProviderRejected("comfyui: the run was interrupted.")
            if name == "execution_error":
                where = f"node {told.get('node_id')} ({told.get('node_type')})"
                kind = str(told.get("exception_type", ""))
                said = str(told.get("exception_message", "")).strip() or kind or "failed"
                return ProviderFailed(f"comfyui: {where}: {said}", node=str(told.get("node_id")), exception=kind)
        return ProviderFailed("comfyui: the run failed.") if self.status.status_str == "error" else None


class History(BaseModel):
    """Runs by id; empty for one that is unknown, or has not ended."""

    runs: dict[str, Entry]

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"runs": value}


class Queue(BaseModel):
    """Each item is a list: its number, its id, and what it is."""

    queue_running: list[list[Any]]
    queue_pending: list[list[Any]]

    def has(self, job_id: str) -> bool:
        return self.runs(job_id) or any(job_id in item[1:2] for item in self.queue_pending)

    def runs(self, job_id: str) -> bool:
        return any(job_id in item[1:2] for item in self.queue_running)

    def nodes(self, job_id: str) -> int:
        """How many nodes the running one is made of."""
        for item in self.queue_running:
            match item:
                case [_, id_, dict(workflow), _, list(outputs), *_] if id_ == job_id:
                    return len(behind(outputs, workflow))
        return 0


class Nothing(BaseModel):
    """Many answers are empty."""

    @model_validator(mode="before")
    @classmethod
    def _whatever(cls, _value: Any) -> Any:
        return {}


def refused(answer: Answer) -> GenPulseError | None:
    """A workflow that is not accepted, with the nodes and inputs that are at fault."""
    if answer.status == 500 and answer.headers.get("Content-Type", "").startswith("text/plain"):  # no proxy's page
        return ProviderRejected("comfyui: a node crashed while the workflow was checked.")
    if answer.status != 400:
        return None
    try:
        refusal = _Refusal.model_validate(answer.data)
    except ValidationError:
        return None
    where = refusal.error.extra_info.get("node_id")
    more = f"node {where}" if where else refusal.error.details[:_MOST_TEXT]
    said = told(refusal.node_errors) or refusal.error.message + (f" ({more})" if more else "")
    return ProviderRejected(f"comfyui: {said}", error_type=refusal.error.type)


def told(nodes: Mapping[str, NodeErrors]) -> str:
    """The first errors of nodes in a clause each, or nothing."""
    each = (
        f"node {node_id} ({node.class_type}), {error.told()}"
        for node_id, node in nodes.items()
        for error in node.errors
    )
    return "; ".join(islice(each, _MOST_ERRORS))
