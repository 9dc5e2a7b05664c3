"""A workflow in API format, and how a caller's values get into it: by the titles of its nodes, `INPUT_<name>`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genpulse.errors import InvalidInput

_PREFIX = "INPUT_"
_PLURAL, _SINGULAR = "reference_images", "reference_image"
#: What the input of a node is called that a common field belongs to, where not like the field itself.
_CALLED = {
    "prompt": ("text", "string"),
    "negative_prompt": ("text", "string"),
    "voice": ("text", "string"),
    "image": ("image",),
    "last_image": ("image",),
    _SINGULAR: ("image",),
    "mask": ("image",),
    "video": ("video", "file"),
    "audio": ("audio", "file"),
    "seed": ("seed", "noise_seed"),
    "guidance": ("guidance", "cfg"),
    "strength": ("strength", "denoise"),
    "scale": ("scale", "scale_by"),
    "fps": ("fps", "frame_rate"),
    "duration": ("duration", "seconds"),
}
#: Of a node that only holds a value, the input is called so.
_VALUE = "value"
#: A node of this name takes width and height by the names of its inputs.
_SIZE, _SIDES = "size", ("width", "height")
_ONLY_LIVE = "SaveImageWebsocket"
_EXPORT = "In the editor: Workflow, Export (API); older ones have Save (API Format) once the dev mode is switched on."


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

    def __init__(self, workflow: Mapping[str, Any], path: str = "input.workflow") -> None:
        """Raises InvalidInput for what is no workflow in API format; `path` is where the caller wrote it."""
        if isinstance(workflow.get("nodes"), list):
            raise InvalidInput(
                f"This is a workflow as the editor saves it; give it in API format. {_EXPORT}", field=path
            )
        self._nodes = {key: _node(key, value, path) for key, value in workflow.items()}
        if not self._nodes:
            raise InvalidInput("The workflow has no nodes.", field=path)
        for key, node in self._nodes.items():
            if node.class_type == _ONLY_LIVE:
                raise InvalidInput(
                    f"Node {key} ({_ONLY_LIVE}) sends its picture only to who listens while it runs; use SaveImage.",
                    field=f"{path}.{key}",
                )
        self._body = copy.deepcopy(dict(workflow))

    @classmethod
    def of(cls, given: Mapping[str, Any], files: Mapping[str, int], path: str = "input") -> Graph:
        """The workflow of an input with its values in their places; of its files only the number by field is known yet.

        Raises InvalidInput for whatever has no place.
        """
        graph = cls(given["workflow"], f"{path}.workflow")
        for name, value in given.items():
            if name not in ("workflow", "workflow_inputs"):
                graph.fill(name, value, f"{path}.{name}")
        for name, value in given.get("workflow_inputs", {}).items():
            graph.fill(name, value, f"{path}.workflow_inputs.{name}")
        for field, number in files.items():
            for name, where in file_names(field, number):
                graph.fill(name, "", f"{path}.{where}")
        return graph

    def fill(self, name: str, value: Any, field: str) -> None:
        """Put a value where the workflow wants it: into every node of that title. Raises InvalidInput without one."""
        keys = self._titled(name)
        if not keys and name in _SIDES:
            keys = [key for key in self._titled(_SIZE) if name in self._nodes[key].inputs]
        if not keys:
            titles = sorted({f"{_PREFIX}{node.name}" for node in self._nodes.values() if node.name})
            known = f"its titles are {', '.join(titles)}" if titles else f"it has no {_PREFIX} titles"
            raise InvalidInput(f"No node of the workflow is titled {_PREFIX}{name}; {known}.", field=field)
        for key in keys:
            for target, one in self._targets(key, name, value, field):
                self._body[key]["inputs"][target] = one

    def _titled(self, name: str) -> list[str]:
        return [key for key, node in self._nodes.items() if node.name == name]

    def _targets(self, key: str, name: str, value: Any, field: str) -> Iterator[tuple[str, Any]]:
        node = self._nodes[key]
        if isinstance(value, dict):  # several inputs of the node by their own names
            for target in value:
                if target not in node.inputs:  # the server would not say a word
                    raise InvalidInput(
                        f"Node {key} ({node.class_type}) has no input `{target}`, but {_listed(node.inputs)}.",
                        field=f"{field}.{target}",
                    )
            yield from value.items()
            return
        free = node.free_inputs()
        known = (name, *_CALLED.get(_kind(name), ()), _VALUE)
        wanted = next((one for one in known if one in free), free[0] if len(free) == 1 else None)
        if wanted is None:
            raise InvalidInput(
                f"Node {key} ({node.class_type}) has the inputs {_listed(free)}; say which: "
                f'`"{name}": {{"<input>": …}}` in `workflow_inputs`.',
                field=field,
            )
        yield wanted, value

    def body(self) -> dict[str, Any]:
        return self._body


def file_names(field: str, number: int) -> list[tuple[str, str]]:
    """What the workflow calls the files of a field, and where each stands in the input."""
    if field == _PLURAL:
        return [(f"{_SINGULAR}_{index + 1}", f"{field}.{index}") for index in range(number)]
    return [(field, field)]


def behind(outputs: Iterable[str], workflow: Mapping[str, Any]) -> set[str]:
    """The nodes that run for these outputs: they themselves, and all that they hang on."""
    found: set[str] = set()
    left = list(outputs)
    while left:
        key = left.pop()
        if key in found or key not in workflow:
            continue
        found.add(key)
        inputs = workflow[key].get("inputs", {}).values()
        left += [str(one[0]) for one in inputs if isinstance(one, list) and len(one) == 2]
    return found


def _kind(name: str) -> str:
    """The field that a name belongs to: there are several `reference_image_<number>`."""
    stem, _, number = name.rpartition("_")
    return stem if number.isdecimal() else name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _node(key: str, value: Any, path: str) -> Node:
    try:
        return Node.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(
            f"Node {key} of the workflow has no `class_type` and `inputs`: give it in API format. {_EXPORT}",
            field=f"{path}.{key}",
        ) from error
