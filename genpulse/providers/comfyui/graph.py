"""A workflow in API format, and how a caller's values get into it: by the titles of its nodes, `INPUT_<name>`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genpulse.errors import InvalidInput

_PREFIX = "INPUT_"
#: Which of a node's inputs a value belongs to, where its name does not say.
_USUAL = ("value", "text", "image", "video", "audio", "file", "seed", "noise_seed", "string", "number")
_ONLY_LIVE = "SaveImageWebsocket"


class _Meta(BaseModel):
    model_config = ConfigDict(extra="allow")

    title: str = ""


class Node(BaseModel):
    """One node. An input is a value, or a link: the id of another node and the number of its output."""

    model_config = ConfigDict(extra="allow")

    class_type: str = Field(min_length=1)
    inputs: dict[str, Any] = Field(default_factory=dict)
    meta: _Meta = Field(default_factory=_Meta, alias="_meta")

    @property
    def name(self) -> str | None:
        """What callers know it as."""
        return self.meta.title.removeprefix(_PREFIX) if self.meta.title.startswith(_PREFIX) else None

    def free_inputs(self) -> list[str]:
        """Those that hold a value and no link."""
        return [name for name, value in self.inputs.items() if not isinstance(value, list)]


class Graph:
    """A workflow that is filled in."""

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        """Raises InvalidInput for what is no workflow in API format."""
        if "nodes" in workflow and "links" in workflow:
            raise InvalidInput(
                "This is a workflow as the editor saves it; export it with `Export (API)`.", field="input.workflow"
            )
        self._nodes = {key: _node(key, value) for key, value in workflow.items()}
        if not self._nodes:
            raise InvalidInput("The workflow has no nodes.", field="input.workflow")
        for key, node in self._nodes.items():
            if node.class_type == _ONLY_LIVE:
                raise InvalidInput(
                    f"Node {key} ({_ONLY_LIVE}) sends its picture only to who listens while it runs; use SaveImage.",
                    field=f"input.workflow.{key}",
                )
        self._body = copy.deepcopy(dict(workflow))

    def fill(self, name: str, value: Any, field: str) -> None:
        """Put a value where the workflow wants it: into every node of that title. Raises InvalidInput without one."""
        keys = [key for key, node in self._nodes.items() if node.name == name]
        if not keys:
            titles = sorted({f"{_PREFIX}{node.name}" for node in self._nodes.values() if node.name})
            known = f"its titles are {', '.join(titles)}" if titles else "it has no INPUT_ titles"
            raise InvalidInput(f"No node of the workflow is titled {_PREFIX}{name}; {known}.", field=field)
        for key in keys:
            for target, one in self._targets(key, name, value, field):
                self._body[key].setdefault("inputs", {})[target] = one

    def _targets(self, key: str, name: str, value: Any, field: str) -> Iterator[tuple[str, Any]]:
        node = self._nodes[key]
        if isinstance(value, dict):  # several inputs of the node by their own names
            yield from value.items()
            return
        free = node.free_inputs()
        wanted = next((one for one in (name, *_USUAL) if one in free), free[0] if len(free) == 1 else None)
        if wanted is None:
            raise InvalidInput(
                f"Node {key} ({node.class_type}) has the inputs {', '.join(free) or 'none'}; say which: "
                f'`"{name}": {{"<input>": …}}` in `workflow_inputs`.',
                field=field,
            )
        yield wanted, value

    def body(self) -> dict[str, Any]:
        return self._body


def _node(key: str, value: Any) -> Node:
    try:
        return Node.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(
            f"Node {key} of the workflow has no `class_type` and `inputs`: give it in API format, as "
            "`Export (API)` makes it.",
            field=f"input.workflow.{key}",
        ) from error
