"""aiart and tiia: pictures from pictures, made within the answer, and pictures from text as jobs."""

from __future__ import annotations

import base64
from itertools import zip_longest

import httpx
from pydantic import Base64Bytes, Field

from genpulse.errors import InvalidInput
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.tencent.api3 import Api, Pascal
from genpulse.providers.tencent.errors import failure
from genpulse.providers.tencent.model import link, needed, wire_of, with_options

_ENHANCE, _BACKGROUND = "EnhanceImage", "ReplaceBackground"
_FAILED, _DONE, _MADE = "4", "5", "Success"
_MOST_TEXT = {"aiart": 6_000_000, _ENHANCE: 4_000_000}  # of base64


class PictureRequest(Pascal):
    """Each action takes some of them; one has another name for its picture, and takes a link alone."""

    input_image: str | None = None
    product_url: str | None = None
    ratio: str | None = None
    mask: str | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    resolution: str | None = None
    rsp_img_type: str = "url"


class JobRequest(Pascal):
    prompt: str
    resolution: str | None = None


class EnhanceRequest(Pascal):
    image_base64: str


class _Made(Pascal):
    result_image: str | None = None


class _Enhanced(Pascal):
    enhanced_image: Base64Bytes | None = None


class _Submitted(Pascal):
    job_id: str = Field(min_length=1)


class _Queried(Pascal):
    """Of several pictures each has a word of its own."""

    job_status_code: str
    job_error_code: str | None = None
    job_error_msg: str | None = None
    result_image: list[str] = Field(default_factory=list)
    result_details: list[str] = Field(default_factory=list)

    def links(self) -> list[str]:
        return [
            link for link, word in zip_longest(self.result_image, self.result_details) if link and word in (None, _MADE)
        ]


class Pictures:
    """Has neither keys nor a list: a call whose answer was lost stays unknown."""

    def __init__(
        self, aiart_url: str, tiia_url: str, client: httpx.AsyncClient, *, keys: tuple[str, str], region: str
    ) -> None:
        self._aiart = Api(aiart_url, client, service="aiart", version="2022-12-29", keys=keys, region=region)
        self._tiia = Api(tiia_url, client, service="tiia", version="2019-05-29", keys=keys, region=region)

    async def make(self, call: ModelCall) -> Finished:
        wire = wire_of(call)
        if wire.action == _ENHANCE:
            return await self._enhance(call)
        mask, by_link = call.one("mask"), wire.action == _BACKGROUND
        request = PictureRequest(
            input_image=None if by_link else _sent_along(call, _MOST_TEXT["aiart"]),
            product_url=link(call, "image") if by_link else None,
            ratio=call.input.get("aspect_ratio"),
            mask=mask.base64() if mask else None,
            prompt=call.input.get("prompt"),
            negative_prompt=call.input.get("negative_prompt"),
            resolution=_size(call),
        )
        body = with_options(request.body() | wire.always, call.options)
        made = await self._aiart.pay(wire.action, _Made, body, patient=True)
        return Finished(outputs=_picture(made.result_image))

    async def submit(self, call: ModelCall) -> Job:
        request = JobRequest(prompt=call.input["prompt"], resolution=_size(call))
        wire = wire_of(call)
        body = with_options(request.body() | wire.always, call.options)
        return Job(id=(await self._aiart.pay(f"Submit{wire.action}", _Submitted, body)).job_id)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        found = await self._aiart.ask(f"Query{wire_of(call).action}", _Queried, {"JobId": job.id})
        if found.job_status_code == _FAILED:
            raise failure(found.job_error_code or "", found.job_error_msg or "the job failed")
        if found.job_status_code != _DONE:
            return Pending()
        return Finished(outputs=[Output(url=link) for link in found.links()])

    async def _enhance(self, call: ModelCall) -> Finished:
        body = EnhanceRequest(image_base64=_sent_along(call, _MOST_TEXT[_ENHANCE])).body()
        made = await self._tiia.pay(_ENHANCE, _Enhanced, with_options(body, call.options), patient=True)
        return Finished(outputs=[Output(content=made.enhanced_image)] if made.enhanced_image else [])


def _size(call: ModelCall) -> str | None:
    return f"{call.input['width']}:{call.input['height']}" if "width" in call.input else None


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
