"""The caller's options, put on top of a request of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def joined(ours: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Our request with the caller's options on top; objects join objects, however deep."""
    return {**ours, **{name: _with(ours.get(name), value) for name, value in options.items()}}


def _with(ours: Any, theirs: Any) -> Any:
    return joined(ours, theirs) if isinstance(ours, Mapping) and isinstance(theirs, Mapping) else theirs
