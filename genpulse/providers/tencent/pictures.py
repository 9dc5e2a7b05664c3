"""aiart and tiia: pictures from pictures, made within the answer."""

from __future__ import annotations

import base64

import httpx
from pydantic import Base64Bytes

from genpulse.errors import InvalidInput
from genpulse.providers.base import Finished, ModelCall, Output
from genpulse.providers.tencent.api3 import Api, Pascal
from genpulse.providers.tencent.model import needed, wire_of, with_options

_ENHANCE = "EnhanceImage"
_MOST_TEXT = {"aiart": 6_000_000, _ENHANCE: 4_000_000}  # of base64


class PictureRequest(Pascal):
    """`Ratio`, `Mask` and `Prompt` are each one action's own."""

    input_image: str
    ratio: str | None = None
    mask: str | None = None
    prompt: str | None = None
    rsp_img_type: str = "url"


class EnhanceRequest(Pascal):
    image_base64: str


class _Made(Pascal):
    result_image: str | None = None


class _Enhanced(Pascal):
    enhanced_image: Base64Bytes | None = None


class Pictures:
    """Has neither keys nor jobs: a call whose answer was lost stays unknown."""

    def __init__(
        self, aiart_url: str, tiia_url: str, client: httpx.AsyncClient, *, keys: tuple[str, str], region: str
    ) -> None:
        self._aiart = Api(aiart_url, client, service="aiart", version="2022-12-29", keys=keys, region=region)
        self._tiia = Api(tiia_url, client, service="tiia", version="2019-05-29", keys=keys, region=region)

    async def make(self, call: ModelCall) -> Finished:
        wire = wire_of(call)
        if wire.action == _ENHANCE:
            return await self._enhance(call)
        mask = call.one("mask")
        request = PictureRequest(
            input_image=_sent_along(call, _MOST_TEXT["aiart"]),
            ratio=call.input.get("aspect_ratio"),
            mask=mask.base64() if mask else None,
            prompt=call.input.get("prompt"),
        )
        body = with_options(request.body() | wire.always, call.options)
        made = await self._aiart.pay(wire.action, _Made, body, patient=True)
        return Finished(outputs=_picture(made.result_image))

    async def _enhance(self, call: ModelCall) -> Finished:
        body = EnhanceRequest(image_base64=_sent_along(call, _MOST_TEXT[_ENHANCE])).body()
        made = await self._tiia.pay(_ENHANCE, _Enhanced, with_options(body, call.options), patient=True)
        return Finished(outputs=[Output(content=made.enhanced_image)] if made.enhanced_image else [])


def _picture(made: str | None) -> list[Output]:
    """A link, or base64 where the options ask for that."""
    if not made:
        return []
    if made.startswith(("http://", "https://")):
        return [Output(url=made)]
    return [Output(content=base64.b64decode(made))]


def _sent_along(call: ModelCall, most: int) -> str:
    text = needed(call, "image").base64()
    if len(text) > most:
        raise InvalidInput(
            f"`image` of {call.model} has at most {most // 4 * 3 / 1e6:g} MB; make it smaller.", field="image"
        )
    return text
