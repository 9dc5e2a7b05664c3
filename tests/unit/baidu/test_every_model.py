"""Baidu Cloud: every model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genpulse.planning.inputs import check_input
from genpulse.providers.baidu import Baidu
from genpulse.schemas.catalog import ModelSpec, Size
from genpulse.schemas.states import Operation
from tests.clouds import Files, World
from tests.unit.baidu.shared import (
    ALL,
    SPECS,
    call,
    filled,
    least,
)


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Baidu], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    asked = filled(spec, operation, files, every=every)
    check_input({**asked.input, **dict.fromkeys(asked.media, ())}, spec, operation, "input")
    state = await world.made(asked)
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        if output.url is None:
            assert (output.content or b"").startswith(b"\xff\xd8")
        else:
            kind = (await world.http.get(output.url)).headers["Content-Type"]
            assert kind.startswith(str(spec.operations[operation].output))


@pytest.mark.parametrize(
    "spec",
    [spec for spec in SPECS.values() if any(one.sizes for one in spec.operations.values())],
    ids=lambda s: s.name,
)
async def test_every_size_is_made(world: World[Baidu], files: Files, spec: ModelSpec) -> None:
    for operation, specified in spec.operations.items():
        assert specified.sizes is not None
        for width, height in specified.sizes.sizes or (Size(512, 512), Size(2048, 2048)):
            await world.made(
                replace(least(spec.name, files, operation), input={"prompt": "x", "width": width, "height": height})
            )
            (media,) = world.simulator.find_jobs()[-1].media
            assert (media.width, media.height) == (width, height)


def test_what_the_router_may_choose() -> None:
    chosen = {spec.name for spec in SPECS.values() if not spec.hidden}
    assert chosen == {
        *("qwen-image", "qwen-image-edit", "musesteamer-air-image"),
        *("musesteamer-2.1-turbo-i2v", "musesteamer-2.1-lite-i2v", "musesteamer-2.0-turbo-i2v-audio"),
        *("musesteamer-2.0-pro-i2v", "musesteamer-air-i2v"),
        *("k3.0", "k2.6", "k2.5-turbo", "k2.1-master", "k2.1", "k2.0", "k1.6", "k1"),
        *("ko1", "vq3-pro", "vq3-turbo", "qianfan-video", "image-quality-enhance"),
    }


def test_what_has_retired_names_its_successor() -> None:
    retired = {name: spec for name, spec in call.specs.items() if spec.retires_at}
    assert retired["ernie-image-turbo"].successor == "baidu/musesteamer-air-image"
