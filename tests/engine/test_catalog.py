"""Where models come from, and what is said when they are not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from engine.catalog import SHIPPED, Catalog
from engine.loader import load_pipeline
from genpulse.errors import ModelUnavailable
from genpulse.schemas.catalog import EngineModel


def catalog(source: str, **changes: object) -> Catalog:
    return Catalog({"it": EngineModel.model_validate({"source": source} | changes)})


def test_package_sources_lie_beside_the_code():
    with pytest.raises(ModelUnavailable) as caught:
        catalog("package:nothing").resolve("it")
    assert str(SHIPPED / "nothing") in caught.value.message
    assert Path("engine") / "models" == Path(*SHIPPED.parts[-2:])


@pytest.mark.parametrize("source", ["", "/nowhere", "./nowhere", "~/nowhere"])
def test_a_missing_folder_is_named_with_what_belongs_there(source):
    with pytest.raises(ModelUnavailable, match="save_pretrained with safetensors"):
        catalog(source).resolve("it")


def test_a_hub_model_that_was_not_fetched_is_not_fetched_now(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", None)
    with pytest.raises(ModelUnavailable, match="hf download somebody/some-model"):
        catalog("somebody/some-model").resolve("it")


def test_a_hub_model_is_found_in_the_cache(monkeypatch, tmp_path, tiny_model):
    snapshot = tmp_path / "models--somebody--some-model" / "snapshots" / ("a" * 40)
    shutil.copytree(tiny_model("sd").source, snapshot)
    (tmp_path / "models--somebody--some-model" / "refs").mkdir()
    (tmp_path / "models--somebody--some-model" / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    recipe = catalog("somebody/some-model").resolve("it")
    assert recipe.folder == snapshot
    assert recipe.class_name == "StableDiffusionPipeline"


@pytest.mark.parametrize(
    "index",
    ["[]", "{}", "nonsense", '{"_class_name": "UnheardOfPipeline"}', '{"_class_name": ["mine.py", "MyPipeline"]}'],
)
def test_an_index_that_names_no_known_class_is_refused(tmp_path, index):
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(ModelUnavailable):
        catalog(str(tmp_path)).resolve("it")


def test_pickled_weights_are_not_read(tmp_path, tiny_model):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_model("sd").source, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_pipeline(catalog(str(folder)).resolve("it"), "cpu")


@pytest.mark.parametrize("damage", ["truncated", "other shape"])
def test_damaged_weights_are_refused(tmp_path, tiny_model, damage):
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_model("sd").source, folder)
    if damage == "truncated":
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        config = folder / "unet" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"block_out_channels": [32, 64]}))
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_pipeline(catalog(str(folder)).resolve("it"), "cpu")


@pytest.mark.parametrize(
    ("wish", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_the_dtype_is_the_wish_or_what_suits_the_device(tiny_model, wish, expected):
    model = tiny_model("sd", dtype=wish)
    pipe = load_pipeline(Catalog({"it": model}).resolve("it"), "cpu").value
    assert pipe.unet.dtype == expected


def test_a_loaded_model_is_ready_to_run(tiny_model):
    resident = load_pipeline(Catalog({"it": tiny_model("flux")}).resolve("it"), "cpu")
    modules = [part for part in resident.value.components.values() if isinstance(part, torch.nn.Module)]
    assert not any(module.training for module in modules)
    stored = sum(file.stat().st_size for file in Path(tiny_model("flux").source).rglob("*.safetensors"))
    assert resident.size == pytest.approx(stored, rel=0.1)
