"""Two products under one account: Ark, which takes an API key, and Visual, whose requests are signed with a pair."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, TypeVar
from urllib.parse import urlsplit

import httpx

from genpulse.errors import ProviderAuthFailed
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.volcengine.ark import Images, Videos
from genpulse.providers.volcengine.model import ModelWire, Product
from genpulse.providers.volcengine.visual import Visual

Part = TypeVar("Part", Images, Videos, Visual)

_ARK_PATH = "/api/v3"
_ARK_HOSTS = (".volces.com", ".bytepluses.com")


class Volcengine(Provider):
    """No product has an idempotency key. Video tasks can be listed and carry a mark of ours, so a lost one is found."""

    name: ClassVar[str] = "volcengine"
    default_url: ClassVar[str] = f"https://ark.cn-beijing.volces.com{_ARK_PATH}"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        url = (base_url or self.default_url).rstrip("/")
        key, access, secret = credentials.api_key, credentials.access_key, credentials.secret_key
        self._images = Images(url, key, client) if key else None
        self._videos = Videos(url, key, client) if key else None
        self._visual = Visual(_visual_url(url), access, secret, client) if access and secret else None

    async def submit(self, call: ModelCall) -> Job | Finished:
        match _product(call):
            case Product.IMAGE:
                return await _needed(self._images, "api_key").make(call)
            case Product.VIDEO:
                return await _needed(self._videos, "api_key").submit(call)
            case Product.VISUAL_AT_ONCE:
                return await _needed(self._visual, "access_key and secret_key").make(call)
        return await _needed(self._visual, "access_key and secret_key").submit(call)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        if _product(call) is Product.VISUAL:
            return await _needed(self._visual, "access_key and secret_key").poll(job)
        return await _needed(self._videos, "api_key").poll(job)

    async def cancel(self, job: Job) -> None:
        """Ark alone, and only what has not begun; whether Visual's tasks can be cancelled at all is not known."""
        if "req_key" not in job.handle:
            await _needed(self._videos, "api_key").cancel(job)

    def can_find(self, call: ModelCall) -> bool:
        return _product(call) is Product.VIDEO and self._videos is not None and self._videos.can_find(call)

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:
        return await _needed(self._videos, "api_key").find(call, sent_at=sent_at)


def _product(call: ModelCall) -> Product:
    return ModelWire.model_validate(call.wire).product


def _needed(part: Part | None, what: str) -> Part:
    if part is None:
        raise ProviderAuthFailed(f"volcengine: this model needs {what} of GENPULSE_PROVIDERS__VOLCENGINE__….")
    return part


def _visual_url(ark_url: str) -> str:
    """Ark's own hosts do not serve Visual; any other host, such as a gateway, serves both."""
    host = urlsplit(ark_url).hostname or ""
    return Visual.default_url if host.endswith(_ARK_HOSTS) else ark_url.removesuffix(_ARK_PATH)
