"""What a ComfyUI server answers with, and what its errors mean."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from genpulse.errors import GenPulseError, ProviderFailed, ProviderRejected
from genpulse.providers.wire import Answer

_MOST_ERRORS = 5
_MEDIA = ("image/", "video/", "audio/")


class _Error(BaseModel):
    type: str = ""
    message: str
    details: str = ""
    extra_info: dict[str, Any] = Field(default_factory=dict)

    @property
    def input(self) -> str:
        return str(self.extra_info.get("input_name", self.details))


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
        kind, _ = mimetypes.guess_type(self.filename)
        return self.type == "output" and bool(kind) and str(kind).startswith(_MEDIA)


class _Status(BaseModel):
    status_str: str = ""
    messages: list[tuple[str, dict[str, Any]]] = Field(default_factory=list)


class Entry(BaseModel):
    """A run that has ended."""

    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    status: _Status = Field(default_factory=_Status)

    def files(self) -> Iterator[File]:
        """What was made, node by node; the kind of a file is told by its name, not by where it stands."""
        for made in self.outputs.values():
            for several in made.values():
                for one in several if isinstance(several, list) else ():
                    if isinstance(one, dict) and "filename" in one:
                        file = File.model_validate(one)
                        if file.is_result:
                            yield file

    def failure(self) -> GenPulseError | None:
        """What it ended with, unless well. Tracebacks have the server's paths in them and are left out."""
        for name, told in self.status.messages:
            if name == "execution_interrupted":
                return ProviderRejected("comfyui: the run was interrupted.")
            if name == "execution_error":
                where = f"node {told.get('node_id')} ({told.get('node_type')})"
                kind = str(told.get("exception_type", ""))
                said = str(told.get("exception_message", "")).strip() or kind or "failed"
                return ProviderFailed(f"comfyui: {where}: {said}", exception=kind)
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


class Nothing(BaseModel):
    """Many answers are empty."""

    @model_validator(mode="before")
    @classmethod
    def _whatever(cls, _value: Any) -> Any:
        return {}


def refused(answer: Answer) -> GenPulseError | None:
    """A workflow that is not accepted, with the nodes and inputs that are at fault."""
    if answer.status == 500 and not isinstance(answer.data, dict):
        return ProviderRejected("comfyui: a node crashed while the workflow was checked.")
    if answer.status != 400:
        return None
    try:
        refusal = _Refusal.model_validate(answer.data)
    except ValidationError:
        return None
    where = refusal.error.extra_info.get("node_id")
    said = told(refusal.node_errors) or refusal.error.message + (f" (node {where})" if where else "")
    return ProviderRejected(f"comfyui: {said}", error_type=refusal.error.type)


def told(nodes: Mapping[str, NodeErrors]) -> str:
    """The first errors of nodes in a clause each, or nothing."""
    each = (
        f"node {node_id} ({node.class_type}), input {error.input}: {error.message}"
        for node_id, node in nodes.items()
        for error in node.errors
    )
    return "; ".join(islice(each, _MOST_ERRORS))
