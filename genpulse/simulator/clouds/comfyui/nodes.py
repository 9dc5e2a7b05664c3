"""The nodes that the simulated server has, and what is wrong with a workflow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genpulse.simulator.media import Format, Media

_SAMPLERS = ["euler", "dpmpp_2m"]
_SCHEDULERS = ["normal", "karras"]
_CHECKPOINTS = ["sd15.safetensors", "sdxl.safetensors"]
_FILE = "FILE"
"""One of the files that were uploaded; shown as a list of them."""
_MOST_LISTED = 20


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

    def info(self, name: str, files: Collection[str]) -> dict[str, Any]:
        shown = {key: (sorted(files) if kind == _FILE else kind, more) for key, (kind, more) in self.inputs.items()}
        required = {key: [kind, options] if options else [kind] for key, (kind, options) in shown.items()}
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
    "LoadImage": NodeClass({"image": (_FILE, {"image_upload": True})}, ("IMAGE", "MASK")),
    "LoadImageMask": NodeClass(
        {"image": (_FILE, {"image_upload": True}), "channel": (["alpha", "red", "green", "blue"], {})}, ("MASK",)
    ),
    "LoadVideo": NodeClass({"file": (_FILE, {"video_upload": True})}, ("VIDEO",)),
    "LoadAudio": NodeClass({"audio": (_FILE, {"audio_upload": True})}, ("AUDIO",)),
    "MaskToImage": NodeClass({"mask": ("MASK", {})}, ("IMAGE",)),
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


def media_of(workflow: Mapping[str, Any]) -> list[tuple[str, Media]]:
    """What the output nodes of a workflow make, each with its node: of pictures as many as the batch has."""
    width, height = _first(workflow, "width", 512), _first(workflow, "height", 512)
    made = []
    for number, (key, node) in enumerate(workflow.items()):
        saves = CLASSES[node["class_type"]].saves
        if saves is not None:
            batch = _first(workflow, "batch_size", 1) if saves.is_image else 1
            made += [(key, Media(saves, width, height, variant=number + 20 * one)) for one in range(batch)]
    return made


def steps_of(node: Mapping[str, Any]) -> int:
    """In how many steps a node tells how far it is."""
    steps = node.get("inputs", {}).get("steps")
    return steps if isinstance(steps, int) and steps > 0 else 1


def behind(outputs: Iterable[str], workflow: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a workflow that these nodes hang on, with them, in the order in which it runs."""
    found: dict[str, Any] = {}
    seen: set[str] = set()

    def visit(key: str) -> None:
        if key in seen or key not in workflow:
            return
        seen.add(key)
        for one in workflow[key].get("inputs", {}).values():
            if isinstance(one, list) and one:
                visit(one[0])
        found[key] = workflow[key]

    for output in outputs:
        visit(output)
    return found


def faults_of(workflow: Mapping[str, Any], files: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """What the server finds wrong, by node; classes are known already. `files` are those that nodes can load."""
    found = {key: list(_of_node(node, workflow, files)) for key, node in workflow.items()}
    return {key: faults for key, faults in found.items() if faults}


def _first(workflow: Mapping[str, Any], name: str, default: int) -> int:
    given = (node.get("inputs", {}).get(name) for node in workflow.values())
    return next((one for one in given if isinstance(one, int)), default)


def _of_node(node: Mapping[str, Any], workflow: Mapping[str, Any], files: Collection[str]) -> list[dict[str, Any]]:
    given, faults = node.get("inputs", {}), []
    for name, (kind, options) in CLASSES[node["class_type"]].inputs.items():
        if name not in given:
            if "default" not in options and not (isinstance(kind, list) and options):
                faults.append(_fault("required_input_missing", "Required input is missing", name, (kind, options)))
        elif isinstance(given[name], list):
            faults += _of_link(given[name], name, kind, workflow)
        elif kind == _FILE:
            faults += _of_file(given[name], name, node["class_type"], files)
        else:
            faults += _of_value(given[name], name, kind, options)
    return faults


def _of_link(link: list[Any], name: str, kind: Any, workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    if len(link) != 2:
        said = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [_fault("bad_linked_input", said, name, (kind, {}), link)]
    if link[0] not in workflow:
        said, details = "Exception when validating inner node", f"'{link[0]}'"
        return [_fault("exception_during_inner_validation", said, name, (kind, {}), details=details)]
    outputs = CLASSES[workflow[link[0]]["class_type"]].outputs
    made = outputs[link[1]] if link[1] < len(outputs) else None
    if made != kind and not isinstance(kind, list):
        said, details = "Return type mismatch between linked nodes", f"{name}, received_type({made}) mismatch"
        return [_fault("return_type_mismatch", said, name, (kind, {}), details=f"{details} input_type({kind})")]
    return []


def _of_file(value: Any, name: str, class_type: str, files: Collection[str]) -> list[dict[str, Any]]:
    if str(value).removesuffix(" [input]") in files:
        return []
    said = f"{name} - Invalid {class_type.removeprefix('Load').removesuffix('Mask').lower()} file: {value}"
    return [_fault("custom_validation_failed", "Custom validation failed for node", name, (_FILE, {}), details=said)]


def _of_value(value: Any, name: str, kind: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(kind, list):
        if value in kind:
            return []
        listed = f"not in {kind}" if len(kind) <= _MOST_LISTED else f"not in (list of length {len(kind)})"
        config: tuple[Any, Any] | None = (kind, {}) if len(kind) <= _MOST_LISTED else None
        details = f"{name}: '{value}' {listed}"
        return [_fault("value_not_in_list", "Value not in list", name, config, value, details=details)]
    if kind not in ("INT", "FLOAT"):
        return []
    try:
        number = float(value)
    except (TypeError, ValueError):
        said = f"Failed to convert an input value to a {kind} value"
        return [_fault("invalid_input_type", said, name, (kind, options), value)]
    if number < options["min"]:
        said = f"Value {value} smaller than min of {options['min']}"
        return [_fault("value_smaller_than_min", said, name, (kind, options), value)]
    if number > options["max"]:
        said = f"Value {value} bigger than max of {options['max']}"
        return [_fault("value_bigger_than_max", said, name, (kind, options), value)]
    return []


def _fault(
    type_: str, said: str, name: str, config: tuple[Any, Any] | None, value: Any = None, *, details: str = ""
) -> dict[str, Any]:
    extra = {"input_name": name, "input_config": list(config) if config else None, "received_value": value}
    return {"type": type_, "message": said, "details": details or name, "extra_info": extra}
