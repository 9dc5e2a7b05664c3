"""The nodes that the simulated server has, and what is wrong with a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genpulse.simulator.media import Format, Media

_SAMPLERS = ["euler", "dpmpp_2m"]
_SCHEDULERS = ["normal", "karras"]
_CHECKPOINTS = ["sd15.safetensors", "sdxl.safetensors"]
_ANY = "*"


@dataclass(frozen=True)
class NodeClass:
    """`inputs` are in the form of `/object_info`; `saves` is what an output node makes, under which key."""

    inputs: Mapping[str, tuple[Any, dict[str, Any]]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    saves: Format | None = None
    key: str = "images"
    temporary: bool = False
    animated: bool = False

    @property
    def is_output(self) -> bool:
        return self.saves is not None

    def info(self, name: str) -> dict[str, Any]:
        required = {key: [kind, options] if options else [kind] for key, (kind, options) in self.inputs.items()}
        return {
            "input": {"required": required},
            "input_order": {"required": list(required)},
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.outputs),
            "name": name,
            "display_name": name,
            "description": "",
            "python_module": "nodes",
            "category": "simulated",
            "output_node": self.is_output,
        }


def _number(kind: str, least: float, most: float, default: float) -> tuple[str, dict[str, Any]]:
    return kind, {"default": default, "min": least, "max": most}


_PREFIX = {"filename_prefix": ("STRING", {"default": "ComfyUI"})}
_IMAGES: dict[str, tuple[str, dict[str, Any]]] = {"images": ("IMAGE", {})}
CLASSES: dict[str, NodeClass] = {
    "CheckpointLoaderSimple": NodeClass({"ckpt_name": (_CHECKPOINTS, {})}, ("MODEL", "CLIP", "VAE")),
    "CLIPTextEncode": NodeClass({"text": ("STRING", {"multiline": True}), "clip": ("CLIP", {})}, ("CONDITIONING",)),
    "EmptyLatentImage": NodeClass(
        {
            "width": _number("INT", 16, 16384, 512),
            "height": _number("INT", 16, 16384, 512),
            "batch_size": _number("INT", 1, 4096, 1),
        },
        ("LATENT",),
    ),
    "EmptyImage": NodeClass(
        {
            "width": _number("INT", 1, 16384, 512),
            "height": _number("INT", 1, 16384, 512),
            "batch_size": _number("INT", 1, 4096, 1),
            "color": _number("INT", 0, 0xFFFFFF, 0),
        },
        ("IMAGE",),
    ),
    "KSampler": NodeClass(
        {
            "model": ("MODEL", {}),
            "seed": _number("INT", 0, 2**64 - 1, 0),
            "steps": _number("INT", 1, 10000, 20),
            "cfg": _number("FLOAT", 0, 100, 8),
            "sampler_name": (_SAMPLERS, {}),
            "scheduler": (_SCHEDULERS, {}),
            "positive": ("CONDITIONING", {}),
            "negative": ("CONDITIONING", {}),
            "latent_image": ("LATENT", {}),
            "denoise": _number("FLOAT", 0, 1, 1),
        },
        ("LATENT",),
    ),
    "VAEDecode": NodeClass({"samples": ("LATENT", {}), "vae": ("VAE", {})}, ("IMAGE",)),
    "LoadImage": NodeClass({"image": ("STRING", {})}, ("IMAGE", "MASK")),
    "LoadVideo": NodeClass({"file": ("STRING", {})}, ("VIDEO",)),
    "LoadAudio": NodeClass({"audio": ("STRING", {})}, ("AUDIO",)),
    "PrimitiveString": NodeClass({"value": ("STRING", {})}, ("STRING",)),
    "PrimitiveInt": NodeClass({"value": _number("INT", -(2**63), 2**63 - 1, 0)}, ("INT",)),
    "PrimitiveFloat": NodeClass({"value": _number("FLOAT", -1e9, 1e9, 0)}, ("FLOAT",)),
    "CreateVideo": NodeClass({"images": ("IMAGE", {}), "fps": _number("FLOAT", 1, 120, 30)}, ("VIDEO",)),
    "SaveImage": NodeClass({**_IMAGES, **_PREFIX}, saves=Format.PNG),
    "PreviewImage": NodeClass(_IMAGES, saves=Format.PNG, temporary=True),
    "SaveVideo": NodeClass(
        {"video": ("VIDEO", {}), **_PREFIX, "format": (["auto", "mp4"], {}), "codec": (["auto", "h264"], {})},
        saves=Format.MP4,
        animated=True,
    ),
    "SaveAudioMP3": NodeClass({"audio": ("AUDIO", {}), **_PREFIX}, saves=Format.MP3, key="audio"),
}


def media_of(workflow: Mapping[str, Any]) -> dict[str, Media]:
    """What each output node of a workflow makes."""
    inputs = [node.get("inputs", {}) for node in workflow.values()]
    width = next((one["width"] for one in inputs if isinstance(one.get("width"), int)), 512)
    height = next((one["height"] for one in inputs if isinstance(one.get("height"), int)), 512)
    made = {}
    for number, (key, node) in enumerate(workflow.items()):
        saves = CLASSES[node["class_type"]].saves
        if saves is not None:
            made[key] = Media(saves, width, height, variant=number)
    return made


def faults_of(workflow: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What the server finds wrong, by node; classes are known already."""
    found = {key: list(_of_node(node, workflow)) for key, node in workflow.items()}
    return {key: faults for key, faults in found.items() if faults}


def _of_node(node: Mapping[str, Any], workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    given, faults = node.get("inputs", {}), []
    for name, (kind, options) in CLASSES[node["class_type"]].inputs.items():
        if name not in given:
            if "default" not in options and not (isinstance(kind, list) and options):
                faults.append(_fault("required_input_missing", "Required input is missing", name, (kind, options)))
        elif isinstance(given[name], list):
            faults += _of_link(given[name], name, kind, workflow)
        else:
            faults += _of_value(given[name], name, kind, options)
    return faults


def _of_link(link: list[Any], name: str, kind: Any, workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    if len(link) != 2 or link[0] not in workflow:
        return [_fault("exception_during_inner_validation", "Exception when validating inner node", name, (kind, {}))]
    outputs = CLASSES[workflow[link[0]]["class_type"]].outputs
    made = outputs[link[1]] if link[1] < len(outputs) else None
    if made != kind and not isinstance(kind, list):
        return [_fault("return_type_mismatch", "Return type mismatch between linked nodes", name, (kind, {}))]
    return []


def _of_value(value: Any, name: str, kind: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(kind, list):
        listed = value in kind
        return [] if listed else [_fault("value_not_in_list", f"Value not in list: {name}", name, (kind, {}), value)]
    if kind not in ("INT", "FLOAT"):
        return []
    try:
        number = float(value)
    except (TypeError, ValueError):
        said = "Failed to convert an input value to a number"
        return [_fault("invalid_input_type", said, name, (kind, options), value)]
    if number < options["min"]:
        said = f"Value {value} smaller than min of {options['min']}"
        return [_fault("value_smaller_than_min", said, name, (kind, options), value)]
    if number > options["max"]:
        said = f"Value {value} bigger than max of {options['max']}"
        return [_fault("value_bigger_than_max", said, name, (kind, options), value)]
    return []


def _fault(type_: str, said: str, name: str, config: tuple[Any, Any], value: Any = None) -> dict[str, Any]:
    extra = {"input_name": name, "input_config": list(config), "received_value": value}
    return {"type": type_, "message": said, "details": name, "extra_info": extra}
