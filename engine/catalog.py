"""From a name in the catalogue to files on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.families import Family, family_of
from genpulse.errors import ModelUnavailable
from genpulse.schemas.catalog import EngineModel

SHIPPED = Path(__file__).parent / "models"
_PACKAGE = "package:"
_INDEX = "model_index.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model whose files are there and whose kind we know how to run."""

    name: str
    model: EngineModel
    folder: Path
    class_name: str
    family: Family

    @property
    def file_bytes(self) -> int:
        """The size of the weights on disk: a first guess of the memory needed."""
        return sum(file.stat().st_size for file in self.folder.rglob("*.safetensors"))


class Catalog:
    """The models that this worker was told of. Offline, nothing is ever fetched."""

    def __init__(self, models: Mapping[str, EngineModel], *, offline: bool = True) -> None:
        self._models = models
        self._offline = offline

    def model(self, name: str) -> EngineModel:
        """Return the entry of that name."""
        if name not in self._models:
            known = ", ".join(sorted(self._models)) or "none"
            raise ModelUnavailable(
                f"This worker has no local model {name!r} (it has: {known}). Add it to GENPULSE_ENGINE__MODELS.",
                field="model",
            )
        return self._models[name]

    def resolve(self, name: str) -> Recipe:
        """Find the files of a pipeline and tell what they are."""
        model = self.model(name)
        folder = self._folder(name, model)
        class_name = _class_name(name, folder)
        family = family_of(class_name)
        if family is None:
            raise ModelUnavailable(f"Model {name!r} is a {class_name}, a class that docs/engine.md does not list.")
        return Recipe(name=name, model=model, folder=folder, class_name=class_name, family=family)

    def _folder(self, name: str, model: EngineModel) -> Path:
        source = model.source
        if source.startswith(_PACKAGE):
            return SHIPPED / source.removeprefix(_PACKAGE)
        folder = Path(source).expanduser()
        if folder.is_dir() or not _HUB_ID.fullmatch(source):
            return folder
        return self._hub_folder(name, model)

    def _hub_folder(self, name: str, model: EngineModel) -> Path:
        from diffusers import DiffusionPipeline

        try:
            return Path(
                DiffusionPipeline.download(
                    model.source,
                    revision=model.revision,
                    variant=model.variant,
                    use_safetensors=True,
                    local_files_only=self._offline,
                )
            )
        except (OSError, ValueError) as error:  # what huggingface_hub raises for "not there", on any side
            raise ModelUnavailable(
                f"Model {name!r}: {model.source} is not in the Hugging Face cache of this worker. Fetch it with "
                f"`hf download {model.source}`, or name a folder as its source, or set GENPULSE_ENGINE__OFFLINE=false."
            ) from error


def _class_name(name: str, folder: Path) -> str:
    try:
        class_name = json.loads((folder / _INDEX).read_bytes())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"Model {name!r}: no readable {_INDEX} in {folder}. Put a diffusers pipeline there, as saved by "
            f"save_pretrained with safetensors."
        ) from error
    # A list names a class in a file beside the weights: somebody else's code, which is not run.
    return class_name if isinstance(class_name, str) else "pipeline with code of its own"
