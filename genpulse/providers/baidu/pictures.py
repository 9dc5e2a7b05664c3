"""Qianfan's pictures, made within the answer."""

from __future__ import annotations

import httpx
from pydantic import Base64Bytes, BaseModel

from genpulse.providers.baidu.model import size, wire_of
from genpulse.providers.base import Finished, ModelCall, Output
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire

PATIENCE = httpx.Timeout(300.0, connect=10.0, pool=10.0)


class PictureRequest(BaseModel):
    """New pictures and edits; which fields there are is the model's to say."""

    model: str
    prompt: str
    negative_prompt: str | None = None
    image: str | list[str] | None = None
    size: str | None = None
    steps: int | None = None
    seed: int | None = None
    guidance: float | None = None


class _Picture(BaseModel):
    url: str | None = None
    b64_json: Base64Bytes | None = None


class _Pictures(BaseModel):
    data: list[_Picture]


class Pictures:
    """A call whose answer was lost stays unknown: nothing that was made can be asked for."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def make(self, call: ModelCall) -> Finished:
        wire, given = wire_of(call), call.input
        links = [file.url_or_data() for name in ("image", "reference_images") for file in call.media.get(name, ())]
        request = PictureRequest(
            model=wire.model,
            prompt=given["prompt"],
            negative_prompt=given.get("negative_prompt"),
            image=links[0] if len(links) == 1 else links or None,
            size=size(call, "x"),
            steps=given.get("steps"),
            seed=given.get("seed"),
            guidance=given.get("guidance"),
        )
        body = joined(request.model_dump(exclude_none=True), call.options)
        made = await self._wire.pay("POST", wire.path, _Pictures, json=body, timeout=PATIENCE)
        outputs = [Output(url=one.url, content=None if one.url else one.b64_json) for one in made.data]
        return Finished(outputs=[one for one in outputs if one.url or one.content])
