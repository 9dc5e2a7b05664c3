"""The models of clouds, as data: one file per cloud, each entry in the form of a `ModelSpec`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.queues import provider_queue

_FOLDER = files(__name__)
_FIELDS = "fields"
CLOUDS = tuple(sorted({Path(file.name).stem for file in _FOLDER.iterdir() if file.name.endswith(".toml")} - {_FIELDS}))
#: The table of a file that says what all of its models have in common.
_EVERY_MODEL = "*"


def cloud_models(clouds: Iterable[str] = CLOUDS) -> Iterator[ModelSpec]:
    """Every model of these clouds."""
    common = _read(_FIELDS)
    for cloud in clouds:
        entries = _read(cloud)
        shared = entries.pop(_EVERY_MODEL, {})
        for name, entry in entries.items():
            for operation in entry["operations"].values():
                operation["fields"] = {
                    field: common[field] | differing for field, differing in operation["fields"].items()
                }
            ours = {"provider": cloud, "name": name, "queue": provider_queue(cloud)}
            yield ModelSpec.model_validate(ours | shared | entry)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(_FOLDER.joinpath(f"{name}.toml").read_text("utf-8"))
