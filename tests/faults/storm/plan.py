"""How large a storm is, and who asks for what in it: all of it follows from a seed."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from genpulse.catalog import engine_models, load_catalog
from genpulse.catalog.clouds import CLOUDS
from genpulse.schemas.catalog import ModelSpec
from tests.matrix import FAMILIES

#: What the callers ask for besides the clouds: steps on this machine alone, and a cloud with another one behind it.
_FAKE: dict[str, Any] = {"model": "local/fake", "operation": "text-to-image", "input": {}}
_CHAIN: dict[str, Any] = {
    "steps": [
        {"id": "first", "model": "local/fake", "operation": "text-to-image", "input": {}},
        {"id": "second", "model": "local/fake", "operation": "text-to-image", "input": {}},
    ]
}
_WITH_A_FALLBACK: dict[str, Any] = {
    "model": "kling/kling-3.0",
    "operation": "text-to-video",
    "input": {},
    "fallbacks": ["minimax/MiniMax-H3"],
}
_REQUESTS = [*FAMILIES.values(), *[_FAKE] * 4, *[_CHAIN] * 2, *[_WITH_A_FALLBACK] * 2]

_CANCELED = 0.04
_SENT_TWICE = 0.04
_CHANGES_ITS_MIND_WITHIN = 4.0

#: Of all that is sent to clouds, but for files: five in a hundred fail and would not a moment later, two hang, and one
#: job in a hundred is made without an answer, or called back about twice.
_FAULTS: list[dict[str, Any]] = [
    {"type": "server_error", "share": 0.02},
    {"type": "connection_reset", "share": 0.01},
    {"type": "rate_limited", "retry_after": 1, "share": 0.02},
    {"type": "hung", "share": 0.02},
    {"type": "lost_answer", "share": 0.01},
    {"type": "duplicated_callbacks", "share": 0.01},
]


#: More than all of it can cost, and a balance all the same: what is held has to be there.
CREDITS = 100_000_000
PRICE = {"unit": "call", "credits": 7}


def unpriced_models() -> list[str]:
    """Those that are asked for and have no price in the catalogue."""
    catalog = load_catalog(engine_models({}), CLOUDS)
    steps = [step for request in _REQUESTS for step in request.get("steps", [request])]
    asked = {name for step in steps for name in (step["model"], *step.get("fallbacks", []))}
    return sorted(name for name in asked if not _has_price(catalog.get(name)))


def _has_price(model: ModelSpec) -> bool:
    return all(model.price_of(operation) for operation in model.operations)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What one caller asks for, when (from 0 to 1 of the storm), and what it does besides."""

    number: int
    key: str
    prompt: str
    request: dict[str, Any]
    moment: float
    cancels_after: float | None
    sends_twice: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`kills` are of each server, `seconds` those over which submissions and kills are spread."""

    generations: int = 2000
    kills: int = 20
    seconds: float = 900.0
    patience: float = 900.0
    """Seconds more, after which whatever has not ended is given up."""
    at_once: int = 250
    hang: float | None = None
    """Seconds after which a call that hangs is cut off; none: our own time-outs have to do it."""
    seed: int = 1
    folder: Path | None = None
    """Where the state and the logs are to stay; none: they are gone at the end."""

    @classmethod
    def from_environment(cls) -> Self:
        """`GENPULSE_STORM_GENERATIONS` and so on."""
        kinds = {"generations": int, "kills": int, "seconds": float, "patience": float, "at_once": int, "hang": float}
        kinds |= {"seed": int, "folder": Path}
        given = {name: os.environ.get(f"GENPULSE_STORM_{name.upper()}") for name in kinds}
        return cls(**{name: kinds[name](value) for name, value in given.items() if value})

    def chance(self, purpose: str) -> random.Random:
        """A chance of its own for each purpose, so that a change of one leaves the others as they were."""
        return random.Random(f"{self.seed} {purpose}")

    def faults(self) -> list[dict[str, Any]]:
        """What the simulated clouds do wrong."""
        seeded = [fault | {"seed": self.seed} for fault in _FAULTS]
        return [fault | {"seconds": self.hang} if fault["type"] == "hung" else fault for fault in seeded]

    def wishes(self) -> Iterator[Wish]:
        """One for each generation. Every request is among them about as often as every other."""
        chance = self.chance("wishes")
        deck: list[dict[str, Any]] = []
        for number in range(self.generations):
            if not deck:
                deck = random.Random(chance.random()).sample(_REQUESTS, len(_REQUESTS))
            prompt = f"a red circle, number {number} of storm {self.seed}"
            cancels = chance.random() < _CANCELED
            yield Wish(
                number=number,
                key=f"storm-{self.seed}-{number}",
                prompt=prompt,
                request=_asked(deck.pop(), prompt),
                moment=number / self.generations,
                cancels_after=chance.uniform(0, _CHANGES_ITS_MIND_WITHIN) if cancels else None,
                sends_twice=chance.random() < _SENT_TWICE,
            )


def _asked(request: dict[str, Any], prompt: str) -> dict[str, Any]:
    """The request with a prompt that no other one has, by which the simulated clouds' jobs are told apart."""
    asked = copy.deepcopy(request)
    for step in asked.get("steps", [asked]):
        if "workflow" in step["input"]:
            step["input"]["workflow"]["words"] = {"class_type": "CLIPTextEncode", "inputs": {"text": prompt}}
        else:
            step["input"]["prompt"] = prompt
    return asked
