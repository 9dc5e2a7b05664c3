"""The client: Qianfan behind an API key, VOD behind a pair, the Open AI platform behind an application or that pair."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, TypeVar
from urllib.parse import urlsplit

import httpx

from genpulse.errors import ProviderAuthFailed
from genpulse.providers.baidu.errors import refused_by_qianfan, refused_by_vendor
from genpulse.providers.baidu.hosted import Hosted
from genpulse.providers.baidu.keys import pair
from genpulse.providers.baidu.model import Product, wire_of
from genpulse.providers.baidu.muse import HANDLE, Muse
from genpulse.providers.baidu.painting import Painting
from genpulse.providers.baidu.pictures import Pictures
from genpulse.providers.baidu.platform import Platform
from genpulse.providers.baidu.process import Process
from genpulse.providers.baidu.vod import Vod
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.wire import Wire

Part = TypeVar("Part", Pictures, Muse, Hosted, Vod, Process, Painting)

_OWN_HOSTS = "baidubce.com"
_KEY, _PAIR = "api_key", "access_key and secret_key"
_APPLICATION = f"{_PAIR}, or `app_key` and `app_secret` in the options,"


class Baidu(Provider):
    """No product has an idempotency key, and no list tells calls apart: one whose answer was lost stays unknown."""

    name: ClassVar[str] = "baidu"
    default_url: ClassVar[str] = f"https://qianfan.{_OWN_HOSTS}"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        host = partial(_host, (base_url or self.default_url).rstrip("/"))
        self._pictures: Pictures | None = None
        self._muse: Muse | None = None
        self._hosted: Hosted | None = None
        if credentials.api_key:
            headers = {"Authorization": f"Bearer {credentials.api_key}"}
            qianfan = partial(Wire, self.name, host("qianfan"), client, headers=headers)
            self._pictures = Pictures(qianfan(refuse=refused_by_qianfan))
            self._muse = Muse(qianfan(refuse=refused_by_qianfan))
            self._hosted = Hosted(qianfan(refuse=refused_by_vendor))
        keys = pair(credentials.access_key, credentials.secret_key)
        application = pair(credentials.options.get("app_key"), credentials.options.get("app_secret"))
        self._vod = Vod(host("vod.bj"), client, keys=keys) if keys else None
        self._process: Process | None = None
        self._painting: Painting | None = None
        if keys or application:
            platform = Platform(host("aip"), client, application=application, keys=keys)
            self._process, self._painting = Process(platform), Painting(platform)

    async def submit(self, call: ModelCall) -> Job | Finished:
        match wire_of(call).product:
            case Product.PICTURE:
                return await _needed(self._pictures, _KEY).make(call)
            case Product.MUSE:
                return await _needed(self._muse, _KEY).submit(call)
            case Product.VOD:
                return await _needed(self._vod, _PAIR).submit(call)
            case Product.PROCESS:
                return await _needed(self._process, _APPLICATION).make(call)
            case Product.PAINTING:
                return await _needed(self._painting, _APPLICATION).submit(call)
        return await _needed(self._hosted, _KEY).submit(call)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        match wire_of(call).product:
            case Product.MUSE:
                return await _needed(self._muse, _KEY).poll(job)
            case Product.VOD:
                return await _needed(self._vod, _PAIR).poll(job)
            case Product.PAINTING:
                return await _needed(self._painting, _APPLICATION).poll(job, call)
        return await _needed(self._hosted, _KEY).poll(job, call)

    async def cancel(self, job: Job) -> None:
        """MuseSteamer alone, and only what has not begun."""
        if job.handle == HANDLE:
            await _needed(self._muse, _KEY).cancel(job)


def _host(url: str, service: str) -> str:
    """Baidu has a host for each platform; any other, such as a gateway, serves them all."""
    own = (urlsplit(url).hostname or "").endswith(f".{_OWN_HOSTS}")
    return f"https://{service}.{_OWN_HOSTS}" if own else url


def _needed(part: Part | None, what: str) -> Part:
    if part is None:
        raise ProviderAuthFailed(f"baidu: this model needs {what} of GENPULSE_PROVIDERS__BAIDU__….")
    return part
