"""Requests that try whatever the catalogue has, and the tables of docs/providers.md that say what came of them.

A test fails where a table is untrue; with `GENPULSE_WRITE_MATRIX` set (`make matrix`) it is written anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genpulse.schemas.catalog import FieldSpec, ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation

PAGE = Path(__file__).parents[1] / "docs/providers.md"
WRITING = bool(os.environ.get("GENPULSE_WRITE_MATRIX"))

WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
PROMPT = {"prompt": "a red circle"}
PICTURE, VIDEO = "text-to-image", "text-to-video"


def _ask(model: str, operation: str = VIDEO, **given: Any) -> dict[str, Any]:
    return {"model": model, "operation": operation, "input": PROMPT | given}


def _larger(model: str) -> dict[str, Any]:
    """A picture made here, and enlarged by the model."""
    return {
        "steps": [
            {"id": "picture", "model": "local/fake", "operation": PICTURE, "input": PROMPT},
            {"id": "larger", "model": model, "input": PROMPT | {"image": {"step": "picture"}}},
        ]
    }


#: For each way in which a cloud takes work, one request.
FAMILIES: dict[str, dict[str, Any]] = {
    "baidu": _ask("baidu/k2.6"),
    "baidu at once": _ask("baidu/qwen-image", PICTURE),
    "baidu vod": _ask("baidu/vod-vq2"),
    "baidu open platform": _ask("baidu/painting-advanced", PICTURE),
    "bfl": _ask("bfl/flux-2-pro", PICTURE),
    "comfyui": {"model": "comfyui/workflow", "operation": "comfy-workflow", "input": {"workflow": WORKFLOW}},
    "dashscope": _ask("dashscope/wan2.7-t2v"),
    "dashscope at once": _ask("dashscope/qwen-image-max", PICTURE),
    "fal": _ask("fal/flux-schnell", PICTURE),
    "google": _ask("google/gemini-omni-1.2-flash"),
    "google at once": _ask("google/gemini-3-pro-image", PICTURE),
    "google vertex": _ask("google/veo-3.1"),
    "kling": _ask("kling/kling-3.0"),
    "kling older": _ask("kling/kling-v3"),
    "kling at once": _ask("kling/speech", "text-to-speech", voice="oversea_male1")
    | {"provider_options": {"voice_language": "en"}},
    "luma": _ask("luma/ray-3.2"),
    "luma dream machine": _ask("luma/ray-2"),
    "minimax": _ask("minimax/MiniMax-H3"),
    "minimax at once": _ask("minimax/image-01", PICTURE),
    "openai": _ask("openai/gpt-image-2", PICTURE),
    "replicate": _ask("replicate/flux-schnell", PICTURE),
    "runway": _ask("runway/gen4.5"),
    "stability": _larger("stability/upscale-creative"),
    "stability at once": _ask("stability/core", PICTURE),
    "tencent vod": _ask("tencent/kling-3.0"),
    "tencent vclm": _ask("tencent/vclm-kling-3.0"),
    "tencent aiart": _ask("tencent/text-to-image-pro", PICTURE),
    "tencent hub": _ask("tencent/hy-video-1.5"),
    "tencent hub task": _ask("tencent/hy-image-3.0-task", PICTURE),
    "tencent hub at once": _ask("tencent/hy-image-3.0", PICTURE),
    "vidu": _ask("vidu/viduq3-pro"),
    "volcengine ark": _ask("volcengine/seedance-2"),
    "volcengine ark at once": _ask("volcengine/seedream-4", PICTURE),
    "volcengine visual": _ask("volcengine/jimeng-4", PICTURE),
}
_SAMPLES: dict[str, Any] = {
    "prompt": "a red circle",
    "voice": "male-qn-qingse",
    "workflow": WORKFLOW,
    "scale": 2,
    "fps": 60,
    "duration": 5,
    "aspect_ratio": "1:1",
    "resolution": "720p",
}
#: What else a model must be given, which its fields cannot say.
_NEEDED: dict[str, dict[str, Any]] = {
    "baidu/denoise": {"provider_options": {"option": 50}},
    "bfl/flux-pro-1.0-expand": {"provider_options": {"top": 64}},
    "dashscope/qwen-mt-image": {"provider_options": {"source_lang": "en", "target_lang": "zh"}},
    "dashscope/wanx-style-repaint-v1": {"provider_options": {"style_index": 3}},
    "kling/effects": {"provider_options": {"effect_scene": "squish"}},
    "kling/image-expand": {"provider_options": {"left_expansion_ratio": 0.5}},
    "kling/speech": {"provider_options": {"voice_language": "en"}},
    "minimax/video-template": {"provider_options": {"template_id": "393769180141805569"}},
}
#: Fields of which a model needs one or the other.
_CHOSEN = {
    "bfl/flux-pro-1.0-fill": ("mask",),
    "kling/avatar": ("audio",),
    "kling/effects": ("image",),
    "kling/lip-sync": ("video", "audio"),
    "kling/video-sound": ("video",),
    "runway/act_two": ("image",),
    "vidu/lip-sync": ("prompt",),
}


def least(spec: ModelSpec, operation: Operation, files: Mapping[MediaKind, Any]) -> dict[str, Any]:
    """The request with only what this model must be given; `files` are references to an input file of each kind."""
    fields = spec.operations[operation].fields
    chosen = _CHOSEN.get(spec.id, ())
    given = {name: _sample(name, field, files) for name, field in fields.items() if field.required or name in chosen}
    return {"model": spec.id, "operation": operation.value, "input": given} | _NEEDED.get(spec.id, {})


def _sample(name: str, field: FieldSpec, files: Mapping[MediaKind, Any]) -> Any:
    if name in MEDIA_FIELDS:
        file = files[MEDIA_FIELDS[name]]
        return [file] if field.type == "images" else file
    if field.enum:
        return field.enum[0]
    if field.default is not None:
        return field.default
    return _SAMPLES[name]


def hold(table: str, head: Sequence[str], rows: Mapping[str, Sequence[str]], *, whole: bool = False) -> None:
    """Assert that the rows of a table say this; with `whole`, that there are no others."""
    before, lines, after = _parts(table)
    known = {_key(line): line for line in lines[2:]}
    told = {key: _line([key, *cells]) for key, cells in rows.items()}
    if WRITING:
        rows_now = told if whole else dict(sorted((known | told).items()))
        lines = [_line(head), "|" + "---|" * len(head), *rows_now.values()]
        PAGE.write_text(before + "\n".join(lines) + after, "utf-8")
        return
    assert lines[0] == _line(head), "docs/providers.md has other columns; `make matrix` writes them"
    stale = [line for key, line in told.items() if known.get(key) != line]
    left = sorted(known.keys() - told.keys()) if whole else []
    assert not stale, f"docs/providers.md says otherwise; if this is right, `make matrix` writes it: {stale}"
    assert not left, f"docs/providers.md has rows that are no more: {left}"


def _parts(table: str) -> tuple[str, list[str], str]:
    """The page around a table, and the lines of the table."""
    start, end = f"<!-- {table} -->\n\n", f"\n\n<!-- /{table} -->"
    before, _, rest = PAGE.read_text("utf-8").partition(start)
    body, _, after = rest.partition(end)
    assert after, f"docs/providers.md has no table {table!r}"
    return before + start, body.splitlines(), end + after


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _key(line: str) -> str:
    return line.split("|")[1].strip()
